"""Environments made from wheels of a local folder: no index, one real build."""

import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from sandbox_runner.errors import ImageError
from sandbox_runner.sandbox import Engine, Image, add_environment, ensure_environment, read_demands
from sandbox_runner.sandbox.images import ENVIRONMENT_LABEL, find_image
from sandbox_runner.sandbox.isolation import ask_inside
from sandbox_runner.sandbox.wheels import Platform, fetch_wheels

PLATFORM = Platform(
    {
        "implementation_name": "cpython",
        "platform_machine": "x86_64",
        "python_full_version": "3.9.1",
        "python_version": "3.9",
        "sys_platform": "linux",
    },
    "glibc 2.36",
    threads=False,
)


def wheel(folder: Path, name: str, *requires: str, told: str | None = None, program: str = "") -> None:
    info = f"{name}-1.dist-info"
    lines = [
        f"Metadata-Version: 2.1\nName: {told or name}\nVersion: 1",
        *(f"Requires-Dist: {one}" for one in requires),
    ]
    with zipfile.ZipFile(folder / f"{name}-1-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", f"NAME = {name!r}\ndef main(): print(NAME)\n")
        file.writestr(f"{info}/METADATA", "\n".join(lines) + "\n\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(
            f"{info}/entry_points.txt", f"[console_scripts]\n{program or f'{name}-says'} = {name}:main\n"
        )
        file.writestr(f"{info}/RECORD", "")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def fetched(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "requirements.txt").write_text(text)
    (tmp_path / "to").mkdir()
    return [
        str(one)
        for one in fetch_wheels(read_demands(tmp_path / "requirements.txt"), PLATFORM, tmp_path / "to")
    ]


def test_markers_are_judged_by_the_images_python_and_not_by_the_hosts(tmp_path: Path, index: Path) -> None:
    wheel(index, "envtop", "envold ; python_version < '3.10'", "envnew ; python_version >= '3.10'")
    wheel(index, "envold")
    wheel(index, "envnew")
    assert fetched(tmp_path, "envtop\n") == ["envold==1", "envtop==1"]


def test_a_wheel_that_names_a_source_archive_runs_nothing_here(tmp_path: Path, index: Path) -> None:
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "setup.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "evil", "evil")
    wheel(index, "envtop", f"evil @ {(tmp_path / 'evil.tar.gz').as_uri()}")
    with pytest.raises(ImageError):
        fetched(tmp_path, "envtop\n")
    assert not (tmp_path / "ran").exists()


def test_another_hash_is_told_as_such(tmp_path: Path, index: Path) -> None:
    wheel(index, "envtop")
    with pytest.raises(ImageError, match="not the one that its hash names"):
        fetched(tmp_path, f"envtop==1 --hash=sha256:{'0' * 64}\n")


def test_what_has_no_wheel_is_refused_by_name(tmp_path: Path, index: Path) -> None:
    with pytest.raises(ImageError, match=r"There is no wheel for Python 3\.9.*envnothing"):
        fetched(tmp_path, "envnothing\n")


@pytest.mark.long
def test_an_environment_is_built_once_and_found_again(
    engine: Engine, image: Image, tmp_path: Path, index: Path
) -> None:
    wheel(index, "envtop", "envdeep")
    wheel(index, "envdeep")
    path = tmp_path / "requirements.txt"
    path.write_text("envtop\n")
    demands = read_demands(path)
    part = io.BytesIO(f"FROM {image.id}\nLABEL {ENVIRONMENT_LABEL}.part=yes at={tmp_path}\n".encode())
    for event in engine.api.build(fileobj=part, decode=True, rm=True):
        assert "error" not in event
    cut_off = {"label": f"at={tmp_path}"}
    assert engine.api.images(filters=cut_off)
    built = add_environment(engine, demands, base=image)
    try:
        assert not engine.api.images(filters=cut_off), "what a build that was cut off left is gone"
        assert built.packages == ("envdeep==1", "envtop==1")
        said: list[str] = []
        assert ensure_environment(engine, demands, base=image, on_progress=said.append).id == built.id
        assert not said
        path.write_text("envdeep==1\nenvtop==1\n")
        assert add_environment(engine, read_demands(path), base=image).id == built.id
        program = "import subprocess, site; site.main(); import envdeep, pytest; print(envdeep.__cached__)\n"
        program += "print(subprocess.check_output(['envtop-says']).decode())"
        cached, name = ask_inside(engine, program, image=built, runtime="runc").decode().split()
        assert name == "envtop"
        assert cached.startswith("/usr/local/lib/python3")
        derived(engine, built.name, "env-test-derived")
        other = find_image(engine, "env-test-derived")
        assert other is not None
        assert not other.packages, "who built on it may have changed what it tells of"
        engine.api.tag(other.id, *built.name.split(":"), force=True)
        again = ensure_environment(engine, demands, base=image)
        assert (again.name, again.packages) == (built.name, built.packages)
        assert again.id != other.id, "a tag that somebody moved is not believed"
        for tag in (engine.image(built.id) or {}).get("RepoTags") or ():
            engine.api.tag(other.id, *tag.split(":"), force=True)
        assert ensure_environment(engine, demands, base=image).id != other.id
    finally:
        for entry in engine.api.images(filters={"label": ENVIRONMENT_LABEL}):
            tags = entry.get("RepoTags") or ()
            if "env-test-derived:latest" in tags or built.name in tags or entry["Id"] == built.id:
                engine.api.remove_image(entry["Id"], force=True)


def derived(engine: Engine, base: str, tag: str) -> None:
    recipe = io.BytesIO(f"FROM {base}\nRUN rm -r /usr/local/lib/python3*\n".encode())
    for event in engine.api.build(fileobj=recipe, tag=tag, decode=True, rm=True, network_mode="none"):
        assert "error" not in event


@pytest.mark.parametrize("program", ["python3", "git", "sh"])
def test_a_wheel_whose_program_stands_before_one_of_the_images_is_refused(
    engine: Engine, image: Image, tmp_path: Path, index: Path, program: str
) -> None:
    wheel(index, "envtop", program=program)
    (tmp_path / "requirements.txt").write_text("envtop\n")
    with pytest.raises(ImageError, match=f"{program} would take the place of the image's own"):
        add_environment(engine, read_demands(tmp_path / "requirements.txt"), base=image)


def test_a_wheel_that_tells_another_name_is_refused(tmp_path: Path, index: Path) -> None:
    wheel(index, "envtop", told="other")
    with pytest.raises(ImageError, match="its metadata is of other 1"):
        fetched(tmp_path, "envtop\n")


def test_wheels_that_unpack_to_more_than_the_limit_are_refused(
    tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox_runner.sandbox.wheels._UNPACKED_BYTES", 1 << 20)
    wheel(index, "envtop")
    with zipfile.ZipFile(index / "envtop-1-py3-none-any.whl", "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zeros", b"\0" * (2 << 20))
    with pytest.raises(ImageError, match="unpacked"):
        fetched(tmp_path, "envtop\n")


def test_a_marker_of_a_wheel_that_cannot_be_judged_is_told(tmp_path: Path, index: Path) -> None:
    wheel(index, "envtop", "other ; python_version ~= 'x'")
    with pytest.raises(ImageError, match="Undefined"):
        fetched(tmp_path, "envtop\n")


def test_a_platform_that_makes_no_sense_is_no_platform() -> None:
    for told in ([], {"libc": 1}, json.loads('{"python_full_version": "x"}')):
        with pytest.raises((ValueError, LookupError)):
            Platform.parse(told)


FETCH = """
import sys
from pathlib import Path
from sandbox_runner.sandbox import read_demands
from sandbox_runner.sandbox.wheels import fetch_wheels
from tests.integration.test_environments import PLATFORM
folder = Path(sys.argv[1])
fetch_wheels(read_demands(folder / "requirements.txt"), PLATFORM, folder / "to")
"""


def test_pip_ends_with_a_runner_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("envtop\n")
    (tmp_path / "to").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        place = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        environment = {**os.environ, "PIP_INDEX_URL": place, "PYTHONPATH": str(Path(__file__).parents[2])}
        runner = subprocess.Popen([sys.executable, "-c", FETCH, str(tmp_path)], env=environment)
        try:
            asking, _ = silent.accept()
        finally:
            runner.kill()
            runner.wait()
        with asking:
            asking.settimeout(10)  # less than pip waits for an index
            while asking.recv(4096):
                pass

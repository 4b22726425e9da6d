"""Images that declare volumes where the sandbox has its own: they work, or are refused in words."""

import os
import zlib
from collections.abc import Callable, Iterator

import pytest

from sandbox_runner.errors import ConfigurationError, SandboxError
from sandbox_runner.sandbox import Sandbox, SandboxSpec
from sandbox_runner.trail.operations import METHODS
from sandbox_runner.world import Call, Status

pytestmark = pytest.mark.docker

NAME = "sandbox-runner-test:declares"

WORKS = """
import os, tempfile
def test_it():
    for place in ("/workspace", "/tmp", "/dev/shm"):
        with tempfile.NamedTemporaryFile(dir=place) as file:
            file.write(bytes(1 << 20)); file.flush()
    for place in (@PLACES@):
        assert set(os.listdir(place)) <= {"a"}, place
        try: os.mkdir(place + "/x")
        except OSError: continue
        assert False, place + " can be written"
"""


@pytest.fixture
def declares(engine, image, request: pytest.FixtureRequest) -> Iterator[Callable[..., str]]:
    """Give the image that declares these volumes, once a shell has done ``prepared``; a test's have one name.

    The engine remembers what a name means, and finds out that it means another once a start is under way.
    """
    name = f"{NAME}-{zlib.crc32(request.node.name.encode()):08x}"

    def declare(*volumes: str, prepared: str = "true") -> str:
        made = engine.api.create_container(image.id, ["sh", "-ec", prepared], network_disabled=True)["Id"]
        try:
            engine.api.start(made)
            assert engine.api.wait(made)["StatusCode"] == 0, prepared
            settings = {"Volumes": {volume: {} for volume in volumes}}  # as no Dockerfile can spell some
            engine.api.commit(made, *name.split(":"), conf=settings)
        finally:
            engine.api.remove_container(made, v=True)
        return name

    yield declare
    engine.api.remove_image(name, force=True)


@pytest.fixture
def stays(engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever containers the test creates, none has a volume that is not the sandbox's, and none is left."""
    create, seen = engine.api.create_container_from_config, []

    def watched(*arguments, **options):
        created = create(*arguments, **options)
        seen.extend(engine.container(created["Id"])["Mounts"])
        return created

    monkeypatch.setattr(engine.api, "create_container_from_config", watched)
    yield
    volumes = [mount for mount in seen if mount["Type"] == "volume"]
    assert {mount["Destination"] for mount in volumes} <= {"/workspace", "/dev/pts"}
    assert not any(engine.volume(mount["Name"]) for mount in volumes)


VOLUMES = (
    *("//workspace/./", "/tmp/", "/dev/shm"),
    *("/tmp/cache", "/data", "/data/a/b", "/workspaces", "/usr/share/doc"),
)


def test_an_image_with_volumes_beside_or_at_our_places_works(declares, start_world, engine, runtime) -> None:
    ours = ("workspace", "tmp", "dev/shm")
    others = [volume for volume in VOLUMES if volume.strip("/.") not in ours]
    check_works(start_world(image=declares(*VOLUMES), runtime=runtime), engine, others)


ODD = ("/a:b", "/c,d", "/e f", "/ünï", "/$x", "/n\nx", '/q"x', "/back\\slash", "/v=ro", "/%s{}", "/./x/../y/")


@pytest.mark.long
@pytest.mark.parametrize(
    "made",
    [
        ("true", ["/workspace"]),
        ("true", ["/var/run"]),  # a link of Debian's, to /run
        ("true", ODD),
        ("ln -s ../srv /data; ln -s /gone/away /more", ["/data", "/more", "/home"]),
    ],
)
def test_an_image_with_volumes_of_any_name_and_behind_links_works(
    declares, start_world, engine, runtime, made: tuple[str, list[str]]
) -> None:
    prepared, volumes = made
    world = start_world(image=declares(*volumes, prepared=prepared), runtime=runtime)
    check_works(world, engine, [os.path.normpath(volume) for volume in volumes if volume != "/workspace"])


def check_works(world, engine, places: list[str]) -> None:
    """Everything of ours can be written, nothing of the volumes, and Docker made none."""
    world.file_write("test_it.py", WORKS.replace("@PLACES@", "".join(f"{place!r}," for place in places)))
    arguments = {"test_path": "test_it.py", "expected": 1}
    outcome = world.perform(Call(METHODS["test_run"].opcode, "test_run", arguments))
    assert outcome.status is Status.OK, outcome.meta["output"]
    mounts = engine.container(world.sandbox.container_id)["Mounts"]
    volumes_there = {mount["Destination"] for mount in mounts if mount["Type"] == "volume"}
    assert volumes_there <= {"/workspace", "/dev/pts"}
    assert world.sandbox.close().clean


REFUSED = [
    ("true", ["/workspace/data"]),
    ("true", ["/dev"]),
    ("true", ["/"]),
    ("true", ["data"]),
    ("true", [""]),
    ("true", ["/etc/fstab"]),
    ("true", ["/var/lock/a"]),
    ("true", ["/var/run", "/run/lock"]),
    ("echo >/data", ["/data/x"]),
    ("ln -s /workspace /data", ["/data"]),
    ("ln -s /workspace/x /data", ["/data"]),
    ("ln -s /tmp/x /data", ["/data"]),
    ("ln -s /usr /data", ["/data"]),
    ("ln -s / /top", ["/top/workspace/x"]),
    ("ln -s /loop /loop", ["/loop"]),
    ("rmdir /workspace; ln -s /srv /workspace", ["/srv"]),
    ("rmdir /workspace; ln -s /srv /workspace", []),
    ("rmdir /tmp; ln -s /srv /tmp", []),
]


@pytest.mark.long
@pytest.mark.parametrize(("prepared", "volumes"), REFUSED)
@pytest.mark.usefixtures("stays")
def test_an_image_with_a_volume_or_a_link_in_our_way_is_refused_before_anything_starts(
    declares, engine, prepared: str, volumes: list[str]
) -> None:
    spec = SandboxSpec(image=declares(*volumes, prepared=prepared), runtime="runc")
    with pytest.raises(ConfigurationError, match=NAME) as caught:
        Sandbox.start(spec, engine=engine)
    assert caught.value.hint
    assert caught.value.exit_code == 2
    assert engine.api.containers(all=True, filters={"ancestor": spec.image}) == []


def test_an_image_that_was_refused_is_used_once_it_is_mended(declares, engine, start_sandbox) -> None:
    with pytest.raises(ConfigurationError, match="declares a volume at '/dev'"):
        Sandbox.start(SandboxSpec(image=declares("/dev"), runtime="runc"), engine=engine)
    assert start_sandbox(image=declares("/data")).close().clean


def test_an_image_whose_python_is_in_a_volume_says_so(declares, engine) -> None:
    found = "/usr/lib/python3"
    spec = SandboxSpec(
        image=declares(found, "/usr/local", prepared="mkdir -p /usr/lib/python3"), runtime="runc"
    )
    with Sandbox.start(spec, engine=engine) as sandbox:
        library = sandbox.facts["python"].rpartition(".")[0]
    spec = SandboxSpec(image=declares(f"/usr/lib/python{library}"), runtime="runc")
    with pytest.raises(SandboxError) as caught:
        Sandbox.start(spec, engine=engine)
    assert f"/usr/lib/python{library}" in f"{caught.value} {caught.value.hint}"

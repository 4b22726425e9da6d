"""What a program asks about its user and its machine has an answer inside, as for a plain process."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from docker.types import Mount

from sandbox_runner.errors import ImageError
from sandbox_runner.guest.identity import HOME, USER
from sandbox_runner.policy import Resources
from sandbox_runner.sandbox import Engine, Image, Sandbox, SandboxSpec
from sandbox_runner.sandbox.image_files import read_image
from sandbox_runner.sandbox.synthetic import kernel_files
from sandbox_runner.trail.operations import METHODS
from sandbox_runner.world import Call, Status

pytestmark = pytest.mark.docker

NAME = "sandbox-runner-test:who"

# Each line is an expression that raises nowhere else.
QUESTIONS = """
pwd.getpwuid(os.getuid())
pwd.getpwnam(getpass.getuser()).pw_uid == os.getuid()
pwd.getpwall()
grp.getgrgid(os.getgid())
grp.getgrnam(pwd.getpwuid(os.getuid()).pw_name)
grp.getgrall()
[grp.getgrgid(group) for group in os.getgroups()]
getpass.getuser()
os.path.expanduser("~")
os.path.expanduser("~" + getpass.getuser())
os.path.expanduser("~root")
pathlib.Path.home()
pathlib.Path("~/x").expanduser()
pathlib.Path(__file__).owner()
pathlib.Path(__file__).group()
pathlib.Path("/").owner()
tarfile.open(fileobj=io.BytesIO(), mode="w").gettarinfo(__file__).uname
tempfile.gettempdir()
os.getcwd()
os.getloadavg()
os.cpu_count()
len(os.sched_getaffinity(0)) <= os.cpu_count()
multiprocessing.cpu_count()
concurrent.futures.ThreadPoolExecutor().submit(os.getpid).result()
os.sysconf("SC_PHYS_PAGES")
os.uname()
os.times()
platform.platform()
platform.uname()
platform.node()
platform.libc_ver()
platform.freedesktop_os_release()
resource.getrusage(resource.RUSAGE_SELF)
socket.gethostname()
socket.gethostbyname("localhost") == "127.0.0.1"
socket.gethostbyname(socket.gethostname())
socket.getaddrinfo("localhost", 80)
socket.getfqdn()
time.get_clock_info("monotonic")
time.tzname
locale.getlocale()
uuid.uuid1()
sysconfig.get_platform()
site.getusersitepackages()
shutil.disk_usage("/")
shutil.get_terminal_size()
int(next(line.split()[1] for line in open("/proc/meminfo") if line.startswith("MemTotal:"))) > 0
int(next(line.split()[1] for line in open("/proc/meminfo") if line.startswith("MemAvailable:"))) > 0
float(open("/proc/uptime").read().split()[0]) > 0
int(next(line.split()[1] for line in open("/proc/stat") if line.startswith("btime "))) < time.time()
sum(map(int, next(open("/proc/stat")).split()[1:])) > 0
open("/proc/loadavg").read().split()[3].split("/")
open("/proc/swaps").read().splitlines()[0]
open("/proc/self/stat").read().rpartition(")")[2].split()[19]
open("/proc/self/mountinfo").read().splitlines()[0]
open("/proc/cpuinfo").read().splitlines()[0]
"""

COMMANDS = "id", "id -un", "whoami", "groups", "find . -printf %u", "sh -c 'cd ~'"
IN_THE_DEFAULT_IMAGE = (
    *("python --version", "ps", "ps -ef", "ps aux", "free", "uptime", "top -bn1", "pgrep -l python", "nproc"),
    *("env LC_ALL=en_US.UTF-8 python -c 'import locale; locale.setlocale(locale.LC_ALL, str())'",),
)
ASK = """
import concurrent.futures, getpass, grp, io, json, locale, multiprocessing, os, pathlib, platform, pwd
import resource, shlex, shutil, site, socket, subprocess, sysconfig, tarfile, tempfile, time, uuid

def test_questions():
    failed = {}
    for question in QUESTIONS:
        try:
            if eval(question) is False:
                failed[question] = "not so"
        except Exception as error:
            failed[question] = repr(error)
    for command in COMMANDS:
        ran = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=30)
        if ran.returncode != 0 or ran.stderr:
            failed[command] = ran.returncode, ran.stderr
    assert not failed, failed

def test_answers():
    assert pwd.getpwuid(os.getuid())[0] == getpass.getuser() == USER
    assert os.path.expanduser("~") == os.path.expanduser("~" + USER) == HOME
    assert grp.getgrgid(os.getgid()).gr_name == USER
    assert subprocess.check_output(["whoami"], text=True).strip() == USER
    assert OTHERS <= {user.pw_name for user in pwd.getpwall()}
"""


def ask(world: Any, *, commands: tuple[str, ...] = COMMANDS, others: tuple[str, ...] = ("root",)) -> None:
    values = {
        "QUESTIONS": [line for line in QUESTIONS.splitlines() if line],
        "COMMANDS": list(commands),
        "USER": USER,
        "HOME": HOME,
        "OTHERS": set(others),
    }
    told = "".join(f"{name} = {value!r}\n" for name, value in values.items())
    assert check(world, told + ASK, 2)


def check(world: Any, source: str, count: int) -> bool:
    world.file_write("test_it.py", source)
    arguments = {"test_path": "test_it.py", "expected": count}
    outcome = world.perform(Call(METHODS["test_run"].opcode, "test_run", arguments))
    assert outcome.status is Status.OK, outcome.meta["output"]
    return True


@pytest.fixture
def made(engine: Engine, image: Image) -> Iterator[Callable[[str], str]]:
    """Give the default image as a shell leaves it; every one has the same name."""

    def make(prepared: str) -> str:
        container = engine.api.create_container(image.id, ["sh", "-ec", prepared], network_disabled=True)[
            "Id"
        ]
        try:
            engine.api.start(container)
            assert engine.api.wait(container)["StatusCode"] == 0, prepared
            engine.api.commit(container, *NAME.split(":"))
        finally:
            engine.api.remove_container(container, v=True)
        return NAME

    yield make
    engine.api.remove_image(NAME, force=True)


def test_the_default_image_answers_whatever_a_plain_process_asks(start_world: Any, runtime: str) -> None:
    for isolation in ("fresh", "server"):
        world = start_world(runtime=runtime, guest={"tests": {"isolation": isolation}})
        ask(world, commands=(*COMMANDS, *IN_THE_DEFAULT_IMAGE), others=("root", "nobody", "www-data"))


@pytest.mark.long
@pytest.mark.parametrize(
    "kind",
    [
        ("rm /etc/passwd /etc/group", ("root",)),
        ("mv /etc/passwd /srv/users; ln -s ../srv/users /etc/passwd", ("root", "nobody")),
        ("rm /etc/passwd; ln -s /nowhere /etc/passwd", ("root",)),
        (
            f"echo {USER}:x:99:99::/nowhere:/bin/false >>/etc/passwd; echo {USER}:x:99: >>/etc/group",
            ("nobody",),
        ),
        ("printf last:x:5:5::/:/x >/etc/passwd", ("root", "last")),
        ("rm /etc/nsswitch.conf", ("root",)),
    ],
)
def test_an_image_with_users_of_its_own_or_none_answers_too(
    start_world: Any, made: Any, runtime: str, kind: tuple[str, tuple[str, ...]]
) -> None:
    prepared, others = kind
    questions = start_world(image=made(prepared), runtime=runtime)
    ask(questions, commands=tuple(set(COMMANDS) - {"groups"}), others=others)


def test_the_owner_of_a_directory_that_is_mounted_has_the_name_too(
    start_world: Any, made: Any, runtime: str, tmp_path: Path
) -> None:
    name = made("echo ubuntu:x:12345:12345::/home/ubuntu:/bin/sh >>/etc/passwd")
    tmp_path.chmod(0o755)
    for folder, uid in (("one", 12345), ("two", 54321)):
        directory = tmp_path / folder
        directory.mkdir()
        try:
            os.chown(directory, uid, uid)
        except PermissionError:
            pytest.skip("only root gives directories to others")
        ask(start_world(image=name, runtime=runtime, bind=directory), others=("ubuntu", "root"))


ALONE = """
import os, subprocess
def test_it():
    listed = subprocess.check_output(["ps", "-eo", "pid=,user=,comm="], text=True).split("\\n")
    users = {line.split()[1] for line in listed if line}
    assert users == {"root", "sandbox"}, listed
    assert {line.split()[0] for line in listed if line} <= {str(n) for n in range(1, 400)}, listed
    assert all("python" in line or line.endswith("ps") for line in listed if line.strip()), listed
"""


def test_ps_sees_nothing_but_the_sandbox(start_world: Any, runtime: str) -> None:
    assert check(start_world(runtime=runtime), ALONE, 1)


FIGURES = """
import json, pathlib
def test_it():
    for name, text in json.loads(@TEXTS@).items():
        assert pathlib.Path(name).read_text() == text, name
        try: open(name, "r+").close()
        except OSError: continue
        assert False, name + " can be written"
"""


def test_figures_are_those_of_the_limits_and_nobody_writes_them(
    start_world: Any, engine: Engine, runtime: str
) -> None:
    resources = Resources(memory=400 << 20, workspace=32 << 20)
    expected = {path: text.decode() for path, text in kernel_files(resources, engine.machine()).items()}
    world = start_world(runtime=runtime, resources=resources)
    assert check(world, FIGURES.replace("@TEXTS@", repr(json.dumps(expected))), 1)


def test_nothing_of_it_stays_on_the_host(
    start_sandbox: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    sandbox: Sandbox = start_sandbox(runtime=runtime)
    assert list(tmp_path.iterdir()) == []  # while it runs
    assert sandbox.close().clean


def test_an_engine_that_does_not_see_these_files_starts_the_sandbox_without_them(
    start_world: Any, engine: Engine, monkeypatch: pytest.MonkeyPatch, runtime: str
) -> None:
    # What an Engine on another machine says when it is given a path of this one.
    monkeypatch.setattr(engine, "shares_files", True)
    monkeypatch.setattr("sandbox_runner.sandbox.synthetic._bound", _elsewhere)
    world = start_world(runtime=runtime)
    assert not engine.shares_files
    assert world.file_write("a", "b") == "file_write: a (1 chars)"


def _elsewhere(_folder: Path, path: str, _content: bytes) -> Any:
    return Mount(path, "/not/on/this/machine", type="bind", read_only=True)


def test_what_was_read_of_an_image_is_kept_for_the_next_process_and_nonsense_is_read_again(
    engine: Engine, image: Image, tmp_path: Path
) -> None:
    cache = tmp_path / "image.json"

    def read() -> Any:
        engine.findings.clear()
        return read_image(engine, image, volumes=(), ask=("/tmp",), labels={}, cache=cache)

    first = read()
    assert "root:" in first.users
    stored = json.loads(cache.read_text())
    for told in (
        {image.id: {**stored[image.id], "users": 1}},
        {image.id: {**stored[image.id], "users": "\u3044"}},
        {image.id: []},
        {"another": stored[image.id]},
        [],
    ):
        cache.write_text(json.dumps(told))
        assert read() == first
    assert json.loads(cache.read_text()) == stored
    marked = {**stored[image.id], "users": "kept"}
    cache.write_text(json.dumps({image.id: marked}))
    assert read().users == "kept"


def test_an_image_whose_list_of_users_is_none_is_refused_in_words(engine: Engine, made: Any) -> None:
    for prepared in ("rm /etc/passwd; mkdir /etc/passwd", "head -c 2000000 /dev/zero >/etc/group"):
        with pytest.raises(ImageError, match="is not a file of up to 1 MiB") as caught:
            Sandbox.start(SandboxSpec(image=made(prepared), runtime="runc"), engine=engine)
        assert caught.value.hint
        assert engine.api.containers(all=True, filters={"ancestor": NAME}) == []

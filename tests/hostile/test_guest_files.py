"""File operations on a workspace an attacker prepared: links, pipes, modes, full file systems."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sandbox_runner.policy import Resources
from sandbox_runner.sandbox import ContainerWorld, Engine, Image, SandboxSpec
from sandbox_runner.trail.operations import METHODS
from sandbox_runner.world import Call, Outcome, Status

pytestmark = pytest.mark.docker

TRAPS = """
import os, socket
def test_set_the_traps():
    os.symlink("/proc/1/environ", "environ"); os.symlink("/etc/shadow", "shadow"); os.symlink("/", "root")
    os.symlink("loop", "loop"); os.symlink("target", "planted"); open("target", "w").write("untouched")
    os.mkfifo("fifo"); s = socket.socket(socket.AF_UNIX); s.bind("socket")
    open("closed", "w").write("c"); os.chmod("closed", 0)
    os.mkdir("shut"); open("shut/f", "w").close(); os.chmod("shut", 0)
    with open("sparse", "wb") as f: f.truncate(1 << 35)
    open("text", "wb").write(b"\\xff\\xfe"); open("setuid", "w").close(); os.chmod("setuid", 0o6755)
    os.symlink("/workspace/target", ".sandbox-write.tmp"); os.link("target", "hard")
"""

Do = Callable[..., Outcome]


@pytest.fixture(scope="module")
def world(runtime: str, engine: Engine, image: Image) -> Iterator[ContainerWorld]:
    small = Resources(memory=512 << 20, workspace=16 << 20, workspace_inodes=500)
    with ContainerWorld.start(spec=SandboxSpec(runtime=runtime, resources=small), engine=engine) as world:
        setting = (("file_write", {"path": "test_traps.py", "content": TRAPS}),)
        run = (("test_run", {"test_path": "test_traps.py", "expected": 1}),)
        calls = [Call(METHODS[method].opcode, method, arguments) for method, arguments in (*setting, *run)]
        assert [outcome.status for outcome in world.perform_all(calls)] == [Status.OK, Status.OK]
        yield world


@pytest.fixture
def do(world: ContainerWorld) -> Do:
    def do(method: str, **arguments: Any) -> Outcome:
        return world.perform(Call(METHODS[method].opcode, method, arguments))

    return do


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("environ", "symbolic link in path"),
        ("shadow", "symbolic link in path"),
        ("root/etc/passwd", "symbolic link in path"),
        ("loop", "symbolic link in path"),
        ("loop/x", "symbolic link in path"),
        ("fifo", "not a regular file"),
        ("socket", "not a regular file"),
        ("closed", "permission denied"),
        ("shut/f", "permission denied"),
        ("sparse", "over the limit"),
        ("text", "not UTF-8 text"),
    ],
)
def test_nothing_but_a_plain_readable_file_is_read(do: Do, path: str, reason: str) -> None:
    outcome = do("file_read", path=path)
    assert outcome.status is Status.FAILED
    assert reason in outcome.text


@pytest.mark.parametrize(
    "path", ["planted", "shadow", "root/tmp/x", "fifo", "socket", "loop", "loop/x", "shut/new"]
)
def test_nothing_is_written_through_a_link_or_into_a_pipe(do: Do, path: str) -> None:
    for method, rest in (("file_write", {"content": "evil"}), ("file_edit", {"old": "u", "new": "evil"})):
        assert do(method, path=path, **rest).status is Status.FAILED
    assert do("file_edit", path="target", old="untouched", new="untouched").status is Status.OK


def test_a_planted_temporary_name_is_no_way_to_another_file(do: Do) -> None:
    assert do("file_write", path="fresh", content="new").status is Status.OK
    assert do("file_edit", path="target", old="untouched", new="untouched").status is Status.OK


def test_a_hard_link_is_replaced_and_its_other_name_untouched(do: Do) -> None:
    assert do("file_write", path="hard", content="changed").status is Status.OK
    assert do("file_edit", path="target", old="untouched", new="untouched").status is Status.OK


def test_set_uid_bits_do_not_survive_a_write(do: Do) -> None:
    check = "import os\ndef test_it(): assert os.stat('setuid').st_mode & 0o7777 == 0o755\n"
    do("file_write", path="setuid", content="x")
    do("file_write", path="test_bits.py", content=check)
    assert do("test_run", test_path="test_bits.py", expected=1).status is Status.OK


def test_search_is_not_held_up_by_pipes_loops_or_sparse_files(do: Do) -> None:
    outcome = do("search_code", pattern="changed|no such text anywhere")
    assert outcome.status is Status.OK
    assert "shadow" not in outcome.details["files"]


def test_a_configuration_file_for_search_in_the_workspace_is_ignored(do: Do) -> None:
    do("file_write", path=".ripgreprc", content="--pre=/workspace/evil\n--hidden\n--files\n")
    assert do("search_code", pattern="no such text anywhere").text.endswith("→ 0 matches")


def test_a_full_volume_fails_the_step_and_not_the_guest(do: Do) -> None:
    outcomes = [do("file_write", path=f"big/{n}", content="x" * (8 << 20)) for n in range(3)]
    full = outcomes[-1]
    assert (full.status, full.text) == (Status.FAILED, "file_write: ERROR no space left")
    assert full.details["exhausted"] == ["disk"]
    assert do("file_read", path="target").status is Status.OK
    for n in range(3):
        do("file_write", path=f"big/{n}", content="")


def test_full_inodes_fail_the_step_and_not_the_guest(do: Do) -> None:
    outcomes = [do("file_write", path=f"many/{n}", content="") for n in range(600)]
    full = outcomes[-1]
    assert (full.status, full.text) == (Status.FAILED, "file_write: ERROR no space left")
    assert full.details["exhausted"] == ["inodes"]
    assert do("file_read", path="target").status is Status.OK

"""What foreign code leaves behind may fail every call; it never breaks the sandbox, and a capture says so."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox_runner.errors import ExitCode
from sandbox_runner.policy import Policy, Resources
from sandbox_runner.runner.home import Home
from sandbox_runner.runner.runner import Runner
from sandbox_runner.sandbox import ContainerWorld
from sandbox_runner.snapshot import Snapshot, SnapshotStore
from sandbox_runner.trail.operations import METHODS
from sandbox_runner.world import Call, Outcome, Status

pytestmark = [pytest.mark.docker, pytest.mark.long]

Do = Callable[..., Outcome]
Start = Callable[..., ContainerWorld]

GUEST = {"push": "quarantine", "clock": 1_700_000_000, "tests": {"timeout_s": 120}}

CALLS = (
    ("file_read", {"path": "a/b"}),
    ("file_write", {"path": "a/b", "content": "x"}),
    ("file_write", {"path": "new/b", "content": "x"}),
    ("file_edit", {"path": "a/b", "old": "x", "new": "y"}),
    ("git_commit", {"repo": "0", "message": "m"}),
    ("git_push", {"repo": "0"}),
    ("test_run", {"test_path": "test_it.py", "expected": 1}),
    ("test_run", {"test_path": ".", "expected": 1}),
    ("search_code", {"pattern": "x"}),
    ("search_code", {"pattern": "x.*"}),
    ("bottle_drop", {"target": "b", "content": "x"}),
    ("bottle_read", {"source": "b"}),
    ("level_up", {"agent": "a", "level": 1}),
    ("spell_cast", {"spell": "navigatium"}),
    ("room_enter", {"room": "r"}),
    ("trust_update", {"target": "a", "delta": -1.0}),
    ("cap_issue", {"action": "test_run", "holder": "a"}),
)

CLOSED = """
import os
def test_it():
    os.makedirs("a/shut"); open("a/b", "w").write("x"); open("a/shut/f", "w").write("x")
    os.chmod("a/shut", 0); os.chmod("a/b", 0); os.chmod("/workspace", 0)
"""

DEEP = f"""
import os
def test_it():
    open("kept", "w").write("x"); os.mkdir("bomb"); os.chdir("bomb")
    for _ in range(60): os.mkdir({"d" * 250!r}); os.chdir({"d" * 250!r})
    for number in range(20_000): os.close(os.open(f"{{number:0250}}", os.O_CREAT))
"""

FIFOS = """
import os
def test_it():
    open("kept", "w").write("x")
    for number in range(10_500): os.mkfifo(f"fifo-{number:05}")
"""

DEEPER = """
import os
def test_it():
    for _ in range(8_500): os.mkdir("d"); os.chdir("d")
"""


def player(world: ContainerWorld) -> Do:
    def do(method: str, **arguments: Any) -> Outcome:
        return world.perform(Call(METHODS[method].opcode, method, arguments))

    return do


def leave(world: ContainerWorld, body: str) -> None:
    do = player(world)
    do("file_write", path="test_it.py", content=body)
    done = do("test_run", test_path="test_it.py", expected=1)
    assert done.details["passed"] == 1, done.meta["output"]


def captured(world: ContainerWorld, store: Path) -> Snapshot:
    world.sandbox.quiesce()
    return SnapshotStore(store).capture(world.sandbox, label="after")


def test_a_workspace_that_is_closed_by_its_own_code_fails_calls_and_is_captured(
    start_world: Start, runtime: str, tmp_path: Path
) -> None:
    world = start_world(runtime=runtime, guest=GUEST)
    leave(world, CLOSED)
    do = player(world)
    for method, arguments in CALLS:
        outcome = do(method, **arguments)
        if method.startswith(("file", "git", "test")):
            assert outcome.status is Status.FAILED, outcome
            assert "permission denied" in outcome.text
    snapshot = captured(world, tmp_path)
    assert snapshot.files == 3
    assert not snapshot.partial


@pytest.mark.parametrize(("size", "inodes"), [(1 << 20, 500), (64 << 20, 64)], ids=["disk", "inodes"])
def test_a_commit_on_a_full_workspace_changes_nothing_and_succeeds_once_there_is_room(
    start_world: Start, runtime: str, size: int, inodes: int
) -> None:
    small = Resources(memory=512 << 20, workspace=size, workspace_inodes=inodes)
    do = player(start_world(runtime=runtime, guest=GUEST, resources=small))
    do("file_write", path="f", content="1")
    first = do("git_commit", repo="0", message="first")
    assert first.status is Status.OK
    fill = (
        "import os\ndef test_it():\n    open('g', 'wb').write(os.urandom(9999))\n    try:\n"
        "        for n in range(999): open(f'fill{n}', 'wb').write(bytes(1 << 16))\n"
        "    except OSError: pass\n"
    )
    look = (
        "import glob, os\ndef test_it():\n    for p in glob.glob('fill*'): os.remove(p)\n"
        f"    assert open('.git/refs/heads/main').read() == '{first.details['commit']}\\n'\n"
        "    assert 'filemode' in open('.git/config').read()\n"
        "    assert not [n for n in os.listdir('.git') + os.listdir('.git/refs/heads') if 'lock' in n]\n"
    )
    do("file_write", path="test_look.py", content=look)
    do("file_write", path="test_fill.py", content=fill)
    assert do("test_run", test_path="test_fill.py", expected=1).status is Status.OK
    assert do("git_commit", repo="0", message="full").status is Status.FAILED
    looked = do("test_run", test_path="test_look.py", expected=1)
    assert looked.status is Status.OK, looked.meta["output"]
    assert do("git_commit", repo="0", message="room").details["parent"] == first.details["commit"]


def test_names_that_are_too_long_together_are_one_omission(
    start_world: Start, runtime: str, tmp_path: Path
) -> None:
    world = start_world(runtime=runtime, guest=GUEST)
    leave(world, DEEP)
    snapshot = captured(world, tmp_path)
    (omission,) = snapshot.omissions
    assert "limits" in omission.text
    assert omission.path.startswith(b"bomb/ddd")
    assert snapshot.files == 2


def test_no_trail_chooses_the_exit_of_a_broken_sandbox(runtime: str, tmp_path: Path) -> None:
    body = (
        "import os, subprocess\ndef test_it():\n    subprocess.run(['git', 'init', '-q', '.'], check=True)\n"
        "    os.remove('.git/config'); os.mkdir('.git/config'); os.mkfifo('.git/packed-refs')\n"
        "    open('.git/HEAD', 'w').write('ref: refs/heads/x\\0/../../../out')\n"
        "    os.mkdir('closed'); os.chmod('closed', 0); os.chmod('/workspace', 0o111)\n"
    )
    worklog = [
        {"op": "TRAIL_BEGIN", "agent": "ann", "trail_id": "t", "ts": 1_753_000_000},
        {"op": "FILE_WRITE", "path": "test_it.py", "content": body},
        {"op": "TEST_RUN", "path": "test_it.py"},
        {"op": "GIT_COMMIT", "repo": 0, "message": "m"},
        {"op": "FILE_READ", "path": "test_it.py"},
        {"op": "SEARCH_CODE", "pattern": "x"},
        {"op": "TRAIL_END", "status": 0},
    ]
    runner = Runner(policy=Policy.load("default"), home=Home(tmp_path / "home"), runtime=runtime)
    record = runner.run(json.dumps(worklog).encode())
    assert record.result is not None
    assert record.result.exit_code == ExitCode.STEP_FAILED, record.result.error
    assert record.result.snapshot is not None


def test_more_omissions_than_can_be_named_are_counted(
    start_world: Start, runtime: str, tmp_path: Path
) -> None:
    world = start_world(runtime=runtime, guest=GUEST)
    leave(world, FIFOS)
    snapshot = captured(world, tmp_path)
    assert len(snapshot.omissions) == 10_000
    assert [note.count for note in snapshot.notes if "line of their own" in note.text] == [500]
    assert snapshot.files == 2


def test_a_tree_deeper_than_the_limit_for_paths_is_captured_down_to_it(
    start_world: Start, tmp_path: Path
) -> None:
    world = start_world(guest=GUEST)
    leave(world, DEEPER)
    snapshot = captured(world, tmp_path)
    assert [omission.text for omission in snapshot.omissions] == ["path longer than the limit"]
    assert snapshot.directories > 8000

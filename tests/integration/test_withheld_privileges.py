"""What a trail does not need is not there, asked of the guest itself with the guard out of the way."""

import json
import os
from pathlib import Path

import pytest

from sandbox_runner.errors import GuestError
from sandbox_runner.policy import Policy
from sandbox_runner.runner import Home
from sandbox_runner.runner.runner import Runner
from sandbox_runner.sandbox import ContainerWorld, Sandbox, SandboxSpec
from sandbox_runner.snapshot import DirectorySource, SnapshotStore

pytestmark = pytest.mark.docker

READS = (
    {"op": "TRAIL_BEGIN", "agent": "ann", "trail_id": "t", "ts": 1_753_000_000},
    {"op": "FILE_READ", "path": "a.txt"},
    {"op": "SEARCH_CODE", "pattern": "hello"},
    {"op": "TRAIL_END", "status": 0},
)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / "a.txt").write_text("hello\n")
    (folder / "test_a.py").write_text("def test_a(): open('a.txt', 'a').write('x')\n")
    os.chown(folder, os.getuid() or 1234, -1)
    return folder


def test_into_a_sealed_workspace_neither_the_guest_nor_a_program_gets_a_byte(
    start_world, tmp_path: Path, workspace: Path, runtime
) -> None:
    world = start_world(runtime=runtime)
    store = SnapshotStore(tmp_path / "store")
    base = store.capture(DirectorySource(workspace))
    store.fill(base.digest, world.sandbox)
    world.sandbox.seal()
    assert world.file_write("b.txt", "new").startswith("file_write: ERROR ")
    assert world.file_edit("a.txt", "hello", "bye").startswith("file_edit: ERROR ")
    assert world.test_run("test_a.py", 1).startswith("test_run: ERROR ")
    assert world.file_read("a.txt") == "file_read: a.txt (6 chars)"
    assert world.search_code("hello") == "search_code: 'hello' → 1 matches"
    world.sandbox.quiesce()
    assert store.capture(world.sandbox).digest == base.digest
    with pytest.raises(GuestError):
        list(world.sandbox.put([b""]))


def test_a_directory_mounted_in_place_is_read_only_where_nothing_writes(
    start_world, workspace: Path, runtime
) -> None:
    world = start_world(runtime=runtime, bind=workspace, writes=False)
    assert world.file_write("b.txt", "new").startswith("file_write: ERROR ")
    assert world.file_read("a.txt") == "file_read: a.txt (6 chars)"
    assert sorted(path.name for path in workspace.iterdir()) == ["a.txt", "test_a.py"]


def test_a_world_whose_spec_writes_nothing_is_sealed_once_it_is_filled(
    engine, image, workspace: Path
) -> None:
    with ContainerWorld.start(
        workspace, spec=SandboxSpec(runtime="runc", writes=False), engine=engine
    ) as world:
        assert world.file_read("a.txt") == "file_read: a.txt (6 chars)"
        assert world.file_write("a.txt", "new").startswith("file_write: ERROR ")


def test_a_run_that_reads_is_given_nothing_else_and_its_record_says_so(
    engine, image, tmp_path: Path, workspace: Path
) -> None:
    policy = Policy.load("default").narrowed(runtime="runc")
    asked = []

    def start(spec: SandboxSpec):
        sandbox = Sandbox.start(spec, engine=engine)
        world = ContainerWorld(sandbox)
        asked.extend((world.file_write("a", "b"), world.git_push("0"), world.test_run(".", 0)))
        return sandbox

    worklog = json.dumps(READS).encode()
    runner = Runner(policy=policy, home=Home(tmp_path / "home"), sign=False, start=start)
    record = runner.run(worklog, workspace=workspace)
    assert record.result is not None
    assert record.result.exit_code == 0
    assert len(asked) == 3
    assert all("refused: withheld" in text for text in asked)
    privileges = record.info.options["privileges"]
    assert privileges["methods"] == ["file_read", "search_code"]
    assert "the workspace is read-only: no step writes" in privileges["withheld"]

"""Snapshots across the channel: into a sandbox and out of it, under every runtime."""

import os
import subprocess

import pytest

from sandbox_runner.errors import WorkspaceError
from sandbox_runner.policy import Resources
from sandbox_runner.sandbox import ContainerWorld
from sandbox_runner.snapshot import DirectorySource, SnapshotStore

pytestmark = pytest.mark.docker


@pytest.fixture
def store(tmp_path):
    return SnapshotStore(tmp_path / "store")


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    (root / "src" / "deep").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "src" / "main.py").write_text("one\n")
    (root / "large").write_bytes(os.urandom(5 << 20))
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / os.fsdecode(b"\xff\n\x1b")).write_text("odd name")
    (root / "link").symlink_to("/etc/shadow")
    (root / ("n" * 255)).touch()
    return root


def test_a_filled_sandbox_is_captured_with_the_digest_it_was_filled_from(store, tree, start_sandbox, runtime):
    base = store.capture(DirectorySource(tree))
    sandbox = start_sandbox(runtime=runtime)
    store.fill(base.digest, sandbox)
    final = store.capture(sandbox)
    assert final.digest == base.digest
    assert final.stored == 0
    assert not final.partial


def test_only_what_the_run_wrote_travels_back(store, tree, start_sandbox):
    base = store.capture(DirectorySource(tree))
    sandbox = start_sandbox()
    store.fill(base.digest, sandbox)
    world = ContainerWorld(sandbox)
    assert "ERROR" not in world.file_write("src/new.py", "x = 1\n" * 1000)
    assert "ERROR" not in world.git_commit("0", "work")
    sandbox.quiesce()
    final = store.capture(sandbox)
    changes = [change.path for change in store.diff(base.digest, final.digest).added]
    assert b"src/new.py" in changes
    assert final.stored < 6 << 20  # git keeps a copy of the large file; the first one stayed here
    assert store.capture(sandbox).digest == final.digest


def test_a_committed_repository_comes_back_whole(store, tmp_path, start_sandbox):
    sandbox = start_sandbox()
    world = ContainerWorld(sandbox)
    world.file_write("a.py", "x = 1\n")
    assert "ERROR" not in world.git_commit("0", "first")
    sandbox.quiesce()
    snapshot = store.capture(sandbox)
    assert "git index captured without stat data and caches" in [note.text for note in snapshot.notes]
    store.restore(snapshot.digest, tmp_path / "out")
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
    for arguments in (["status", "--porcelain"], ["fsck", "--strict"]):
        done = subprocess.run(
            ["git", *arguments],
            cwd=tmp_path / "out",
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == ""


def test_a_tree_that_does_not_fit_is_the_users_error_and_the_sandbox_lives(store, tree, start_sandbox):
    base = store.capture(DirectorySource(tree))
    sandbox = start_sandbox(resources=Resources(workspace="2MiB"))
    with pytest.raises(WorkspaceError, match="no room"):
        store.fill(base.digest, sandbox)
    assert sandbox.quiesce().header["killed"] == 0


def test_filling_a_place_that_is_not_empty_is_refused(store, tree, start_sandbox):
    base = store.capture(DirectorySource(tree))
    sandbox = start_sandbox()
    store.fill(base.digest, sandbox)
    with pytest.raises(WorkspaceError, match="could not be created"):
        store.fill(base.digest, sandbox)


HOSTILE = """
import os, socket

def test_leaves_a_mess():
    os.mkfifo("fifo")
    socket.socket(socket.AF_UNIX).bind("socket")
    os.symlink("/proc/1/environ", "environ")
    with open("giant", "wb") as file:
        file.truncate(1 << 40)
    os.mkdir("closed")
    with open("closed/secret", "w") as file:
        file.write("captured")
    os.chmod("closed/secret", 0)
    os.chmod("closed", 0)
    at = os.open(".", os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=at)
        at, old = os.open("d", os.O_RDONLY, dir_fd=at), at
        os.close(old)
    with open(b"\\xff\\x1b[2J\\n", "w") as file:
        file.write("odd")
"""


def test_a_mess_is_captured_or_listed_entry_by_entry(store, start_sandbox, runtime):
    sandbox = start_sandbox(runtime=runtime)
    world = ContainerWorld(sandbox)
    world.file_write("test_mess.py", HOSTILE)
    assert world.test_run("test_mess.py", 1) == "test_run: test_mess.py (exit=0)"
    sandbox.quiesce()
    snapshot = store.capture(sandbox)
    assert {item.path: item.text for item in snapshot.omissions} == {
        b"fifo": "fifo",
        b"socket": "socket",
        b"giant": "larger than the limit for one file",
    }
    found = {entry.path: entry for entry in store.entries(snapshot.digest)}
    assert b"".join(store.contents(found[b"closed/secret"])) == b"captured"
    assert b"".join(store.contents(found[b"environ"])) == b"/proc/1/environ"
    assert b"\xff\x1b[2J\n" in found
    assert max(path.count(b"/") for path in found) == 1499

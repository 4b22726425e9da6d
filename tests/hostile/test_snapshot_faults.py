"""Kills at any moment, full disks and read-only stores: what was acknowledged stays whole."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandbox_runner.errors import SandboxRunnerError
from sandbox_runner.snapshot import DirectorySource, SnapshotStore

KILLS = int(os.environ.get("SNAPSHOT_KILLS", "40"))
"""How many times a working process is killed; 200 and more for a thorough run."""


def work(store, tree, seed, keep, say):
    """Capture, tag and collect for ever, saying what was acknowledged."""
    chosen = random.Random(seed)
    while True:
        for _ in range(4):
            (tree / f"f{chosen.randrange(60)}").write_bytes(chosen.randbytes(chosen.randrange(8_000)))
        snapshot = store.capture(DirectorySource(tree))
        os.write(say, f"{snapshot.digest}\n".encode())
        store.tag(snapshot.digest, "latest")
        if chosen.random() < 0.4:
            store.gc(keep_last=keep)
            os.write(say, b"gc\n")


def spawn(*arguments):
    """A process that works until it is killed; returns its id and where it says what it did."""
    hear, say = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.close(hear)
            work(*arguments, say)
        finally:
            os._exit(1)
    os.close(say)
    return process, hear


def end(process, hear):
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    with os.fdopen(hear) as file:
        said = file.read().split()
    assert os.WIFSIGNALED(status), f"it failed by itself after {said}"
    return said


@pytest.mark.long
def test_kills_at_random_moments_leave_a_store_that_is_whole(tmp_path):
    store, tree = SnapshotStore(tmp_path / "store"), tmp_path / "tree"
    tree.mkdir()
    moments = random.Random(7)
    acknowledged = 0
    for kill in range(KILLS):
        worker = spawn(store, tree, kill, 3)
        time.sleep(moments.random() * 0.3)
        said = end(*worker)
        digests = [line for line in said if line != "gc"]
        acknowledged += len(digests)
        if store.layout.packs.exists():
            report = store.fsck()
            assert report.ok, report
        listed = {item.digest for item in store.list()}
        assert set(digests[-3:]) <= listed  # gc keeps three
    assert acknowledged
    store.gc(keep_last=2)
    assert store.fsck().ok
    assert store.fsck().remarks == []
    for snapshot in store.list():
        store.restore(snapshot.digest, tmp_path / snapshot.digest)
        assert store.capture(DirectorySource(tmp_path / snapshot.digest)).digest == snapshot.digest


def test_several_processes_capture_and_collect_at_once(tmp_path):
    store = SnapshotStore(tmp_path / "store")
    workers = []
    for number in range(3):
        (tmp_path / f"tree{number}").mkdir()
        # So many that none is collected before whoever captured it has tagged it.
        workers.append(spawn(store, tmp_path / f"tree{number}", number, 100))
    time.sleep(2)
    said = [end(*worker) for worker in workers]
    assert all(said), said
    report = store.fsck()
    assert report.ok, report
    assert store.show("latest")


def test_a_new_store_may_be_opened_by_many_processes_at_once(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(10):
        begin, go = os.pipe()
        workers = []
        for _ in range(6):
            process = os.fork()
            if process == 0:
                status = 1
                try:
                    os.close(go)
                    os.read(begin, 1)  # its end is the signal
                    SnapshotStore(tmp_path / f"store{number}").capture(DirectorySource(tree))
                    status = 0
                finally:
                    os._exit(status)
            workers.append(process)
        os.close(begin)
        os.close(go)
        assert [os.waitpid(process, 0)[1] for process in workers] == [0] * 6


FULL = """
import resource, sys
from sandbox_runner.errors import StoreError
from sandbox_runner.snapshot import DirectorySource, SnapshotStore

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    SnapshotStore(sys.argv[1]).capture(DirectorySource(sys.argv[2]))
except StoreError as error:
    print(error)
else:
    print("captured")
"""


@pytest.mark.parametrize("room", [0, 100, 3_000, 40_000, 300_000, 1 << 20])
def test_no_room_for_what_is_new_is_an_error_and_leaves_what_was_there(tmp_path, room):
    store, tree = SnapshotStore(tmp_path / "store"), tmp_path / "tree"
    tree.mkdir()
    (tree / "first").write_bytes(os.urandom(1000))
    first = store.capture(DirectorySource(tree))
    (tree / "second").write_bytes(os.urandom(2 << 20))
    done = subprocess.run(
        [sys.executable, "-c", FULL, store.layout.root, tree, str(room)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "cannot be used" in done.stdout
    assert [item.digest for item in store.list()] == [first.digest]
    assert [path.suffix for path in store.layout.packs.iterdir()] == [".pack"]
    report = store.fsck()
    assert report.ok
    assert report.remarks == []
    assert store.capture(DirectorySource(tree)).files == 2


READ_ONLY = """
import json, os, sys
from sandbox_runner.errors import SandboxRunnerError
from sandbox_runner.snapshot import DirectorySource, SnapshotStore

if os.getuid() == 0:
    os.setresgid(65534, 65534, 65534), os.setresuid(65534, 65534, 65534)
store = SnapshotStore(sys.argv[1])
digest = store.list()[0].digest
found = {"entries": len(list(store.entries(digest))), "fsck": store.fsck().ok}
for name, attempt in {
    "capture": lambda: store.capture(DirectorySource(sys.argv[2])),
    "gc": lambda: store.gc(keep_last=1),
    "tag": lambda: store.tag(digest, "name"),
}.items():
    try:
        attempt()
    except SandboxRunnerError as error:
        found[name] = type(error).__name__
print(json.dumps(found))
"""


def test_a_read_only_store_can_be_read_and_says_that_it_cannot_be_written(tmp_path):
    store, tree = SnapshotStore(tmp_path / "store"), tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_text("x")
    store.capture(DirectorySource(tree))
    (tree / "file").write_text("y")
    for path in (store.layout.root, *store.layout.root.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    for parent in tmp_path.parents[:-1]:
        parent.chmod(parent.stat().st_mode | 0o011)
    tmp_path.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY, store.layout.root, tree],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout, done.stderr
    assert done.stdout.strip() == (
        '{"entries": 1, "fsck": true, "capture": "StoreError", "gc": "StoreError", "tag": "StoreError"}'
    )
    for path in (store.layout.root, *store.layout.root.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def test_a_store_where_a_file_stands_is_an_error(tmp_path):
    (tmp_path / "store").write_text("x")
    (tmp_path / "tree").mkdir()
    store = SnapshotStore(tmp_path / "store")
    for attempt in (
        lambda: store.capture(DirectorySource(tmp_path / "tree")),
        store.list,
        lambda: store.gc(keep_last=1),
        store.fsck,
        lambda: store.show("abcd"),
    ):
        with pytest.raises(SandboxRunnerError):
            attempt()
    assert Path(tmp_path / "store").read_text() == "x"

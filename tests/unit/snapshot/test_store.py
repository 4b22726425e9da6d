import os
import shutil
import threading

import pytest

from sandbox_runner.errors import SnapshotError, StoreError, WorkspaceError
from sandbox_runner.snapshot import DirectorySource, Limits, SnapshotStore
from sandbox_runner.snapshot.lock import store_lock


def test_what_was_captured_can_be_restored(tree, tmp_path, store, capture, listing):
    snapshot = capture(tree, label="first")
    store.restore(snapshot.digest, tmp_path / "out")
    assert listing(tmp_path / "out") == listing(tree)
    assert (snapshot.files, snapshot.directories, snapshot.links) == (4, 3, 1)
    assert snapshot.size == sum(len(value[-1]) for value in listing(tree).values() if value[0] != "directory")
    assert not snapshot.partial
    assert snapshot.label == "first"


def test_a_restored_tree_has_the_digest_of_the_captured_one(tree, tmp_path, store, capture):
    snapshot = capture(tree)
    store.restore(snapshot.digest, tmp_path / "out")
    assert capture(tmp_path / "out").digest == snapshot.digest


def test_a_digest_depends_on_content_alone(tree, tmp_path, capture):
    first = capture(tree).digest
    copy = tmp_path / "copy"
    shutil.copytree(tree, copy, symlinks=True)
    for path in copy.rglob("*"):
        os.utime(path, ns=(5, 5), follow_symlinks=False)
    (copy / "src").chmod(0o700)
    (copy / "nothing").chmod(0o600)
    assert capture(copy).digest == first
    (copy / "nothing").chmod(0o700)
    assert capture(copy).digest != first


def test_a_second_capture_stores_only_what_is_new(tree, store, capture):
    first = capture(tree)
    again = capture(tree)
    assert (again.digest, again.stored) == (first.digest, 0)
    assert len(list(store.layout.packs.iterdir())) == 1
    (tree / "src" / "main.py").write_text("changed\n")
    assert 0 < capture(tree).stored < first.stored


def test_a_file_that_is_there_many_times_is_stored_once(tmp_path, capture):
    (tmp_path / "many").mkdir()
    contents = os.urandom(100_000)
    for number in range(20):
        (tmp_path / "many" / str(number)).write_bytes(contents)
    assert capture(tmp_path / "many").stored < 110_000


def test_a_large_file_survives_the_way_through_the_store(tmp_path, store, capture):
    (tmp_path / "large").mkdir()
    contents = os.urandom(3 << 20) + bytes(5 << 20)
    (tmp_path / "large" / "file").write_bytes(contents)
    snapshot = capture(tmp_path / "large")
    assert snapshot.stored < 4 << 20
    store.restore(snapshot.digest, tmp_path / "out")
    assert (tmp_path / "out" / "file").read_bytes() == contents


def test_a_git_repository_restores_to_a_working_one_and_status_does_not_change_its_digest(
    tmp_path, store, capture, git
):
    repository = tmp_path / "repository"
    repository.mkdir()
    git(repository, "init", "-q")
    (repository / "a.py").write_text("x\n")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "first")
    first = capture(repository)
    os.utime(repository / "a.py", ns=(7, 7))
    git(repository, "status")
    assert capture(repository).digest == first.digest
    assert [note.text for note in first.notes] == ["git index captured without stat data and caches"]
    store.restore(first.digest, tmp_path / "out")
    assert git(tmp_path / "out", "status", "--porcelain") == ""
    (tmp_path / "out" / "a.py").write_text("y\n")
    git(tmp_path / "out", "commit", "-q", "-a", "-m", "second")
    assert git(tmp_path / "out", "fsck", "--strict") == ""


def test_a_snapshot_is_named_by_its_digest_a_prefix_or_a_tag(tree, store, capture):
    snapshot = capture(tree)
    store.tag(snapshot.digest, "release-1")
    for name in (snapshot.digest, "sha256:" + snapshot.digest, snapshot.digest[:4], "release-1"):
        assert store.show(name).digest == snapshot.digest
    assert store.show(snapshot.digest).tags == ("release-1",)


@pytest.mark.parametrize("name", ["", "abc", "0" * 64, "nonsense", "../tags/x", "0" * 65, "sha256:"])
def test_an_unknown_name_is_refused(tree, store, capture, name):
    capture(tree)
    with pytest.raises(SnapshotError, match="no snapshot"):
        store.show(name)


def test_an_ambiguous_prefix_names_the_candidates(tmp_path, store, capture):
    prefixes = {}
    (tmp_path / "t").mkdir()
    number = 0
    while True:  # four digits: a pair comes after some hundred snapshots
        (tmp_path / "t" / "f").write_text(str(number))
        digest = capture(tmp_path / "t").digest
        if digest[:4] in prefixes:
            break
        prefixes[digest[:4]] = digest
        number += 1
        assert number < 2000
    with pytest.raises(SnapshotError, match="ambiguous") as caught:
        store.show(digest[:4])
    assert digest[:12] in str(caught.value)
    assert prefixes[digest[:4]][:12] in str(caught.value)


@pytest.mark.parametrize("tag", ["", "../x", "a/b", ".hidden", "abcd", "-x", "a b", "x" * 129, "new\nline"])
def test_an_impossible_tag_is_refused(tree, store, capture, tag):
    snapshot = capture(tree)
    with pytest.raises(SnapshotError):
        store.tag(snapshot.digest, tag)


def test_a_tag_moves_and_can_be_taken_away(tree, store, capture):
    first = capture(tree)
    (tree / "more").write_text("x")
    second = capture(tree)
    store.tag(first.digest, "current")
    store.tag(second.digest, "current")
    assert store.show("current").digest == second.digest
    assert store.show(first.digest).tags == ()
    store.untag("current")
    with pytest.raises(SnapshotError):
        store.show("current")
    with pytest.raises(SnapshotError):
        store.untag("current")


def test_the_snapshot_captured_last_is_listed_first(tree, store, capture):
    first = capture(tree)
    (tree / "more").write_text("x")
    second = capture(tree)
    assert [item.digest for item in store.list()] == [second.digest, first.digest]
    (tree / "more").unlink()
    capture(tree)
    assert [item.digest for item in store.list()] == [first.digest, second.digest]


def test_a_store_that_does_not_exist_is_empty_and_is_not_made_by_looking(store):
    assert store.list() == []
    with pytest.raises(SnapshotError):
        store.show("0" * 64)
    assert not store.layout.root.exists()


def test_restore_refuses_a_directory_that_is_not_empty(tree, tmp_path, store, capture):
    snapshot = capture(tree)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(SnapshotError, match="not empty"):
        store.restore(snapshot.digest, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_restore_with_overwrite_replaces_what_the_snapshot_has_and_leaves_the_rest(
    tree, tmp_path, store, capture, listing
):
    snapshot = capture(tree)
    before = listing(tree)
    (tree / "src" / "main.py").write_text("other\n")
    (tree / "run.sh").chmod(0o644)
    (tree / "link").unlink()
    (tree / "link").write_text("a file now")
    (tree / "nothing").unlink()
    (tree / "nothing").mkdir()
    (tree / "mine").write_text("mine")
    store.restore(snapshot.digest, tree, overwrite=True)
    assert listing(tree) == {**before, "mine": ("file", False, b"mine")}


def test_overwrite_does_not_remove_a_directory_with_files_of_the_user(tree, store, capture):
    snapshot = capture(tree)
    (tree / "nothing").unlink()
    (tree / "nothing").mkdir()
    (tree / "nothing" / "mine").write_text("mine")
    with pytest.raises(WorkspaceError, match="not empty"):
        store.restore(snapshot.digest, tree, overwrite=True)
    assert (tree / "nothing" / "mine").read_text() == "mine"


def test_a_missing_directory_is_the_users_error(tmp_path, capture, store):
    with pytest.raises(WorkspaceError, match="cannot be opened"):
        capture(tmp_path / "missing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(WorkspaceError, match="cannot be opened"):
        capture(tmp_path / "file")
    assert list(store.layout.packs.glob("*")) == []


def test_too_many_entries_are_an_error_and_leave_nothing(tree, store):
    with pytest.raises(WorkspaceError, match="more than 3 entries"):
        store.capture(DirectorySource(tree), limits=Limits(max_entries=3))
    assert store.list() == []
    assert list(store.layout.packs.glob("*")) == []


def test_what_is_beyond_a_size_limit_is_listed_and_makes_the_snapshot_partial(tree, store):
    snapshot = store.capture(DirectorySource(tree), limits=Limits(max_file_bytes=1000))
    assert snapshot.partial
    assert [(item.path, item.text) for item in snapshot.omissions] == [
        (b"src/deep/data.bin", "larger than the limit for one file")
    ]
    snapshot = store.capture(DirectorySource(tree), limits=Limits(max_total_bytes=20))
    assert {item.text for item in snapshot.omissions} == {"beyond the limit for all files together"}
    assert len(snapshot.omissions) == 2  # smaller files that still fit are in
    assert store.show(snapshot.digest) == snapshot


def test_a_partial_snapshot_has_another_digest_than_the_whole_tree_it_restores_to(
    tree, tmp_path, store, capture
):
    partial = store.capture(DirectorySource(tree), limits=Limits(max_file_bytes=1000))
    store.restore(partial.digest, tmp_path / "out")
    whole = capture(tmp_path / "out")
    assert whole.root == partial.root
    assert whole.digest != partial.digest


def test_captures_and_readers_at_once_do_not_disturb_each_other(tmp_path, store):
    trees = []
    for number in range(6):
        root = tmp_path / f"tree{number}"
        root.mkdir()
        for name in range(30):
            (root / str(name)).write_text(f"{name} {number if name % 3 else 0}")
        trees.append(root)
    failures = []

    def work(root):
        try:
            mine = SnapshotStore(store.layout.root)
            for _ in range(3):
                snapshot = mine.capture(DirectorySource(root))
                assert len(list(mine.entries(snapshot.digest))) == 30
        except Exception as error:  # noqa: BLE001 - reported below, in the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(root,)) for root in trees]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(store.list()) == 6
    assert store.fsck().ok


def test_gc_keeps_the_last_the_tagged_and_the_referenced(tree, tmp_path, store, capture, listing):
    snapshots = []
    for number in range(6):
        (tree / "version").write_text(f"{number}")
        (tree / f"only{number}").write_bytes(os.urandom(20_000))
        snapshots.append(capture(tree))
        (tree / f"only{number}").unlink()
    store.tag(snapshots[0].digest, "kept")
    planned = store.gc(keep_last=1, referenced=["sha256:" + snapshots[2].digest], dry_run=True)
    assert len(store.list()) == 6
    before = sum(path.stat().st_size for path in store.layout.packs.iterdir())
    report = store.gc(keep_last=1, referenced=["sha256:" + snapshots[2].digest])
    kept = {snapshots[0].digest, snapshots[2].digest, snapshots[5].digest}
    assert set(report.kept) == kept == {item.digest for item in store.list()}
    assert set(report.removed) == {item.digest for item in snapshots} - kept
    assert planned.freed == report.freed > 60_000
    assert sum(path.stat().st_size for path in store.layout.packs.iterdir()) < before - 60_000
    assert store.fsck().ok
    for number in (0, 2, 5):
        store.restore(snapshots[number].digest, tmp_path / f"out{number}")
        assert listing(tmp_path / f"out{number}")["version"] == ("file", False, f"{number}".encode())
    assert store.show("kept").digest == snapshots[0].digest


def test_gc_of_a_clean_store_changes_nothing(tree, store, capture):
    capture(tree)
    before = sorted(path.name for path in store.layout.packs.iterdir())
    assert store.gc(keep_last=10).freed == 0
    assert sorted(path.name for path in store.layout.packs.iterdir()) == before


def test_gc_can_empty_a_store(tree, store, capture):
    capture(tree)
    store.gc(keep_last=0)
    assert store.list() == []
    assert list(store.layout.packs.iterdir()) == []
    assert store.fsck().ok


def test_a_reader_goes_on_while_gc_moves_what_it_reads(tree, store, capture):
    (tree / "old").write_bytes(os.urandom(5000))
    capture(tree)
    (tree / "old").unlink()
    kept = capture(tree)
    with store.reading() as reader:
        walk = reader.walk(bytes.fromhex(kept.root))
        first = next(walk)
        store.gc(keep_last=1)
        entries = [first, *walk]
        contents = {entry.path: reader.read(entry.digest) for entry in entries if entry.type == "file"}
    assert contents[b"src/main.py"] == b"one\ntwo\nthree\n"
    assert len(entries) == kept.entries


def test_gc_and_capture_wait_for_each_other_and_say_so(tree, store, capture, monkeypatch):
    capture(tree)
    monkeypatch.setattr("sandbox_runner.snapshot.collect._CAPTURE_SECONDS", 0.05)
    monkeypatch.setattr("sandbox_runner.snapshot.session._GC_SECONDS", 0.05)
    with (
        store_lock(store.layout.lock, exclusive=False, seconds=1),
        pytest.raises(StoreError, match="a capture is"),
    ):
        store.gc(keep_last=1)
    with store_lock(store.layout.lock, exclusive=True, seconds=1):
        with pytest.raises(StoreError, match="gc or fsck is"):
            capture(tree)
        assert len(store.list()) == 1  # readers are not kept waiting


def test_two_stores_share_nothing(tree, tmp_path, capture):
    snapshot = capture(tree)
    neighbour = SnapshotStore(tmp_path / "neighbour")
    neighbour.capture(DirectorySource(tree / "empty"))
    with pytest.raises(SnapshotError, match="no snapshot"):
        neighbour.show(snapshot.digest)


def test_a_store_is_private_to_its_owner(tree, store, capture):
    capture(tree)
    for path in (store.layout.root, store.layout.packs, store.layout.tags):
        assert path.stat().st_mode & 0o077 == 0

import os
import sqlite3

import pytest

from sandbox_runner.errors import SnapshotError, StoreError


@pytest.fixture
def two(tree, store, capture):
    """Two snapshots in two packs; the second adds one file to the first."""
    first = capture(tree)
    (tree / "later").write_bytes(os.urandom(50_000))
    return first, capture(tree)


def packs(store):
    """The pack of the first snapshot and that of the second."""
    return sorted(store.layout.packs.glob("*.pack"), key=lambda path: path.stat().st_mtime_ns)


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 0xFF
    path.write_bytes(data)


def test_a_sound_store_has_no_problem(two, store):
    report = store.fsck()
    assert report.ok
    assert (report.packs, report.snapshots, report.problems, report.remarks) == (2, 2, [], [])


def test_a_flipped_byte_is_refused_when_read_and_named_by_fsck(two, store, tmp_path):
    first, second = two
    flip(packs(store)[1], 2000)  # inside the contents of "later"
    with pytest.raises(StoreError, match="damaged"):
        store.restore(second.digest, tmp_path / "out")
    report = store.fsck()
    assert report.lost == [second.digest]
    assert any("later" in problem for problem in report.problems)
    store.restore(first.digest, tmp_path / "first")


def test_every_flipped_byte_of_a_pack_is_found(store, capture, tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "f").write_text("contents " * 20)
    snapshot = capture(tmp_path / "t")
    (pack,) = packs(store)
    sound = pack.read_bytes()
    for position in range(0, len(sound), 5):
        flip(pack, position)
        assert not store.fsck().ok, position
        pack.write_bytes(sound)
    assert store.fsck().ok
    assert store.show(snapshot.digest)


def test_a_missing_pack_is_named_with_the_snapshots_it_takes_along(two, store):
    first, second = two
    packs(store)[1].unlink()
    report = store.fsck()
    assert report.lost == [second.digest]
    assert any("is missing" in problem for problem in report.problems)
    repaired = store.fsck(repair=True)
    assert repaired.lost == [second.digest]
    assert [item.digest for item in store.list()] == [first.digest]
    assert store.fsck().ok


@pytest.mark.parametrize("harm", ["cut", "gone", "scribbled", "emptied"])
def test_a_broken_index_is_said_and_rebuilt_from_the_packs(two, store, tmp_path, harm):
    first, second = two
    store.tag(first.digest, "kept")
    index = store.layout.index
    if harm == "cut":
        os.truncate(index, 5000)
    elif harm == "gone":
        index.unlink()
    elif harm == "scribbled":
        index.write_bytes(os.urandom(20_000))
    else:
        index.write_bytes(b"")
    assert not store.fsck().ok
    if harm != "gone":
        with pytest.raises(StoreError, match="index"):
            store.list()
    report = store.fsck(repair=True)
    assert report.repaired
    assert report.lost == []
    assert {item.digest for item in store.list()} == {first.digest, second.digest}
    assert store.fsck().ok
    assert store.show("kept").digest == first.digest
    store.restore(second.digest, tmp_path / "out")


def test_an_index_of_a_later_version_is_not_touched(two, store):
    with sqlite3.connect(store.layout.index) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="version 99"):
        store.list()


def test_a_cut_pack_loses_what_was_cut_and_keeps_the_rest(two, store, tmp_path):
    first, second = two
    pack = packs(store)[1]
    os.truncate(pack, pack.stat().st_size // 2)
    assert store.fsck().lost == [second.digest]
    store.fsck(repair=True)
    assert [item.digest for item in store.list()] == [first.digest]
    store.restore(first.digest, tmp_path / "out")
    assert store.fsck().lost == []


def test_a_damaged_object_that_another_pack_holds_as_well_is_healed(tree, store, capture, tmp_path):
    snapshot = capture(tree)
    copy = store.layout.packs / f"{'0' * 32}.pack"
    (pack,) = packs(store)
    copy.write_bytes(pack.read_bytes())
    flip(pack, 200)
    assert not store.fsck().ok
    assert store.fsck(repair=True).lost == []
    assert store.fsck().ok
    store.restore(snapshot.digest, tmp_path / "out")
    assert capture(tmp_path / "out").digest == snapshot.digest


def test_what_a_killed_capture_left_is_a_remark_and_gc_clears_it(two, store, tmp_path):
    first, second = two
    (store.layout.packs / "abc.tmp").write_bytes(b"half a pack")
    with sqlite3.connect(store.layout.index) as connection:  # renamed, and killed before its commit
        (pack,) = connection.execute(
            "SELECT pack FROM snapshots WHERE digest = ?", (bytes.fromhex(second.digest),)
        ).fetchone()
        for table in ("objects", "snapshots"):
            connection.execute(f"DELETE FROM {table} WHERE pack = ?", (pack,))
        connection.execute("DELETE FROM packs WHERE id = ?", (pack,))
    connection.close()
    report = store.fsck()
    assert report.ok
    assert len(report.remarks) == 2
    assert [item.digest for item in store.list()] == [first.digest]
    store.gc(keep_last=10)
    assert {item.digest for item in store.list()} == {first.digest, second.digest}
    assert store.fsck().remarks == []
    store.restore(second.digest, tmp_path / "out")


def test_gc_touches_nothing_when_a_kept_snapshot_is_damaged(two, store):
    damaged = packs(store)[0]
    for position in range(100, damaged.stat().st_size - 100, 7):
        flip(damaged, position)
    before = sorted(path.name for path in store.layout.packs.iterdir())
    with pytest.raises(StoreError):
        store.gc(keep_last=2)
    assert sorted(path.name for path in store.layout.packs.iterdir()) == before


def test_fsck_needs_a_store(store):
    with pytest.raises(StoreError, match="no snapshot store"):
        store.fsck()


def test_a_snapshot_whose_root_is_lost_is_dropped_by_repair(two, store):
    first, second = two
    os.truncate(packs(store)[0], 100)
    report = store.fsck(repair=True)
    assert set(report.lost) == {first.digest, second.digest}
    assert store.list() == []
    with pytest.raises(SnapshotError):
        store.show(first.digest)

"""What one snapshot leaves out is neither compared nor touched."""

import os

import pytest

from sandbox_runner.guest.tree_records import EXCLUDED
from sandbox_runner.snapshot import DirectorySource, Limits, Note, Omission, Snapshot
from sandbox_runner.snapshot.left_out import Unseen


@pytest.fixture
def user(tmp_path):
    root = tmp_path / "user"
    (root / "build").mkdir(parents=True)
    (root / "build" / "mine").write_text("mine")
    (root / "secret").write_text("mine")
    (root / "a").write_text("a")
    return root


@pytest.fixture
def base(user, store):
    return store.capture(DirectorySource(user, exclude=["build/", "secret"]))


def test_what_the_base_left_out_is_not_removed_by_a_run_that_never_saw_it(user, base, store, tmp_path):
    store.restore(base.digest, tmp_path / "copy")
    final = store.capture(DirectorySource(tmp_path / "copy"))
    assert not store.diff(base.digest, final.digest)
    report = store.apply(base.digest, final.digest, user)
    assert (report.written, report.removed, report.unseen) == ((), (), ())


def test_what_a_run_made_in_a_place_that_was_left_out_is_named_and_not_applied(
    user, base, store, tmp_path, listing
):
    copy = tmp_path / "copy"
    store.restore(base.digest, copy)
    (copy / "build").mkdir()
    (copy / "build" / "mine").write_text("the run's")
    (copy / "build" / "other").write_text("the run's")
    (copy / "secret").write_text("the run's")
    (copy / "a").write_text("changed")
    final = store.capture(DirectorySource(copy))
    diff = store.diff(base.digest, final.digest)
    unseen = (b"build", b"build/mine", b"build/other", b"secret")
    assert tuple(change.path for change in diff.unseen) == unseen
    assert [change.path for change in diff.changes] == [b"a"]
    before = listing(user)
    report = store.apply(base.digest, final.digest, user, git=True)
    assert (report.written, report.unseen) == ((b"a",), unseen)
    assert listing(user) == {**before, "a": ("file", False, b"changed")}


@pytest.mark.parametrize("harm", ["fifo", "too large"])
def test_what_the_final_snapshot_could_not_capture_is_not_removed(user, store, tmp_path, listing, harm):
    base = store.capture(DirectorySource(user))
    copy = tmp_path / "copy"
    store.restore(base.digest, copy)
    if harm == "fifo":
        (copy / "a").unlink()
        os.mkfifo(copy / "a")
    else:
        (copy / "a").write_bytes(bytes(2000))
    final = store.capture(DirectorySource(copy), limits=Limits(max_file_bytes=1000))
    before = listing(user)
    report = store.apply(base.digest, final.digest, user)
    assert (report.removed, report.unseen) == ((), (b"a",))
    assert listing(user) == before


def test_a_directory_that_the_run_removed_stays_for_what_was_left_out_of_it(user, store, tmp_path):
    base = store.capture(DirectorySource(user, exclude=["build/mine"]))
    copy = tmp_path / "copy"
    store.restore(base.digest, copy)
    (copy / "build").rmdir()
    final = store.capture(DirectorySource(copy))
    report = store.apply(base.digest, final.digest, user)
    assert (report.removed, report.kept) == ((), (b"build",))
    assert (user / "build" / "mine").read_text() == "mine"


def test_what_was_left_out_travels_with_an_archive_and_survives_gc(base, store, tmp_path):
    store.export(base.digest, tmp_path / "image", form="oci")
    assert store.import_archive(tmp_path / "image").omissions == base.omissions
    store.gc(keep_last=1)
    shown = store.show(base.digest)
    assert shown.omissions == (Omission(b"build", EXCLUDED), Omission(b"secret", EXCLUDED))


def snapshot(*omissions, notes=()):
    return Snapshot("", "", 0, "", 0, 0, 0, 0, 0, omissions=omissions, notes=notes)


def test_places_without_a_name_of_their_own_are_unseen_too():
    rest = Unseen(snapshot(), snapshot(Omission(b"d/m", 11)))
    assert [path for path in (b"d/a", b"d/m", b"d/z", b"d/z/x", b"e") if rest.holds(path, removed=False)] == [
        b"d/m",
        b"d/z",
        b"d/z/x",
    ]
    counted = Unseen(snapshot(), snapshot(Omission(b"a", 1), notes=(Note(7, 3, b"c/x"),)))
    assert counted.holds(b"c/y", removed=True)
    assert not counted.holds(b"c/y", removed=False)
    assert not counted.holds(b"b", removed=True)

import os

import pytest

from sandbox_runner.errors import WorkspaceError
from sandbox_runner.snapshot import ApplyConflictError


@pytest.fixture
def run(tree, tmp_path, store, capture):
    """The base and final snapshot of a run, and the user's directory, which is as the base."""
    base = capture(tree)
    store.restore(base.digest, tmp_path / "user")
    (tree / "src" / "main.py").write_text("changed by the run\n")
    (tree / "run.sh").unlink()
    (tree / "made").mkdir()
    (tree / "made" / "new.py").write_text("new\n")
    (tree / "empty").rmdir()
    (tree / "link").unlink()
    (tree / "link").symlink_to("made/new.py")
    (tree / "nothing").unlink()
    (tree / "nothing").mkdir()
    (tree / "nothing" / "inside").write_text("x")
    return base.digest, capture(tree).digest


@pytest.fixture
def user(tmp_path, run):
    return tmp_path / "user"


def test_what_the_run_changed_comes_into_the_directory(run, user, tree, store, listing):
    (user / "mine").write_text("untouched by the run")
    report = store.apply(*run, user)
    assert listing(user) == {**listing(tree), "mine": ("file", False, b"untouched by the run")}
    assert set(report.removed) == {b"run.sh", b"empty"}
    assert b"made/new.py" in report.written
    assert report.kept == report.withheld == ()


def test_a_dry_run_says_the_same_and_writes_nothing(run, user, store, listing):
    before = listing(user)
    planned = store.apply(*run, user, dry_run=True)
    assert listing(user) == before
    done = store.apply(*run, user)
    assert (planned.written, planned.removed) == (done.written, done.removed)


def test_applying_twice_does_nothing_the_second_time(run, user, store, listing):
    store.apply(*run, user)
    after = listing(user)
    report = store.apply(*run, user)
    assert (report.written, report.removed) == ((), ())
    assert listing(user) == after


@pytest.mark.parametrize(
    ("harm", "path"),
    [
        (lambda user: (user / "src" / "main.py").write_text("changed by the user\n"), b"src/main.py"),
        (lambda user: (user / "run.sh").chmod(0o644), b"run.sh"),
        (lambda user: (user / "made").write_text("in the way"), b"made"),
        (lambda user: os.mkfifo(user / "made"), b"made"),
        (lambda user: (user / "src" / "main.py").unlink(), b"src/main.py"),
        (lambda user: (user / "nothing").write_text("not empty any more"), b"nothing"),
    ],
    ids=["changed", "mode", "in the way", "fifo", "removed", "replaced"],
)
def test_a_path_that_the_user_changed_too_is_a_conflict_and_nothing_is_written(run, user, store, harm, path):
    harm(user)
    before = sorted(str(found) for found in user.rglob("*"))
    contents = {found: found.read_bytes() for found in user.rglob("*") if found.is_file()}
    with pytest.raises(ApplyConflictError) as caught:
        store.apply(*run, user)
    assert path in caught.value.conflicts
    assert sorted(str(found) for found in user.rglob("*")) == before
    assert {found: found.read_bytes() for found in user.rglob("*") if found.is_file()} == contents


def test_a_directory_that_became_a_link_is_a_conflict_and_its_target_stays_as_it_was(
    run, user, tmp_path, store
):
    outside = tmp_path / "outside"
    (user / "src").rename(outside)
    (user / "src").symlink_to(outside)
    with pytest.raises(ApplyConflictError):
        store.apply(*run, user)
    assert (outside / "main.py").read_text() == "one\ntwo\nthree\n"


def test_a_removed_directory_with_files_of_the_user_is_kept_and_said(run, user, store):
    (user / "empty" / "mine").write_text("mine")
    report = store.apply(*run, user)
    assert report.kept == (b"empty",)
    assert (user / "empty" / "mine").read_text() == "mine"


def test_a_directory_to_be_replaced_that_holds_files_of_the_user_is_a_conflict(
    tree, tmp_path, store, capture
):
    base = capture(tree)
    store.restore(base.digest, tmp_path / "user")
    (tree / "empty").rmdir()
    (tree / "empty").write_text("a file now")
    (tmp_path / "user" / "empty" / "mine").write_text("mine")
    with pytest.raises(ApplyConflictError):
        store.apply(base.digest, capture(tree).digest, tmp_path / "user")
    assert (tmp_path / "user" / "empty" / "mine").read_text() == "mine"


def test_a_change_that_the_user_made_as_well_is_no_conflict(run, user, store):
    (user / "src" / "main.py").write_text("changed by the run\n")
    (user / "run.sh").unlink()
    report = store.apply(*run, user)
    assert b"src/main.py" in report.already
    assert b"run.sh" in report.already


def test_what_is_below_a_git_directory_is_withheld_unless_asked_for(tree, tmp_path, store, capture, git):
    git(tree, "init", "-q")
    base = capture(tree)
    store.restore(base.digest, tmp_path / "user")
    (tree / ".git" / "hooks" / "pre-commit").write_text("#!/bin/sh\nevil\n")
    (tree / "src" / "main.py").write_text("harmless\n")
    final = capture(tree)
    report = store.apply(base.digest, final.digest, tmp_path / "user")
    assert report.withheld == (b".git/hooks/pre-commit",)
    assert not (tmp_path / "user" / ".git" / "hooks" / "pre-commit").exists()
    assert (tmp_path / "user" / "src" / "main.py").read_text() == "harmless\n"
    report = store.apply(base.digest, final.digest, tmp_path / "user", git=True)
    assert report.withheld == ()
    assert (tmp_path / "user" / ".git" / "hooks" / "pre-commit").exists()


def test_commits_apply_to_a_repository_whose_index_git_has_rewritten(tree, tmp_path, store, capture, git):
    git(tree, "init", "-q")
    git(tree, "add", "-A")
    git(tree, "commit", "-q", "-m", "first")
    base = capture(tree)
    user = tmp_path / "user"
    store.restore(base.digest, user)
    git(user, "status")  # fills in stat data
    (tree / "src" / "main.py").write_text("committed\n")
    git(tree, "commit", "-q", "-a", "-m", "second")
    store.apply(base.digest, capture(tree).digest, user, git=True)
    assert git(user, "status", "--porcelain") == ""
    assert git(user, "log", "--format=%s") == "second\nfirst\n"


def test_a_missing_directory_is_the_users_error(run, tmp_path, store):
    with pytest.raises(WorkspaceError):
        store.apply(*run, tmp_path / "missing")

"""Layouts of git: taken along, or refused in words before anything runs; none without mutual consent."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox_runner.errors import SnapshotError, WorkspaceError
from sandbox_runner.policy import Policy
from sandbox_runner.runner import Home
from sandbox_runner.runner.layouts import Need, check_layouts, source_of
from sandbox_runner.runner.plan import Wishes
from sandbox_runner.runner.runner import Runner
from sandbox_runner.snapshot import Snapshot, SnapshotStore
from sandbox_runner.snapshot.linked import plain_config
from sandbox_runner.trail import compile_worklog
from tests.plain_git import git

SECRET = "the secret of another repository"
COMMIT = [
    {"op": "TRAIL_BEGIN", "agent": "ada", "trail_id": "t", "ts": 1_753_000_000},
    {"op": "FILE_WRITE", "path": "new.txt", "content": "new\n"},
    {"op": "GIT_COMMIT", "repo": 0, "message": "m"},
    {"op": "TRAIL_END", "status": 0},
]


def repository(place: Path, *options: str, text: str = "a\n") -> Path:
    place.mkdir(parents=True)
    git(place, "init", "-q", "-b", "main", *options)
    (place / "a.txt").write_text(text)
    git(place, "add", "-A")
    git(place, "commit", "-qm", "one")
    return place


def worktree(main: Path, place: Path, *options: str) -> Path:
    git(main, *options, "worktree", "add", "-q", "-b", place.name, str(place))
    return place


def linked(tmp_path: Path) -> Path:
    return worktree(repository(tmp_path / "main"), tmp_path / "tree")


def check(
    workspace: Path,
    *,
    bind: bool = False,
    commits: bool = True,
    pushes: bool = False,
    exclude: tuple[str, ...] = (),
) -> None:
    wishes = Wishes(workspace=workspace, bind=bind, exclude=exclude)
    check_layouts(wishes, {"0": Need(".", commits=commits, pushes=pushes)})


def captured(
    workspace: Path, tmp_path: Path, exclude: tuple[str, ...] = ()
) -> tuple[Snapshot, SnapshotStore]:
    store = Home(tmp_path / "home").store()
    source, found = source_of(Wishes(workspace=workspace, exclude=exclude), workspace)
    try:
        return store.capture(source), store
    finally:
        if found is not None:
            found.close()


def taken(workspace: Path, tmp_path: Path) -> Path:
    """What a run would begin with, as a directory."""
    snapshot, store = captured(workspace, tmp_path)
    left = tmp_path / "taken"
    store.restore(snapshot.digest, left)
    return left


# -- what works ---------------------------------------------------------------------------------------------


def bare(tmp_path: Path) -> Path:
    repository(tmp_path / "main")
    git(tmp_path, "clone", "-q", "--bare", "main", "bare.git")
    return worktree(tmp_path / "bare.git", tmp_path / "tree")


def of_submodule(tmp_path: Path) -> Path:
    repository(tmp_path / "lib")
    outer = repository(tmp_path / "outer")
    git(outer, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(tmp_path / "lib"), "lib")
    return worktree(outer / "lib", tmp_path / "tree")


def with_own_settings(tmp_path: Path) -> Path:
    main = repository(tmp_path / "main")
    git(main, "config", "extensions.worktreeConfig", "true")
    tree = worktree(main, tmp_path / "tree")
    git(tree, "config", "--worktree", "core.autocrlf", "input")
    return tree


def packed(tmp_path: Path) -> Path:
    main = repository(tmp_path / "main")
    tree = worktree(main, tmp_path / "tree")
    git(main, "gc", "-q")
    git(main, "pack-refs", "--all")
    return tree


def detached(tmp_path: Path) -> Path:
    main = repository(tmp_path / "main")
    git(main, "worktree", "add", "-q", "--detach", str(tmp_path / "tree"))
    return tmp_path / "tree"


def sha256(tmp_path: Path) -> Path:
    return worktree(repository(tmp_path / "main", "--object-format=sha256"), tmp_path / "tree")


def shallow(tmp_path: Path) -> Path:
    main = repository(tmp_path / "main")
    git(main, "commit", "-q", "--allow-empty", "-m", "two")
    git(tmp_path, "clone", "-q", "--depth=1", main.as_uri(), "short")
    return worktree(tmp_path / "short", tmp_path / "tree")


def staged(tmp_path: Path) -> Path:
    tree = linked(tmp_path)
    (tree / "b.txt").write_text("b\n")
    git(tree, "add", "b.txt")
    git(tree, "update-index", "--split-index")
    return tree


WORKING = [linked, bare, of_submodule, with_own_settings, packed, detached, sha256, shallow, staged]


@pytest.mark.parametrize("layout", WORKING, ids=lambda layout: layout.__name__)
def test_a_linked_working_tree_comes_along_as_a_plain_repository(
    layout: Callable[[Path], Path], tmp_path: Path
) -> None:
    tree = layout(tmp_path)
    check(tree)
    asked = (
        ["rev-parse", "HEAD", "HEAD^{tree}"],
        ["symbolic-ref", "-q", "HEAD"] if layout is not detached else ["rev-parse", "HEAD"],
        ["status", "--porcelain", "--branch"],
        ["ls-files", "-s"],
        ["for-each-ref"],
        ["log", "--format=%H"],
    )
    wanted = [git(tree, *arguments) for arguments in asked]
    left = taken(tree, tmp_path)
    shutil.move(tmp_path / "main", tmp_path / "moved") if (tmp_path / "main").exists() else None
    assert (left / ".git").is_dir()
    assert git(left, "rev-parse", "--git-common-dir", "--is-bare-repository") == ".git\nfalse\n"
    assert [git(left, *arguments) for arguments in asked] == wanted
    git(left, "fsck", "--strict")
    names = {path.name for path in left.rglob("*") if path.is_file()}
    assert not names & {"gitdir", "commondir"}
    config = (left / ".git" / "config").read_text()
    assert "worktree =" not in config.replace("worktreeConfig", "")


def test_a_capture_has_the_same_digest_again_and_from_another_place(tmp_path: Path) -> None:
    one = linked(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two", symlinks=True)
    git(tmp_path / "two" / "main", "worktree", "repair", str(tmp_path / "two" / "tree"))
    digests = {captured(tree, tmp_path)[0].digest for tree in (one, one, tmp_path / "two" / "tree")}
    assert len(digests) == 1


def test_the_snapshot_says_what_was_put_together(tmp_path: Path) -> None:
    snapshot, _ = captured(linked(tmp_path), tmp_path)
    assert any("linked working tree" in note.text and note.path == b".git" for note in snapshot.notes)


def test_what_is_excluded_stays_out_of_the_repository_too(tmp_path: Path) -> None:
    tree = linked(tmp_path)
    for pattern in (".git", "ORIG_HEAD", ".git/logs"):
        snapshot, store = captured(tree, tmp_path, (pattern,))
        paths = {entry.path for entry in store.entries(snapshot.digest)}
        gone = ("/" + pattern).encode()
        assert not any(b"/" + path == gone or (b"/" + path).startswith(gone + b"/") for path in paths)
        check(tree, exclude=(pattern,))
    with_all = {entry.path for entry in store.entries(captured(tree, tmp_path)[0].digest)}
    assert b".git/logs/HEAD" in with_all
    assert b".git/logs/HEAD" not in paths


@pytest.mark.parametrize(
    "text",
    [
        '[core]\n\tbare = true\n[remote "a\\"b\\\\c"]\n\turl = "x;y # z \\t\\n\\\\"\n\tfetch\n',
        "[core]\nworktree = ../x\nautocrlf=input\n[a.b]\nc=1\n[core] bare\n",
    ],
)
def test_settings_are_the_same_but_for_those_of_the_main_working_tree(tmp_path: Path, text: str) -> None:
    def listed(content: bytes) -> list[str]:
        (tmp_path / "config").write_bytes(content)
        return git(tmp_path, "config", "-z", "-f", "config", "--list").split("\0")

    main = ("core.bare", "core.worktree")
    plain = plain_config(text.encode())
    assert plain is not None
    assert listed(plain) == [item for item in listed(text.encode()) if not item.startswith(main)]


# -- what is refused before anything runs -------------------------------------------------------------------


def separate(tmp_path: Path) -> Path:
    return repository(tmp_path / "w", "--separate-git-dir", str(tmp_path / "elsewhere"))


def submodule(tmp_path: Path) -> Path:
    of_submodule(tmp_path)
    return tmp_path / "outer" / "lib"


def bare_itself(tmp_path: Path) -> Path:
    bare(tmp_path)
    return tmp_path / "bare.git"


def borrowing(tmp_path: Path) -> Path:
    repository(tmp_path / "main")
    git(tmp_path, "clone", "-q", "--shared", "main", "w")
    return tmp_path / "w"


def borrowing_tree(tmp_path: Path) -> Path:
    return worktree(borrowing(tmp_path), tmp_path / "tree")


def elsewhere(tmp_path: Path) -> Path:
    work = repository(tmp_path / "w")
    git(work, "config", "core.worktree", str(tmp_path))
    return work


def including(tmp_path: Path) -> Path:
    work = repository(tmp_path / "w")
    git(work, "config", "include.path", "/etc/gitconfig")
    return work


def extended(tmp_path: Path) -> Path:
    work = repository(tmp_path / "w")
    git(work, "config", "extensions.frobnicate", "1")
    return work


def commondir(tmp_path: Path) -> Path:
    work = repository(tmp_path / "w")
    (work / ".git" / "commondir").write_text("../../main/.git\n")
    return work


def merging(tmp_path: Path) -> Path:
    work = repository(tmp_path / "w")
    (work / ".git" / "MERGE_HEAD").write_text(git(work, "rev-parse", "HEAD"))
    return work


def symbolic(tmp_path: Path) -> Path:
    work = repository(tmp_path / "w")
    (work / ".git").rename(tmp_path / "g")
    (work / ".git").symlink_to("../g")
    return work


def shared_by_links(tmp_path: Path) -> Path:
    work = repository(tmp_path / "w")
    (work / ".git" / "objects").rename(tmp_path / "objects")
    (work / ".git" / "objects").symlink_to("../../objects")
    return work


def table(tmp_path: Path) -> Path:
    work = repository(tmp_path / "w")
    (work / ".git" / "HEAD").write_text("ref: refs/heads/.invalid\n")
    return work


REFUSED = {
    separate: "lies elsewhere",
    submodule: "submodule",
    bare_itself: "bare repository",
    borrowing: "borrows objects",
    borrowing_tree: "borrows objects",
    elsewhere: "core.worktree",
    including: "include.path",
    extended: "extensions.frobnicate",
    commondir: "linked working tree",
    merging: "a merge is unfinished",
    symbolic: "symbolic link",
    shared_by_links: "symbolic link",
    table: "reftable",
}


@pytest.mark.parametrize("layout", REFUSED, ids=lambda layout: layout.__name__)
def test_what_cannot_work_is_refused_before_anything_runs(
    layout: Callable[[Path], Path], tmp_path: Path
) -> None:
    work = layout(tmp_path)
    runner = Runner(policy=Policy.load("default"), home=Home(tmp_path / "home"), sign=False)
    with pytest.raises(WorkspaceError, match=REFUSED[layout]) as refused:
        runner.run(compile_worklog(COMMIT), workspace=work)
    assert refused.value.exit_code == 2
    assert refused.value.hint
    assert not list((tmp_path / "home").rglob("run.json"))
    read = [COMMIT[0], {"op": "FILE_READ", "path": "a.txt"}, COMMIT[-1]]
    record = runner.run(compile_worklog(read), workspace=work, dry_run=True)
    assert record.result is not None
    assert record.result.status == "dry-run"


def test_what_borrows_objects_works_after_what_the_hint_says(tmp_path: Path) -> None:
    work = borrowing(tmp_path)
    with pytest.raises(WorkspaceError) as refused:
        check(work)
    command = (refused.value.hint or "").partition(": ")[2]
    subprocess.run(["sh", "-ec", command], cwd=work, check=True, timeout=60)
    check(work)
    git(work, "fsck", "--strict")


def test_a_linked_working_tree_is_not_worked_in_itself(tmp_path: Path) -> None:
    tree = linked(tmp_path)
    with pytest.raises(WorkspaceError, match="does not see"):
        check(tree, bind=True)


def test_pushing_needs_no_settings_of_commits(tmp_path: Path) -> None:
    check(including(tmp_path), commits=False, pushes=True)


def test_what_cannot_be_pushed_is_seen_before(tmp_path: Path) -> None:
    tree = detached(tmp_path)
    check(tree)
    with pytest.raises(WorkspaceError, match="no branch"):
        check(tree, pushes=True)
    main = tmp_path / "main"
    git(main, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "-q", "--filter=blob:none", main.as_uri(), "part")
    check(tmp_path / "part")
    with pytest.raises(WorkspaceError, match="partial clone"):
        check(tmp_path / "part", pushes=True)


# -- whom nobody asked --------------------------------------------------------------------------------------


def secret(tmp_path: Path) -> Path:
    """The user's own repository with a working tree, which a stranger's directory would like to have."""
    main = repository(tmp_path / "secret", text=SECRET)
    return worktree(main, tmp_path / "mine")


def stranger(tmp_path: Path, text: str) -> Path:
    work = tmp_path / "stranger"
    work.mkdir()
    (work / ".git").write_text(text)
    return work


def names_repository(tmp_path: Path) -> Path:
    secret(tmp_path)
    return stranger(tmp_path, f"gitdir: {tmp_path}/secret/.git\n")


def names_worktree(tmp_path: Path) -> Path:
    secret(tmp_path)
    return stranger(tmp_path, f"gitdir: {tmp_path}/secret/.git/worktrees/mine\n")


def names_relative(tmp_path: Path) -> Path:
    secret(tmp_path)
    return stranger(tmp_path, "gitdir: ../secret/.git/worktrees/mine\n")


def own_with_foreign_common(tmp_path: Path) -> Path:
    secret(tmp_path)
    work = stranger(tmp_path, "gitdir: x/worktrees/y\n")
    own = work / "x" / "worktrees" / "y"
    shutil.copytree(tmp_path / "secret" / ".git" / "worktrees" / "mine", own)
    (own / "gitdir").write_text(f"{work}/.git\n")
    (own / "commondir").write_text(f"{tmp_path}/secret/.git\n")
    return work


def own_behind_link(tmp_path: Path) -> Path:
    work = own_with_foreign_common(tmp_path)
    shutil.move(work / "x" / "worktrees", work / "kept")
    (work / "x").rmdir()
    (work / "x").symlink_to("../secret/.git")
    return work


def own_with_linked_objects(tmp_path: Path) -> Path:
    work = own_with_foreign_common(tmp_path)
    (work / "x" / "worktrees" / "y" / "commondir").write_text("../..\n")
    for name in ("objects", "refs", "packed-refs", "config"):
        (work / "x" / name).symlink_to(tmp_path / "secret" / ".git" / name)
    return work


def hard_link(tmp_path: Path) -> Path:
    mine = secret(tmp_path)
    work = tmp_path / "stranger"
    work.mkdir()
    os.link(mine / ".git", work / ".git")
    return work


def pipe(tmp_path: Path) -> Path:
    secret(tmp_path)
    work = stranger(tmp_path, "")
    (work / ".git").unlink()
    os.mkfifo(work / ".git")
    return work


def pipe_as_pointer(tmp_path: Path) -> Path:
    work = own_with_foreign_common(tmp_path)
    (work / "x" / "worktrees" / "y" / "commondir").unlink()
    os.mkfifo(work / "x" / "worktrees" / "y" / "commondir")
    return work


def listening(tmp_path: Path) -> Path:
    secret(tmp_path)
    work = stranger(tmp_path, "")
    (work / ".git").unlink()
    there = Path.cwd()
    os.chdir(work)  # such a name may not be long
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(".git")
    finally:
        os.chdir(there)
    return work


def huge(tmp_path: Path) -> Path:
    secret(tmp_path)
    work = stranger(tmp_path, f"gitdir: {tmp_path}/secret/.git/worktrees/mine\n")
    os.truncate(work / ".git", 1 << 36)
    return work


def empty(tmp_path: Path) -> Path:
    secret(tmp_path)
    return stranger(tmp_path, "")


HOSTILE = [
    names_repository, names_worktree, names_relative, own_with_foreign_common, own_behind_link,
    own_with_linked_objects, hard_link, pipe, pipe_as_pointer, listening, huge, empty,
]  # fmt: skip


@pytest.mark.parametrize("layout", HOSTILE, ids=lambda layout: layout.__name__)
def test_nothing_of_another_repository_comes_along(layout: Callable[[Path], Path], tmp_path: Path) -> None:
    work = layout(tmp_path)
    consent = layout in {names_worktree, names_relative, hard_link}
    with pytest.raises(WorkspaceError, match="knows another working tree" if consent else "git cannot work"):
        check(work)
    if layout is huge:
        os.truncate(work / ".git", 1 << 20)  # the rest is the limit of a file, which is another's test
    snapshot, store = captured(work, tmp_path)
    hidden = {
        path.read_bytes() for path in (tmp_path / "secret" / ".git" / "objects").rglob("*") if path.is_file()
    }
    left = tmp_path / "left"
    store.restore(snapshot.digest, left)
    assert hidden
    for path in left.rglob("*"):
        assert path.is_symlink() or not path.is_file() or path.read_bytes() not in hidden


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("whose", ["tree", "main/.git", "main/.git/worktrees/tree", "tree/.git"])
def test_a_repository_of_another_owner_does_not_come_along(tmp_path: Path, whose: str) -> None:
    tree = linked(tmp_path)
    check(tree)
    os.chown(tmp_path / whose, 12345, 12345)
    with pytest.raises(WorkspaceError, match="another owner"):
        check(tree)
    assert captured(tree, tmp_path)[0].notes == ()


def test_no_link_is_followed_on_the_way_to_a_repository(tmp_path: Path) -> None:
    tree = linked(tmp_path)
    (tmp_path / "way").symlink_to("main")
    (tree / ".git").write_text(f"gitdir: {tmp_path}/way/.git/worktrees/tree\n")
    assert git(tree, "status", "--porcelain") == ""
    with pytest.raises(WorkspaceError, match="cannot be opened"):
        check(tree)


def test_a_moved_working_tree_is_told_how_to_be_repaired(tmp_path: Path) -> None:
    moved = linked(tmp_path).rename(tmp_path / "moved")
    with pytest.raises(WorkspaceError) as refused:
        check(moved)
    assert "git worktree repair" in (refused.value.hint or "")
    git(moved, "worktree", "repair")
    check(moved)


# -- and back -----------------------------------------------------------------------------------------------


def test_a_repository_is_not_brought_into_a_linked_working_tree(tmp_path: Path) -> None:
    tree = linked(tmp_path)
    base, store = captured(tree, tmp_path)
    after = tmp_path / "after"
    store.restore(base.digest, after)
    (after / "new.txt").write_text("new\n")
    git(after, "add", "-A")
    git(after, "commit", "-qm", "two")
    source, _ = source_of(Wishes(workspace=after), after)
    final = store.capture(source)
    before = git(tree, "rev-parse", "HEAD"), (tree / ".git").read_bytes()
    with pytest.raises(SnapshotError, match=r"\.git in .* is a file"):
        store.apply(base.digest, final.digest, tree, git=True)
    assert not (tree / "new.txt").exists()
    store.apply(base.digest, final.digest, tree)
    assert (tree / "new.txt").read_text() == "new\n"
    assert (git(tree, "rev-parse", "HEAD"), (tree / ".git").read_bytes()) == before

"""Histories to replay: a workspace at its base, and for each commit its entries and git's own tree.

``of_tree`` makes one up for a tree that has none. ``of_commit`` takes a real commit out of a repository that
it only reads: objects are packed to a stream there and unpacked in a repository of our own.
"""

from __future__ import annotations

import itertools
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox_runner.trail import TrailOpcodes
from sandbox_runner.world import Call
from tests.field.git import git, text
from tests.field.madeup import earlier_states
from tests.field.policies import wide
from tests.field.steps import steps_for

__all__ = ["Commit", "History", "every_file", "of_commit", "of_head", "of_tree", "recent_commits"]

_REGULAR = ("100644", "100755")
_OWN = (".gitignore", ".gitattributes", ".gitmodules")  # changed, they would change what git sees of the rest


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit to make: its entries, and the tree that git made of the same."""

    title: str
    entries: list[dict[str, Any]]
    tree: str


@dataclass(frozen=True, slots=True)
class History:
    """What is replayed in one run.

    Attributes:
        name: for people.
        workspace: a directory at the base, with its repository.
        oracle: the directory that git's own work has led to.
        base: the commit that the workspace is at.
        commits: what to do, in order.
        left_out: what of it no step can do, each with the reason.
    """

    name: str
    workspace: Path
    oracle: Path
    base: str
    commits: list[Commit]
    left_out: list[str] = field(default_factory=list)


def of_tree(tree: Path, place: Path, *, name: str, commits: int) -> History:
    """A made-up history that ends in a tree."""
    oracle, workspace = place / "oracle", place / "workspace"
    shutil.copytree(tree, oracle, symlinks=True)
    git(oracle, "init", "-q", "-b", "main")
    git(oracle, "add", "-A")
    paths = [os.fsdecode(raw) for raw in git(oracle, "ls-files", "-z").split(b"\0")[:-1]]
    files = {path: (oracle / path).read_bytes() for path in paths if _may_change(oracle, path)}
    states = earlier_states(files, seed=name, commits=commits)
    for path in files.keys() - states[0].keys():
        (oracle / path).unlink()
    for path, data in states[0].items():
        (oracle / path).write_bytes(data)
    base = _commit(oracle, "base")
    shutil.copytree(oracle, workspace, symlinks=True)
    made = []
    for number, (before, after) in enumerate(itertools.pairwise(states), 1):
        entries = []
        for at, path in enumerate(sorted(after)):
            if after[path] != before.get(path):
                steps = steps_for(path, before.get(path), after[path], whole=at % 7 == 0)
                assert steps, path  # what may change is UTF-8
                entries += steps
                (oracle / path).parent.mkdir(parents=True, exist_ok=True)
                (oracle / path).write_bytes(after[path])
        _commit(oracle, f"state {number}")
        made.append(Commit(f"state {number} of {name}", entries, text(oracle, "rev-parse", "HEAD^{tree}")))
    return History(name, workspace, oracle, base, made)


def _commit(place: Path, message: str) -> str:
    git(place, "add", "-A")
    git(place, "commit", "-q", "--no-verify", "-m", message)
    return text(place, "rev-parse", "HEAD")


def _may_change(root: Path, path: str) -> bool:
    """Whether a step could have made it: a text file, not executable, at a path that is allowed."""
    found = (root / path).lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o111 or Path(path).name in _OWN or "\\" in path:
        return False
    try:
        path.encode()
        return "\0" not in (root / path).read_bytes().decode()
    except (UnicodeEncodeError, UnicodeDecodeError):
        return False


def recent_commits(repository: Path, most: int) -> list[str]:
    """The last commits of what is checked out that have exactly one parent, the latest first."""
    listed = text(repository, "rev-list", "--min-parents=1", "--max-parents=1", f"--max-count={most}", "HEAD")
    return listed.split()


def of_commit(repository: Path, commit: str, place: Path) -> History:
    """The history of one real commit: its parent as the base, and what steps can write of it."""
    oracle, workspace = place / "oracle", place / "workspace"
    parent, whole = (text(repository, "rev-parse", f"{commit}{end}^{{tree}}") for end in ("^", ""))
    base = _taken_out(repository, [parent, whole], oracle)
    shutil.copytree(oracle, workspace, symlinks=True)
    changes, left_out = _sorted_out(oracle, parent, whole)
    title = text(repository, "log", "-1", "--format=%s", commit) or commit
    entries, tree = _write(workspace, oracle, changes, left_out)
    made = [Commit(title, entries, tree)] if entries and tree != parent else []
    return History(f"{commit[:12]} {title}"[:100], workspace, oracle, base, made, left_out)


def of_head(repository: Path, place: Path) -> Path:
    """The tree of what is checked out in a repository, as a directory that is a repository of its own."""
    _taken_out(repository, [text(repository, "rev-parse", "HEAD^{tree}")], place)
    return place


def _taken_out(repository: Path, trees: Sequence[str], place: Path) -> str:
    """A repository with these trees alone, at a commit of the first, which is checked out; the commit."""
    place.mkdir(parents=True)
    kind = text(repository, "rev-parse", "--show-object-format")
    git(place, "init", "-q", "-b", "main", f"--object-format={kind}")
    objects = git(repository, "rev-list", "--objects", "--no-object-names", *trees)
    git(
        place, "index-pack", "--stdin", stdin=git(repository, "pack-objects", "--stdout", "-q", stdin=objects)
    )
    base = text(place, "commit-tree", "-m", "base", trees[0])
    git(place, "update-ref", "refs/heads/main", base)
    git(place, "read-tree", "-m", "-u", base)
    return base


@dataclass(frozen=True, slots=True)
class _Change:
    """A path whose content differs, and the mode that it has afterwards."""

    path: str
    mode: str
    blob: str


def _sorted_out(oracle: Path, parent: str, whole: str) -> tuple[list[_Change], list[str]]:
    """What steps may write of a commit, and what they cannot, with reasons."""
    fields = git(oracle, "diff-tree", "-r", "-z", "--no-renames", parent, whole).split(b"\0")[:-1]
    pairs = zip(fields[::2], fields[1::2], strict=True)
    rows = [(raw.decode().lstrip(":").split(), os.fsdecode(path)) for raw, path in pairs]
    gone = {path for (*_, kind), path in rows if kind == "D"}
    filtered = _filtered(oracle, [path for _, path in rows])
    ignored = _ignored(oracle, whole, [path for (*_, kind), path in rows if kind == "A"])
    changes, left_out = [], []
    for (old_mode, new_mode, old_blob, blob, kind), path in rows:
        if path in gone:
            why = "deleted"
        elif path in ignored:
            why = "new and ignored"
        elif path in filtered:
            why = "a filter applies"
        else:
            why = _unwritable(path, None if kind == "A" else old_mode, new_mode, gone)
        if why:
            left_out.append(f"{path!a}: {why}")
            continue
        if kind != "A" and old_mode != new_mode:
            left_out.append(f"{path!a}: its mode changed")
        if blob != old_blob:
            changes.append(_Change(path, new_mode if kind == "A" else old_mode, blob))
    return changes, left_out


def _unwritable(path: str, old_mode: str | None, new_mode: str, gone: set[str]) -> str | None:
    """Why no step can write a path of these modes, ``None`` where one can."""
    if new_mode not in _REGULAR or old_mode not in {None, *_REGULAR}:
        return "a link or another repository"
    if old_mode is None and new_mode == "100755":
        return "new and executable"
    if {str(above) for above in Path(path).parents} & gone or any(at.startswith(path + "/") for at in gone):
        return "takes the place of something deleted"
    try:
        path.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    judged = wide().decide(Call(TrailOpcodes.FILE_WRITE, "file_write", {"path": path, "content": ""}))
    return None if judged.allowed else f"no step may write it ({judged.rule})"


def _ignored(oracle: Path, whole: str, paths: list[str]) -> set[str]:
    """Which of the new files a plain ``git add`` would leave out, by the ignore files of the commit."""
    git(oracle, "read-tree", "--reset", "-u", whole)
    given = b"".join(os.fsencode(path) + b"\0" for path in paths)
    said = git(oracle, "check-ignore", "--no-index", "-z", "--stdin", stdin=given, may_fail=(1,))
    return {os.fsdecode(path) for path in said.split(b"\0")[:-1]}


def _filtered(oracle: Path, paths: list[str]) -> set[str]:
    asked = b"".join(os.fsencode(path) + b"\0" for path in paths)
    fields = git(oracle, "check-attr", "-z", "--stdin", "filter", stdin=asked).split(b"\0")[:-1]
    rows = zip(fields[::3], fields[2::3], strict=True)
    return {os.fsdecode(path) for path, value in rows if value not in {b"unspecified", b"unset"}}


def _write(
    workspace: Path, oracle: Path, changes: list[_Change], left_out: list[str]
) -> tuple[list[dict[str, Any]], str]:
    """Lead the oracle to the state that steps can reach; the steps, and its tree."""
    _to(oracle, changes)
    entries, reached = [], []
    for change in changes:
        before = (workspace / change.path).read_bytes() if (workspace / change.path).exists() else None
        steps = steps_for(change.path, before, (oracle / change.path).read_bytes())
        if steps is None:
            left_out.append(f"{change.path!a}: not UTF-8")
        else:
            entries += steps
            reached.append(change)
    if len(reached) < len(changes):
        _to(oracle, reached)
    return entries, text(oracle, "write-tree")


def _to(oracle: Path, changes: list[_Change]) -> None:
    """Check out the base with these changes."""
    index = oracle / ".git" / "index.wanted"
    git(oracle, "read-tree", "main", index=index)
    rows = "".join(f"{change.mode} {change.blob}\t{change.path}\0" for change in changes)
    git(oracle, "update-index", "-z", "--index-info", stdin=os.fsencode(rows), index=index)
    wanted = os.fsdecode(git(oracle, "write-tree", index=index)).strip()
    index.unlink()
    git(oracle, "read-tree", "--reset", "-u", wanted)


def every_file(root: Path) -> Iterator[Path]:
    """Every file and link below a directory, git's own left out."""
    for folder, folders, names in os.walk(root):
        if Path(folder) == root and ".git" in folders:
            folders.remove(".git")
        for name in names:
            yield Path(folder, name)
        yield from (Path(folder, name) for name in folders if Path(folder, name).is_symlink())

"""Bring what a run changed into a user's directory: all of it, or none where anything is in the way.

For each path that differs between the run's base and its final snapshot, the directory must still hold what
the base held (or already hold what the final holds). One path that holds something else is a conflict, and
then nothing is written. What git would take for a repository's own directory, under whatever name, is
*withheld* unless asked for: configuration, hooks and attributes from a stranger are commands on the next use
of git. What other tools run by themselves is *named*. See ``commands``. What one of the snapshots left out
is *unseen*: nobody compared it, and nothing at or below it is touched.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from sandbox_runner.errors import SnapshotError
from sandbox_runner.guest.git_index import is_index_path
from sandbox_runner.guest.tree_cursor import Cursor, split_path
from sandbox_runner.guest.tree_records import DIRECTORY, FILE, LINK
from sandbox_runner.guest.tree_walk import chunks, normal_index
from sandbox_runner.snapshot.diff import Change, TreeDiff
from sandbox_runner.snapshot.directory import open_directory
from sandbox_runner.snapshot.manifest import Entry, mode_of
from sandbox_runner.snapshot.objects import ObjectReader
from sandbox_runner.snapshot.restoring import replace_entry, writing
from sandbox_runner.snapshot.self_running import SIGNS, GitDirectories, runs_by_itself
from sandbox_runner.snapshot.text import show_path

__all__ = ["ApplyConflictError", "ApplyReport", "apply"]

_SHOWN = 5
_State = tuple[int, int, bytes]  # kind, mode and digest of what is there
_ABSENT: _State = (0, 0, b"")
_SOMETHING: _State = (-1, 0, b"")  # no file, link or directory; or no place for one


class ApplyConflictError(SnapshotError):
    """The directory differs from the run's base where the run changed it; ``conflicts`` are the paths."""

    def __init__(self, target: Path, conflicts: tuple[bytes, ...]) -> None:
        some = ", ".join(show_path(path) for path in conflicts[:_SHOWN])
        more = f" and {len(conflicts) - _SHOWN} more" if len(conflicts) > _SHOWN else ""
        super().__init__(
            f"{target} was changed where the run changed it: {some}{more}; nothing was written.",
            hint="Restore the snapshot into a new directory and merge by hand.",
        )
        self.conflicts = conflicts


@dataclass(frozen=True, slots=True)
class ApplyReport:
    """What was done, or with ``dry_run`` would be done; paths in walk order.

    ``already`` held the final state before. ``withheld`` are changes in git's own directories, and
    ``git_directories`` those. ``kept`` are directories that the run removed and that hold files of the user's
    own. ``named`` are those of ``written`` that somebody runs without being asked, and who. ``unseen`` are
    what the final snapshot or the base has where the other one left out what is there.
    """

    written: tuple[bytes, ...]
    removed: tuple[bytes, ...]
    already: tuple[bytes, ...]
    withheld: tuple[bytes, ...]
    kept: tuple[bytes, ...]
    dry_run: bool
    git_directories: tuple[bytes, ...] = ()
    named: tuple[tuple[bytes, str], ...] = ()
    unseen: tuple[bytes, ...] = ()


def apply(reader: ObjectReader, diff: TreeDiff, target: Path, *, git: bool, dry_run: bool) -> ApplyReport:
    """Apply a diff between two trees of the store to a directory; see the module.

    Raises:
        ApplyConflictError: nothing was written.
        SnapshotError: a repository's changes are to go where its ``.git`` is a file; nothing was written.
        WorkspaceError: the directory cannot be read or written.
    """
    with open_directory(target) as root, writing(target):
        cursor = Cursor(root)
        try:
            if git:
                _must_take_repositories(cursor, target, diff.changes)
            withheld, changes = _sorted_out(cursor, diff.changes, git=git)
            kept = _crowded(cursor, changes)
            states = _states(cursor, changes)
            conflicts = tuple(c.path for c in changes if _is_conflict(c, states[c.path], c.path in kept))
            if conflicts:
                raise ApplyConflictError(target, conflicts)
            doing = [c for c in changes if states[c.path] != _wanted(c.new) and c.path not in kept]
            if not dry_run:
                _perform(reader, cursor, doing)
        finally:
            cursor.close()
    return ApplyReport(
        written=tuple(change.path for change in doing if change.new),
        removed=tuple(change.path for change in doing if not change.new),
        already=tuple(c.path for c in changes if states[c.path] == _wanted(c.new)),
        withheld=tuple(path for path, _ in withheld),
        kept=tuple(change.path for change in changes if change.path in kept),
        dry_run=dry_run,
        git_directories=tuple(dict.fromkeys(owner for _, owner in withheld)),
        named=tuple((c.path, tool) for c in doing if c.new and (tool := runs_by_itself(c.path))),
        unseen=tuple(change.path for change in diff.unseen),
    )


def _sorted_out(
    cursor: Cursor, changes: tuple[Change, ...], *, git: bool
) -> tuple[list[tuple[bytes, bytes]], list[Change]]:
    """What is withheld, by path and with the directory of git's that it lies in; and all other changes.

    A directory is judged by what it will hold at most: what is there now, and all that comes.
    """
    if git:
        return [], list(changes)

    def there(directory: bytes) -> list[bytes]:
        try:
            parent = _enter(cursor, directory)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [name for name in SIGNS if _exists(parent, name)]

    found = GitDirectories((change.path for change in changes if change.new), there)
    withheld: list[tuple[bytes, bytes]] = []
    others: list[Change] = []
    for change in changes:
        is_directory = any(side and side.kind == DIRECTORY for side in (change.old, change.new))
        owner = found.owner(change.path, directory=is_directory)
        if owner is None:
            others.append(change)
        else:
            withheld.append((change.path, owner))
    return withheld, others


def _must_take_repositories(cursor: Cursor, target: Path, changes: tuple[Change, ...]) -> None:
    """See that a repository's changes do not go to a linked working tree, whose repository is elsewhere."""
    places = {path[: path.rindex(b"/.git/") + 1] for c in changes if b"/.git/" in (path := b"/" + c.path)}
    for place in sorted(places):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            parent = _enter(cursor, place.strip(b"/"))
            if stat.S_ISREG(os.stat(b".git", dir_fd=parent, follow_symlinks=False).st_mode):
                where = show_path(place.strip(b"/") + b"/.git" if place != b"/" else b".git")
                raise SnapshotError(
                    f"{where} in {target} is a file and names a repository elsewhere; nothing was written.",
                    hint="Apply without --git and commit there, or restore the snapshot into a new directory "
                    "and git fetch from that.",
                )


def _exists(parent: int, name: bytes) -> bool:
    """Whether a directory holds a name, as its own file system compares names."""
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _is_conflict(change: Change, state: _State, crowded: bool) -> bool:
    if crowded and change.new is not None:  # a directory to be replaced holds files of the user's own
        return True
    return state not in {_wanted(change.old), _wanted(change.new)}


def _crowded(cursor: Cursor, changes: list[Change]) -> set[bytes]:
    """Directories that are to go and hold what the run did not remove."""
    going = {change.path for change in changes if _goes(change)}
    crowded: set[bytes] = set()
    for change in reversed(changes):
        if change.path in going and change.old and change.old.kind == DIRECTORY:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                below = [change.path + b"/" + os.fsencode(n) for n in os.listdir(_enter(cursor, change.path))]
                if any(path not in going or path in crowded for path in below):
                    crowded.add(change.path)
    return crowded


def _goes(change: Change) -> bool:
    """Whether something must be removed before what is new can come."""
    if change.old is None:
        return False
    return change.new is None or (
        change.old.kind != change.new.kind and DIRECTORY in {change.old.kind, change.new.kind}
    )


def _enter(cursor: Cursor, path: bytes) -> int:
    try:
        return cursor.move(split_path(path) if path else [])
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link is no directory
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from error
        raise


def _wanted(entry: Entry | None) -> _State:
    if entry is None:
        return _ABSENT
    return entry.kind, entry.mode, b"" if entry.kind == DIRECTORY else entry.digest


def _perform(reader: ObjectReader, cursor: Cursor, changes: list[Change]) -> None:
    """Removals first, children before parents; then what is new, parents before children."""
    for change in reversed(changes):
        if change.old and _goes(change):
            parts = split_path(change.path)
            parent = cursor.move(parts[:-1])
            remove = os.rmdir if change.old.kind == DIRECTORY else os.unlink
            remove(parts[-1], dir_fd=parent)
    for change in changes:
        if change.new is not None:
            replace_entry(reader, cursor, change.new)


def _states(cursor: Cursor, changes: list[Change]) -> dict[bytes, _State]:
    """What is at each path, in the terms of a manifest."""
    states: dict[bytes, _State] = {}
    coming: set[bytes] = set()  # directories that the run made
    for change in changes:
        parent = change.path.rpartition(b"/")[0]
        if change.new and change.new.kind == DIRECTORY:
            coming.add(change.path)
        try:
            _enter(cursor, parent)
        except (FileNotFoundError, NotADirectoryError):
            gone = parent in coming or change.new is None
            states[change.path] = _ABSENT if gone else _SOMETHING
        else:
            states[change.path] = _state(cursor, split_path(change.path))
    return states


def _state(cursor: Cursor, parts: list[bytes]) -> _State:
    try:
        found = os.stat(parts[-1], dir_fd=cursor.fd, follow_symlinks=False)
    except FileNotFoundError:
        return _ABSENT
    if stat.S_ISDIR(found.st_mode):
        return DIRECTORY, mode_of(DIRECTORY, 0), b""
    if stat.S_ISLNK(found.st_mode):
        target = os.readlink(parts[-1], dir_fd=cursor.fd)
        return LINK, mode_of(LINK, 0), hashlib.sha256(target).digest()
    return _file_state(cursor, parts) if stat.S_ISREG(found.st_mode) else _SOMETHING


def _file_state(cursor: Cursor, parts: list[bytes]) -> _State:
    fd = cursor.open_file(parts[-1])
    try:
        found = os.fstat(fd)
        normal = normal_index(cursor, fd, found.st_size)[0] if is_index_path(parts) else None
        if normal is None:
            os.lseek(fd, 0, os.SEEK_SET)
            hasher = hashlib.sha256()
            for chunk in chunks(fd, found.st_size):
                hasher.update(chunk)
            digest = hasher.digest()
        else:
            digest = hashlib.sha256(normal).digest()
    finally:
        os.close(fd)
    return FILE, mode_of(FILE, found.st_mode >> 6 & 1), digest

"""What differs between two trees of a store. Equal subtrees are skipped by their digests, unread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox_runner.guest.tree_records import DIRECTORY
from sandbox_runner.snapshot.facts import Snapshot
from sandbox_runner.snapshot.left_out import Unseen
from sandbox_runner.snapshot.manifest import Entry
from sandbox_runner.snapshot.objects import ObjectReader
from sandbox_runner.snapshot.text import json_path

__all__ = ["Change", "TreeDiff", "diff_trees"]


@dataclass(frozen=True, slots=True)
class Change:
    """A path that differs. ``old`` is None where it was added, ``new`` where it was removed."""

    path: bytes
    old: Entry | None
    new: Entry | None

    def as_json(self) -> dict[str, Any]:
        """For scripts: the path, and digest, mode, size and type of each side."""
        return {**json_path(self.path), "old": _side(self.old), "new": _side(self.new)}


@dataclass(frozen=True, slots=True)
class TreeDiff:
    """Changes by what they are, each in walk order. A directory is listed only where it came or went.

    ``unseen`` are no changes: one of the snapshots left out what is at or above these paths, so nobody can
    tell whether anything came, went, or differs there.
    """

    added: tuple[Change, ...]
    removed: tuple[Change, ...]
    changed: tuple[Change, ...]
    unseen: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    @property
    def changes(self) -> tuple[Change, ...]:
        """All changes in walk order."""
        return tuple(
            sorted((*self.added, *self.removed, *self.changed), key=lambda change: change.path.split(b"/"))
        )

    @property
    def byte_change(self) -> int:
        """By how many bytes the contents of all files and links grew."""
        return sum(_bytes(change.new) - _bytes(change.old) for change in self.changes)

    def as_json(self) -> dict[str, Any]:
        """For scripts: the four lists."""
        return {
            "added": [change.as_json() for change in self.added],
            "removed": [change.as_json() for change in self.removed],
            "changed": [change.as_json() for change in self.changed],
            "unseen": [change.as_json() for change in self.unseen],
        }


def diff_trees(reader: ObjectReader, old: Snapshot, new: Snapshot) -> TreeDiff:
    """Compare two snapshots.

    Raises:
        StoreError: a directory object is missing or damaged.
    """
    hidden = Unseen(old, new)
    changes: list[Change] = []
    unseen: list[Change] = []
    for change in _differing(reader, bytes.fromhex(old.root), bytes.fromhex(new.root)):
        is_unseen = hidden and hidden.holds(change.path, removed=change.new is None)
        (unseen if is_unseen else changes).append(change)
    return TreeDiff(
        added=tuple(change for change in changes if change.old is None),
        removed=tuple(change for change in changes if change.new is None),
        changed=tuple(change for change in changes if change.old and change.new),
        unseen=tuple(unseen),
    )


def _differing(reader: ObjectReader, old: bytes, new: bytes) -> Iterator[Change]:
    pending = [_pairs(reader, old, new, b"")]
    while pending:
        pair = next(pending[-1], None)
        if pair is None:
            pending.pop()
            continue
        before, after = pair
        there = after or before
        if there is None or before == after:
            continue
        if not (before and after and before.kind == after.kind == DIRECTORY):
            yield Change(there.path, before, after)
        below_old = before.digest if before and before.kind == DIRECTORY else None
        below_new = after.digest if after and after.kind == DIRECTORY else None
        if below_old or below_new:
            pending.append(_pairs(reader, below_old, below_new, there.path))


def _pairs(
    reader: ObjectReader, old: bytes | None, new: bytes | None, parent: bytes
) -> Iterator[tuple[Entry | None, Entry | None]]:
    """The children of two directories, paired by name, in order; None where one side has no such name."""
    left: Sequence[Entry] = reader.children(old, parent) if old else ()
    right: Sequence[Entry] = reader.children(new, parent) if new else ()
    before = {entry.path: entry for entry in left}
    after = {entry.path: entry for entry in right}
    return iter([(before.get(path), after.get(path)) for path in sorted(before.keys() | after.keys())])


def _side(entry: Entry | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    return {
        "digest": entry.digest.hex(),
        "mode": f"{entry.mode:04o}",
        "size": entry.size,
        "type": entry.type,
    }


def _bytes(entry: Entry | None) -> int:
    return 0 if entry is None or entry.kind == DIRECTORY else entry.size

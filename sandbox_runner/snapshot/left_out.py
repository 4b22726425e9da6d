"""What a snapshot leaves out: in groups, for whoever is told; as places, for whoever compares two trees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sandbox_runner.guest.tree_records import NOTES, REASONS, UNNAMED
from sandbox_runner.guest.tree_walk import (
    MAX_OMISSIONS,
    MAX_REQUESTED,
    OMISSION_BYTES,
    REQUESTED_BYTES,
    Limits,
)
from sandbox_runner.snapshot.facts import Snapshot
from sandbox_runner.snapshot.manifest import Omission

__all__ = ["LeftOut", "Unseen", "groups_of", "uncounted"]

_REST = 11  # the reason that stands for what follows in the same directory, too
_ANY = 7  # the note that counts what could not be captured and has no record
_FIRST = 3
_LONGEST = Limits().max_path_bytes + 256  # bytes


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What was left out for one reason: the reason in words, how much it was, and the first paths."""

    reason: str
    count: int
    first: tuple[bytes, ...]


def groups_of(snapshot: Snapshot) -> tuple[LeftOut, ...]:
    """What a snapshot leaves out, by reason: what was not asked for comes last."""
    paths: dict[int, list[bytes]] = {}
    for omission in snapshot.omissions:
        paths.setdefault(omission.reason, []).append(omission.path)
    counts = {reason: len(found) for reason, found in paths.items()}
    others = []
    for note in snapshot.notes:
        if reason := UNNAMED.get(note.code):
            counts[reason] = counts.get(reason, 0) + note.count
        elif note.code in UNNAMED:
            others.append(LeftOut(note.text, note.count, (note.path,)))
    named = [
        LeftOut(
            REASONS.get(reason, f"for reason {reason}, which is unknown here"),
            counts[reason],
            tuple(paths.get(reason, ())[:_FIRST]),
        )
        for reason in sorted(counts)
    ]
    return (*named, *others)


def uncounted(snapshot: Snapshot) -> frozenset[str]:
    """The reasons, in words, for which more may have been left out than the snapshot's digest covers.

    A capture names so many paths; what it leaves out beyond them it counts, in a note. Another capture of the
    same tree, of which the store keeps no notes, may have counted more or less.
    """
    requested = [item for item in snapshot.omissions if item.reason in UNNAMED.values()]
    others = [item for item in snapshot.omissions if item.reason not in UNNAMED.values()]
    found: set[str] = set()
    if _full(requested, MAX_REQUESTED, REQUESTED_BYTES):
        found |= {REASONS[reason] for reason in UNNAMED.values() if reason}
    if _full(others, MAX_OMISSIONS, OMISSION_BYTES):
        found |= {NOTES[code] for code, reason in UNNAMED.items() if not reason}
    return frozenset(found)


def _full(omissions: Sequence[Omission], most: int, room: int) -> bool:
    """Whether the next path that was left out had no record; one is as long as a path may be, and a name."""
    return len(omissions) >= most or sum(len(item.path) for item in omissions) + _LONGEST > room


class Unseen:
    """The places of which one of two snapshots says nothing, since it left out what is there.

    What lies there on the other side neither came nor went as far as anybody can tell.
    """

    def __init__(self, old: Snapshot, new: Snapshot) -> None:
        omissions = (*old.omissions, *new.omissions)
        self._paths = {omission.path for omission in omissions}
        self._rest: dict[bytes, bytes] = {}  # the first name left out with all that follow, by directory
        for omission in omissions:
            if omission.reason == _REST:
                parent, _, name = omission.path.rpartition(b"/")
                self._rest[parent] = min(name, self._rest.get(parent, name))
        # Records come in walk order, so what has none follows the first path that has none.
        self._unnamed = min((note.path.split(b"/") for note in new.notes if note.code == _ANY), default=None)

    def __bool__(self) -> bool:
        return bool(self._paths)

    def holds(self, path: bytes, *, removed: bool) -> bool:
        """Whether a path is, or is below, what was left out; one that was ``removed`` may be so unnamed."""
        if removed and self._unnamed is not None and path.split(b"/") >= self._unnamed:
            return True
        while path:
            parent, _, name = path.rpartition(b"/")
            if path in self._paths or (parent in self._rest and name >= self._rest[parent]):
                return True
            path = parent
        return False

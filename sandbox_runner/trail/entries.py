"""Which keys a worklog entry may have, for each operation, and what their values become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sandbox_runner.trail.operations import OPERATIONS, TrailOpcodes

__all__ = ["ANNOTATIONS", "SCHEMAS", "Key", "Want"]

ANNOTATIONS = frozenset({"op", "desc", "note", "ts", "timestamp"})
"""Keys that any entry may have; beside ``op`` (and the begin step's time) they say something to people
only."""


class Want(StrEnum):
    """What a value must be."""

    NAME = "name"
    """Text without NUL: a path, a pattern, a person, a thing."""
    TEXT = "text"
    """Any text."""
    SPOKEN = "spoken"
    """A name; numbers, booleans and null are accepted and written as Python's ``str`` does."""
    NUMBER = "number"
    """A whole number; fractions are cut, numeric text and booleans are converted."""
    INTEGER = "integer"
    """A whole number and nothing else."""


@dataclass(frozen=True, slots=True)
class Key:
    """One argument of an entry.

    Attributes:
        names: the key, then its aliases; the first that is present counts. operand: the argument's name in
        the operation table. want: what its value must be. low, high: the range of a number. default: value
        where no name is present; ``None`` means that one must be. refused: names of content hashes. The
        reference took the hash itself for content; they are ignored beside
            the content and an error in its place.
    """

    names: tuple[str, ...]
    operand: str
    want: Want
    low: int = 0
    high: int = 0xFFFF
    default: str | int | None = None
    refused: tuple[str, ...] = ()


def _text(*names: str, operand: str = "", want: Want = Want.NAME, default: str | None = None) -> Key:
    return Key(names, operand or names[0], want, default=default)


def _hashed(name: str, want: Want) -> Key:
    return Key((name,), name, want, refused=(f"{name}_hash",))


def _number(*names: str, operand: str, default: int | None = None, high: int = 0xFFFF) -> Key:
    return Key(names, operand, Want.NUMBER, high=high, default=default)


_T = TrailOpcodes
_REPO = _number("repo_id", "repo", operand="repo", default=0)
_CONTENT = _hashed("content", Want.TEXT)
_MAX_SECONDS = 2**53 - 1
_DECLARED = {
    _T.TRAIL_BEGIN: (
        _text("agent", default="unknown"),
        _number("agent_id", operand="agent_id", default=-1, high=0xFF),
        _text("trail_id", default="untitled"),
        _number("ts", "timestamp", operand="timestamp", default=0, high=_MAX_SECONDS),
    ),
    _T.TRAIL_END: (
        _number("status", operand="status", default=0, high=0xFF),
        _number("steps", operand="total_steps", default=0, high=_MAX_SECONDS),
    ),
    _T.FILE_READ: (_text("path"),),
    _T.FILE_WRITE: (_text("path"), _CONTENT),
    _T.FILE_EDIT: (_text("path"), _hashed("old", Want.TEXT), _hashed("new", Want.TEXT)),
    _T.SEARCH_CODE: (_text("pattern"),),
    _T.TEST_RUN: (
        _text("test_path", "path"),
        _number("count", "expected_count", operand="expected", default=0),
    ),
    _T.GIT_COMMIT: (_REPO, _hashed("message", Want.SPOKEN)),
    _T.GIT_PUSH: (_REPO,),
    _T.BOTTLE_DROP: (_text("target"), _CONTENT),
    _T.BOTTLE_READ: (_text("source"),),
    _T.LEVEL_UP: (_number("level", "new_level", operand="level"),),
    _T.SPELL_CAST: (_text("spell_id", "spell", operand="spell", want=Want.SPOKEN),),
    _T.ROOM_ENTER: (_text("room_id", "room", operand="room", want=Want.SPOKEN),),
    _T.TRUST_UPDATE: (_text("target"), Key(("delta",), "delta", Want.INTEGER, -0x8000, 0x7FFF)),
    _T.CAP_ISSUE: (_text("action"), _text("holder")),
    _T.BRANCH: (_number("reg", "register", operand="register"),),
    _T.NOP: (),
    _T.COMMENT: (_text("comment", "text", want=Want.TEXT),),
    _T.LABEL: (_text("label", "name", want=Want.TEXT),),
}

SCHEMAS: Mapping[TrailOpcodes, tuple[Key, ...]] = {opcode: _DECLARED[opcode] for opcode in OPERATIONS}
"""The keys of every operation, in the order of its operands."""

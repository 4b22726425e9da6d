"""The one table of trail operations: compiler, codec, printer, verifier, dispatch and policy follow it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType

from sandbox_runner.arguments import checked

__all__ = ["METHODS", "OPERATIONS", "Operand", "OperandKind", "Operation", "TrailOpcodes", "slots_of"]


class TrailOpcodes(IntEnum):
    """One byte each; everything not listed is invalid. ``HASHTABLE`` marks a section and is no step."""

    GIT_COMMIT = 0x90
    GIT_PUSH = 0x91
    FILE_READ = 0x92
    FILE_WRITE = 0x93
    FILE_EDIT = 0x94
    TEST_RUN = 0x95
    SEARCH_CODE = 0x96
    BOTTLE_DROP = 0x97
    BOTTLE_READ = 0x98
    LEVEL_UP = 0x99
    SPELL_CAST = 0x9A
    ROOM_ENTER = 0x9B
    TRUST_UPDATE = 0x9C
    CAP_ISSUE = 0x9D
    BRANCH = 0x9E
    NOP = 0x9F
    TRAIL_BEGIN = 0xA0
    TRAIL_END = 0xA1
    COMMENT = 0xA2
    LABEL = 0xA3
    HASHTABLE = 0xB0

    @classmethod
    @checked
    def is_valid(cls, opcode: int) -> bool:
        """Whether the byte is listed above, the section marker included."""
        return opcode in cls._value2member_map_

    @classmethod
    @checked
    def is_trail_op(cls, opcode: int) -> bool:
        """Whether the opcode is in the block of operations, 0x90 to 0x9F."""
        return cls.GIT_COMMIT <= opcode <= cls.NOP

    @classmethod
    @checked
    def is_meta_op(cls, opcode: int) -> bool:
        """Whether the opcode frames or annotates a trail, 0xA0 to 0xA3."""
        return cls.TRAIL_BEGIN <= opcode <= cls.LABEL


class OperandKind(StrEnum):
    """How an operand is stored in version 1: a number in one 16-bit slot, a string reference in two."""

    NUMBER = "n"
    STRING = "s"


@dataclass(frozen=True, slots=True)
class Operand:
    """One logical argument of an operation."""

    name: str
    kind: OperandKind
    signed: bool = False

    @property
    def is_text(self) -> bool:
        """Whether the operand is a string reference."""
        return self.kind is OperandKind.STRING

    @property
    def slots(self) -> int:
        """How many 16-bit slots the operand takes in version 1."""
        return 2 if self.is_text else 1


@dataclass(frozen=True, slots=True)
class Operation:
    """What one opcode is: its operands in order and the world method it calls (``None``: event only).

    ``alternative`` is a second form that is read but never compiled: GIT_PUSH names a repository by number,
    yet trails exist that name it by text.
    """

    opcode: TrailOpcodes
    operands: tuple[Operand, ...]
    method: str | None = None
    alternative: tuple[Operand, ...] | None = None

    @property
    def slots(self) -> int:
        """The number of 16-bit slots of the first form in version 1."""
        return slots_of(self.operands)

    @property
    def forms(self) -> tuple[tuple[Operand, ...], ...]:
        """Every accepted list of operands, the one the compiler writes first."""
        return (self.operands,) if self.alternative is None else (self.operands, self.alternative)


def slots_of(operands: tuple[Operand, ...]) -> int:
    """The number of 16-bit slots a list of operands takes in version 1."""
    return sum(operand.slots for operand in operands)


def _text(name: str) -> Operand:
    return Operand(name, OperandKind.STRING)


def _number(name: str, *, signed: bool = False) -> Operand:
    return Operand(name, OperandKind.NUMBER, signed=signed)


_T = TrailOpcodes
_TABLE = (
    Operation(_T.GIT_COMMIT, (_number("repo"), _text("message")), "git_commit"),
    Operation(_T.GIT_PUSH, (_number("repo"),), "git_push", alternative=(_text("repo"),)),
    Operation(_T.FILE_READ, (_text("path"),), "file_read"),
    Operation(_T.FILE_WRITE, (_text("path"), _text("content")), "file_write"),
    Operation(_T.FILE_EDIT, (_text("path"), _text("old"), _text("new")), "file_edit"),
    Operation(_T.TEST_RUN, (_text("test_path"), _number("expected")), "test_run"),
    Operation(_T.SEARCH_CODE, (_text("pattern"),), "search_code"),
    Operation(_T.BOTTLE_DROP, (_text("target"), _text("content")), "bottle_drop"),
    Operation(_T.BOTTLE_READ, (_text("source"),), "bottle_read"),
    Operation(_T.LEVEL_UP, (_number("level"),), "level_up"),
    Operation(_T.SPELL_CAST, (_text("spell"),), "spell_cast"),
    Operation(_T.ROOM_ENTER, (_text("room"),), "room_enter"),
    Operation(_T.TRUST_UPDATE, (_text("target"), _number("delta", signed=True)), "trust_update"),
    Operation(_T.CAP_ISSUE, (_text("action"), _text("holder")), "cap_issue"),
    Operation(_T.BRANCH, (_number("register"),)),
    Operation(_T.NOP, ()),
    Operation(_T.TRAIL_BEGIN, ()),
    Operation(_T.TRAIL_END, ()),
    Operation(_T.COMMENT, (_text("comment"),)),
    Operation(_T.LABEL, (_text("label"),)),
)

OPERATIONS: Mapping[TrailOpcodes, Operation] = MappingProxyType({op.opcode: op for op in _TABLE})
"""Every step opcode; ``HASHTABLE`` is absent because it is no step."""

METHODS: Mapping[str, Operation] = MappingProxyType({op.method: op for op in _TABLE if op.method})
"""The fourteen world methods by name."""

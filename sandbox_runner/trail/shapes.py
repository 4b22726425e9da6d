"""How the operands of a record lie, derived from the operation table.

Both versions store a number in two bytes and a string reference in four, so a record's operands lie the same
way in both; what differs is the header before them and what a reference is.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from sandbox_runner.trail.operations import Operand, TrailOpcodes

__all__ = ["FRAME", "Shape", "shape_of"]

FRAME = frozenset({TrailOpcodes.TRAIL_BEGIN, TrailOpcodes.TRAIL_END})
"""The two records with a layout of their own."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One form of one operation.

    Attributes:
        opcode: the operation.
        size: of the whole record, bytes.
        fields: each operand's name and whether it is a string reference.
        packing: reads the operands behind the header.
        references: offsets of the string references from the record's first byte.
    """

    opcode: TrailOpcodes
    size: int
    fields: tuple[tuple[str, bool], ...]
    packing: Struct
    references: tuple[int, ...]


def shape_of(opcode: TrailOpcodes, operands: tuple[Operand, ...], header: int, reference: str) -> Shape:
    """Lay operands out behind ``header`` bytes; ``reference`` is the struct code of a string reference."""
    codes = [reference if operand.is_text else "h" if operand.signed else "H" for operand in operands]
    offsets = [header + Struct("<" + "".join(codes[:index])).size for index in range(len(codes))]
    packing = Struct("<" + "".join(codes))
    return Shape(
        opcode=opcode,
        size=header + packing.size,
        fields=tuple((operand.name, operand.is_text) for operand in operands),
        packing=packing,
        references=tuple(at for at, operand in zip(offsets, operands, strict=True) if operand.is_text),
    )

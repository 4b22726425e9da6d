"""Where the operands of a record lie, derived from the operation table.

Both versions store a number in two bytes and a string reference in four, so a record's operands lie the same way in
both; only what stands before them differs (version 1: opcode and slot count, version 2: opcode).
"""

from __future__ import annotations

from dataclasses import dataclass

from sandbox_runner.trail.operations import Operand, TrailOpcodes

__all__ = ["FRAME", "Field", "Shape", "shape_of"]

FRAME = frozenset({TrailOpcodes.TRAIL_BEGIN, TrailOpcodes.TRAIL_END})
"""The two records with a layout of their own."""


@dataclass(frozen=True, slots=True)
class Field:
    """One operand inside a record: ``at`` counts bytes from the record's first byte."""

    name: str
    at: int
    text: bool
    signed: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """One form of one operation: its size in bytes, its fields, and where its string references lie."""

    opcode: TrailOpcodes
    size: int
    fields: tuple[Field, ...]
    references: tuple[int, ...]


def shape_of(opcode: TrailOpcodes, operands: tuple[Operand, ...], header: int) -> Shape:
    """Lay operands out one after another behind ``header`` bytes."""
    fields: list[Field] = []
    at = header
    for operand in operands:
        fields.append(Field(operand.name, at, operand.is_text, operand.signed))
        at += 4 if operand.is_text else 2
    return Shape(opcode, at, tuple(fields), tuple(field.at for field in fields if field.text))

"""The operation table as the reference's interface shows it, and the resolution of raw operands for display.

Resolution never fails: what cannot be resolved becomes a placeholder. A placeholder is for people; ``load``
refuses a trail that would need one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sandbox_runner.arguments import checked, checked_but, wrong
from sandbox_runner.errors import ArgumentError
from sandbox_runner.trail.hashes import u16_pair_to_hex
from sandbox_runner.trail.operations import OPERATIONS, Operand, OperandKind, TrailOpcodes, slots_of
from sandbox_runner.trail.shapes import FRAME

__all__ = [
    "OPCODE_ARG_TYPES",
    "OPCODE_OPERAND_COUNT",
    "form_for",
    "operand_names",
    "resolve_operands",
]

_LISTED = [operation for operation in OPERATIONS.values() if operation.opcode not in FRAME]

OPCODE_OPERAND_COUNT: Mapping[TrailOpcodes, int] = {
    operation.opcode: len(operation.operands) for operation in _LISTED
}
"""The number of logical arguments of each operation; TRAIL_BEGIN, TRAIL_END and HASHTABLE are absent."""

OPCODE_ARG_TYPES: Mapping[TrailOpcodes, str] = {
    operation.opcode: "".join(operand.kind.value for operand in operation.operands) for operation in _LISTED
}
"""The types of the logical arguments, one letter each: ``n`` is a number, ``s`` a string."""

_MISSING = "<missing_string_arg>"


@checked
def operand_names(opcode: int) -> list[str]:
    """The names of an operation's arguments; none for TRAIL_BEGIN, TRAIL_END, NOP and HASHTABLE."""
    operation = OPERATIONS.get(_listed(opcode))
    return [operand.name for operand in operation.operands] if operation else []


def _listed(opcode: int) -> TrailOpcodes:
    try:
        return TrailOpcodes(opcode)
    except ValueError:
        raise ArgumentError(f"opcode must be one of those that are listed, not {opcode}") from None


def form_for(opcode: int, slots: int) -> tuple[Operand, ...]:
    """The operands that a number of slots means: the form that takes exactly so many, else the last."""
    operation = OPERATIONS.get(_listed(opcode))
    if operation is None:
        return ()
    return next((form for form in operation.forms if slots_of(form) == slots), operation.forms[-1])


@checked_but("table")  # it is as large as a trail, and here once a step
def resolve_operands(opcode: int, slots: Sequence[int], table: Mapping[str, str]) -> list[str | int]:
    """The arguments of a step, in the order of ``operand_names``.

    A string that the table lacks becomes ``<unresolved:8 hex digits>``, one without its two slots
    ``<missing_string_arg>``, a number without a slot 0; slots that are left over are ignored.
    """
    if not isinstance(table, Mapping):
        raise wrong("table", "a mapping", table)
    values: list[str | int] = []
    at = 0
    for operand in form_for(opcode, len(slots)):
        rest = len(slots) - at
        if operand.kind is OperandKind.STRING:
            if rest < 2:
                values.append(_MISSING)
                at += 1
                continue
            key = u16_pair_to_hex(slots[at], slots[at + 1])
            text = table.get(key, f"<unresolved:{key}>")
            if not isinstance(text, str):
                raise wrong(f"table[{key!r}]", "text", text)
            values.append(text)
        else:
            value = slots[at] if rest > 0 else 0
            values.append(value - 0x10000 if operand.signed and value > 0x7FFF else value)
        at += operand.slots if rest > 0 else 0
    return values

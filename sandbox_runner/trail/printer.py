"""Listings of trails for people: text, hex, verbose and compact.

Operands are resolved by the operation's signature. Quotes, control characters and whatever else does not
print are escaped, so that no trail can forge a line, move the cursor or reorder what is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Literal, get_args

from sandbox_runner.arguments import checked
from sandbox_runner.errors import TrailError
from sandbox_runner.trail.codec import TrailDecoder, status_word
from sandbox_runner.trail.hashes import utf8
from sandbox_runner.trail.notes import StepNotes
from sandbox_runner.trail.operands import form_for, resolve_operands
from sandbox_runner.trail.operations import TrailOpcodes
from sandbox_runner.trail.program import TrailProgram
from sandbox_runner.trail.step import TrailStep
from sandbox_runner.visible import escape_json, visible

__all__ = ["ListingFormat", "TrailPrinter", "hex_dump", "quoted"]

ListingFormat = Literal["text", "hex", "verbose", "compact"]

_RULE = "=" * 72
_BEGIN, _END, _NOP = TrailOpcodes.TRAIL_BEGIN, TrailOpcodes.TRAIL_END, TrailOpcodes.NOP
_FIXED_SIZES = {1: {_BEGIN: 10, _END: 4, _NOP: 1}, 2: {_BEGIN: 22, _END: 2, _NOP: 1}}


def quoted(text: str) -> str:
    """The text in double quotes, with everything that is not seen escaped as JSON escapes it."""
    return visible(json.dumps(text, ensure_ascii=False), spell=escape_json)


@checked
def hex_dump(data: bytes) -> str:
    """Sixteen bytes to the line: offset, upper-case bytes, printable ASCII; empty input gives empty text."""
    lines = []
    for offset in range(0, len(data), 16):
        row = data[offset : offset + 16]
        shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        lines.append(f"{offset:04X}: {row.hex(' ').upper():<47}  {shown}")
    return "\n".join(lines)


@checked
class TrailPrinter:
    """Lists programs, with the texts of a string table (key to text, see ``TrailProgram``)."""

    def __init__(self, string_table: Mapping[str, str] | None = None) -> None:
        self.string_table: dict[str, str] = dict(string_table or {})

    def print_bytecode(self, data: bytes, fmt: str = "text", notes: StepNotes | None = None) -> str:
        """A listing of a trail's bytes, with their own string table; ``notes`` describe single steps.

        Raises:
            TrailDecodeError: the bytes are malformed.
            TrailError: there is no such format.
        """
        decoder = TrailDecoder()
        program = decoder.decode(data)
        for index, note in (notes or {}).items():
            step = program.steps[index]
            step.description = str(note.get("desc", note.get("note", step.description)))
            step.timestamp = float(note.get("ts", note.get("timestamp", step.timestamp)))
        return _listing(program, decoder.string_table, fmt)

    def print_program(self, program: TrailProgram, fmt: str = "text") -> str:
        """A listing of a program.

        Raises:
            TrailError: there is no such format.
        """
        return _listing(program, self.string_table, fmt)


def _listing(program: TrailProgram, table: Mapping[str, str], fmt: str) -> str:
    formats = {"text": _text, "hex": _hex, "verbose": _verbose, "compact": _compact}
    if fmt not in formats:
        raise TrailError(f"Unknown format {fmt!r}; there are {', '.join(get_args(ListingFormat))}")
    return "\n".join(formats[fmt](program, table))


def _text(program: TrailProgram, table: Mapping[str, str]) -> Iterator[str]:
    yield "=== TRAIL-FLUX DISASSEMBLY ==="
    for step in program.steps:
        yield f"  {_line(step, table)}"
    yield "=== END ==="


def _hex(program: TrailProgram, table: Mapping[str, str]) -> Iterator[str]:
    yield "=== TRAIL-FLUX HEX DUMP ==="
    offset = _first_offset(program, table)
    for step in program.steps:
        yield f"{offset:04X}: {_line(step, table)}"
        offset += _size(step, program.version)
    yield "=== END ==="


def _verbose(program: TrailProgram, table: Mapping[str, str]) -> Iterator[str]:
    yield _RULE
    yield f"TRAIL-FLUX VERBOSE DISASSEMBLY, version {program.version}, {len(program.steps)} steps"
    yield _RULE
    for index, step in enumerate(program.steps):
        yield f"[{index:04d}] {step.opcode.name} {_operands(step, table)}".rstrip()
        yield f"       opcode: 0x{step.opcode:02X}"
        yield f"       operands: {step.operands}"
        if step.description:
            yield f"       description: {quoted(step.description)}"
        if step.timestamp > 0:
            yield f"       timestamp: {step.timestamp:.0f}"
    if table:
        yield _RULE
        yield f"STRING TABLE ({len(table)} entries)"
        yield _RULE
        for key in sorted(table):
            yield f"  {key}: {quoted(table[key])}"
    yield _RULE


def _compact(program: TrailProgram, _table: Mapping[str, str]) -> Iterator[str]:
    for step in program.steps:
        yield f"{step.opcode.name} {','.join(map(str, step.operands))}".rstrip()


def _line(step: TrailStep, table: Mapping[str, str]) -> str:
    line = f"{step.opcode.name:<13} {_operands(step, table)}"
    return (f"{line}  ; {quoted(step.description)[1:-1]}" if step.description else line).rstrip()


def _operands(step: TrailStep, table: Mapping[str, str]) -> str:
    known = step.metadata
    if step.opcode is _BEGIN:
        shown = {"id": quoted(str(known.get("trail_id", "")))}
        shown["id_hash"] = str(known.get("trail_id_hex", "-"))
        shown["agent"] = quoted(str(known.get("agent", "")))
        shown["agent_id"] = str(step.operands[0] if step.operands else 0)
        shown["time"] = str(known.get("timestamp", 0))
        return " ".join(f"{name}={value}" for name, value in shown.items() if value != '""')
    if step.opcode is _END:
        status = step.operands[0] if step.operands else 0
        return f"total={known.get('total_steps', 0)} status={status} ({status_word(status)})"
    operands = form_for(step.opcode, len(step.operands))
    values = resolve_operands(step.opcode, step.operands, table)
    pairs = zip(operands, values, strict=True)
    return " ".join(f"{operand.name}={quoted(v) if isinstance(v, str) else v}" for operand, v in pairs)


def _first_offset(program: TrailProgram, table: Mapping[str, str]) -> int:
    """In version 2 the strings stand before the steps."""
    return 0 if program.version == 1 else 16 + sum(36 + len(utf8(text)) for text in table.values())


def _size(step: TrailStep, version: int) -> int:
    fixed = _FIXED_SIZES[version].get(step.opcode)
    if fixed is not None:
        return fixed
    return 2 * len(step.operands) + (2 if version == 1 else 1)

"""What a version 1 trail must hold to be replayed, and its steps with their arguments.

A trail may be replayed if and only if

* its first step is TRAIL_BEGIN, its last is TRAIL_END, and no other step is TRAIL_END (a second TRAIL_BEGIN
is a
  mark without effect);
* TRAIL_END counts every step;
* every step has exactly the operands of its operation;
* the string table is there, ascending, and each text belongs to its hash;
* every string reference of a step is in the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from sandbox_runner.trail.codec_v1 import HEADER, SHAPES, Layout, wire_hex
from sandbox_runner.trail.findings import Finding, Severity
from sandbox_runner.trail.hashes import NO_ID
from sandbox_runner.trail.operations import OPERATIONS, TrailOpcodes
from sandbox_runner.trail.resolved import Argument, ResolvedStep
from sandbox_runner.trail.shapes import FRAME

__all__ = ["StepReader", "inspect", "operand_count_finding", "unreferenced"]

_BEGIN, _END, _NOP = TrailOpcodes.TRAIL_BEGIN, TrailOpcodes.TRAIL_END, TrailOpcodes.NOP


def _error(code: str, text: str, step: int | None = None) -> Finding:
    return Finding(Severity.ERROR, code, text, step)


def inspect(layout: Layout) -> Iterator[Finding]:
    """Everything that keeps a structurally sound trail from being replayed."""
    yield from frame_findings(layout.opcodes())
    yield from _total_findings(layout)
    yield from _step_findings(layout)
    yield from _table_findings(layout)


def frame_findings(opcodes: bytes) -> Iterator[Finding]:
    """What is wrong with the order of a trail's opcodes."""
    if len(opcodes) < 2:
        yield _error(
            "too-short",
            f"a trail has at least two steps, TRAIL_BEGIN and TRAIL_END; this one has {len(opcodes)}",
        )
        return
    if opcodes[0] != _BEGIN:
        yield _error("no-begin", f"the first step is {TrailOpcodes(opcodes[0]).name}, not TRAIL_BEGIN", 0)
    if opcodes[-1] != _END:
        yield _error(
            "no-end", f"the last step is {TrailOpcodes(opcodes[-1]).name}, not TRAIL_END", len(opcodes) - 1
        )
    position = opcodes.find(_END)
    while 0 <= position < len(opcodes) - 1:
        yield _error(
            "steps-after-end", "TRAIL_END stands before other steps; it may only be the last", position
        )
        position = opcodes.find(_END, position + 1)


def _total_findings(layout: Layout) -> Iterator[Finding]:
    count = len(layout.offsets)
    for index in range(count - 1, -1, -1):
        offset = layout.offsets[index]
        if layout.data[offset] == _END:
            total = layout.data[offset + 1] | layout.data[offset + 2] << 8
            if total != count:
                yield _error(
                    "wrong-total", f"TRAIL_END counts {total} steps and the trail has {count}", index
                )
            return


def _step_findings(layout: Layout) -> Iterator[Finding]:
    data, keys, shapes = layout.data, layout.keys, SHAPES
    for index, offset in enumerate(layout.offsets):
        opcode = data[offset]
        if opcode in _BARE:
            continue
        shape = shapes.get((opcode, data[offset + 1]))
        if shape is None:
            yield operand_count_finding(index, TrailOpcodes(opcode), data[offset + 1])
            continue
        for at in shape.references:
            key = data[offset + at : offset + at + 4]
            if key not in keys:
                names = [name for name, is_text in shape.fields if is_text]
                name = names[shape.references.index(at)]
                yield unresolved_finding(index, shape.opcode, name, wire_hex(key))


_BARE = FRAME | {_NOP}


def operand_count_finding(step: int, opcode: TrailOpcodes, slots: int) -> Finding:
    """A step has the wrong number of operands."""
    wanted = " or ".join(str(sum(operand.slots for operand in form)) for form in OPERATIONS[opcode].forms)
    return _error("operand-count", f"{opcode.name} has {slots} operand slots and needs {wanted}", step)


def unresolved_finding(step: int, opcode: TrailOpcodes, name: str, hash_hex: str) -> Finding:
    """A step refers to a string that the table lacks."""
    return _error(
        "unresolved-reference",
        f"{opcode.name} refers to {name} {hash_hex}, which the string table lacks",
        step,
    )


def _table_findings(layout: Layout) -> Iterator[Finding]:
    if layout.table_at is None:
        yield _error("no-table", "the trail has no string table")
        return
    previous = ""
    for key, index in layout.keys.items():
        hash_hex = wire_hex(key)
        if hash_hex < previous:
            yield _error("unsorted-table", f"the string table is not ascending at hash {hash_hex}")
        previous = hash_hex
        if sha256(layout.text_bytes(index)).hexdigest()[:8] != hash_hex:
            yield _error(
                "wrong-hash", f"the text of string table entry {index} does not belong to its hash {hash_hex}"
            )


def unreferenced(layout: Layout) -> list[int]:
    """Indexes of the table entries that are neither a trail id nor an operand."""
    free = dict(layout.keys)
    data = layout.data
    for offset in layout.offsets:
        opcode = data[offset]
        if opcode == _BEGIN:
            free.pop(data[offset + 2 : offset + 6], None)
        elif opcode not in _BARE:
            for at in SHAPES[opcode, data[offset + 1]].references:
                free.pop(data[offset + at : offset + at + 4], None)
    return list(free.values())


class StepReader:
    """Reads the steps of a layout in which ``inspect`` found nothing."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        free = unreferenced(layout)
        self.agent = layout.text(free[0]) if len(free) == 1 else None

    def __call__(self, index: int) -> ResolvedStep:
        """One step with its arguments."""
        layout = self._layout
        data, offset = layout.data, layout.offsets[index]
        opcode = data[offset]
        if opcode in _BARE:
            return ResolvedStep(index, TrailOpcodes(opcode), self._bare(index, opcode, offset))
        shape = SHAPES[opcode, data[offset + 1]]
        values = shape.packing.unpack_from(data, offset + HEADER)
        arguments: dict[str, Argument] = {}
        for (name, is_text), value in zip(shape.fields, values, strict=True):
            arguments[name] = layout.text(layout.keys[value]) if is_text else value
        return ResolvedStep(index, shape.opcode, arguments)

    def _bare(self, index: int, opcode: int, offset: int) -> dict[str, Argument]:
        data = self._layout.data
        if opcode == _NOP:
            return {}
        if opcode == _END:
            return {"status": data[offset + 3], "total_steps": len(self._layout.offsets)}
        key = data[offset + 2 : offset + 6]
        known = self._layout.keys.get(key) if wire_hex(key) != NO_ID else None
        high, low = data[offset + 6 : offset + 8], data[offset + 8 : offset + 10]
        begin: dict[str, Argument] = {
            "agent_id": data[offset + 1],
            "trail_id": "" if known is None else self._layout.text(known),
            "trail_id_hash": wire_hex(key),
            "timestamp": int.from_bytes(high, "little") << 16 | int.from_bytes(low, "little"),
        }
        if index == 0 and self.agent is not None:
            begin["agent"] = self.agent
        return begin

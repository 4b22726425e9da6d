"""The encoder and decoder of the reference's interface: lenient about meaning, never about structure."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from sandbox_runner.arguments import checked
from sandbox_runner.errors import TrailDecodeError, TrailError
from sandbox_runner.trail.codec_v1 import HEADER, Layout, scan, wire_hex
from sandbox_runner.trail.codec_v2 import MAGIC, SHAPES, LayoutV2, read_step_v2, scan_v2
from sandbox_runner.trail.encode_v2 import encode_v2
from sandbox_runner.trail.hashes import NO_ID, str_hash_to_u16_pair, str_to_hash, u16_pair_to_hex
from sandbox_runner.trail.limits import DEFAULT_LIMITS, TrailLimits
from sandbox_runner.trail.operations import OPERATIONS, TrailOpcodes, slots_of
from sandbox_runner.trail.program import TrailProgram
from sandbox_runner.trail.resolved import Argument, ResolvedStep, step_number
from sandbox_runner.trail.step import TrailStep, encode_steps

__all__ = ["STATUS_WORDS", "TrailDecoder", "TrailEncoder", "status_word"]

STATUS_WORDS = ("success", "error", "partial", "cancelled")

_FORMS = {
    (opcode, slots_of(form)): form for opcode, operation in OPERATIONS.items() for form in operation.forms
}


def status_word(status: int) -> str:
    """What an end step's status means."""
    return STATUS_WORDS[status] if 0 <= status < len(STATUS_WORDS) else "unknown"


@checked
class TrailEncoder:
    """Writes programs as bytes, with a copy of a string table (key to text)."""

    def __init__(self, string_table: Mapping[str, str] | None = None) -> None:
        self.string_table: dict[str, str] = dict(string_table or {})

    def register_string(self, text: str) -> tuple[int, int]:
        """Add a text to the table of a version 1 program and return the operand pair that names it.

        Raises:
            TrailError: the table holds another text with the same 32-bit hash.
        """
        key = str_to_hash(text)
        if self.string_table.setdefault(key, text) != text:
            raise TrailError(f"two strings share the 32-bit hash {key}; compile them into version 2 instead")
        return str_hash_to_u16_pair(text)

    def encode(self, program: TrailProgram) -> bytes:
        """The program's bytes, in the program's version.

        Raises:
            TrailError: the program is empty, or something in it does not fit the format.
        """
        if program.version == 1:
            return encode_steps(program.steps, self.string_table)
        steps = [self._resolve(index, step) for index, step in enumerate(program.steps)]
        return encode_v2(steps, self.string_table.values(), DEFAULT_LIMITS)

    def _resolve(self, index: int, step: TrailStep) -> ResolvedStep:
        if step.opcode is TrailOpcodes.TRAIL_BEGIN:
            known = step.metadata
            begin: dict[str, Argument] = {"agent_id": step.operands[0], "timestamp": int(known["timestamp"])}
            begin["trail_id_hash"] = known["trail_id_hex"]
            begin["trail_id"] = known["trail_id"] if known["trail_id"] != known["trail_id_hex"] else ""
            begin |= {"agent": known["agent"]} if "agent" in known else {}
            return ResolvedStep(index, step.opcode, begin)
        if step.opcode is TrailOpcodes.TRAIL_END:
            return ResolvedStep(index, step.opcode, {"status": step.operands[0]})
        operands = _FORMS.get((step.opcode, len(step.operands)))
        if operands is None:
            raise TrailError(
                f"step {step_number(index)}: {step.opcode.name} has {len(step.operands)} operand slots"
            )
        slots = iter(step.operands)
        arguments: dict[str, Argument] = {}
        for operand in operands:
            value = next(slots)
            if operand.is_text:
                key = u16_pair_to_hex(value, next(slots))
                if key not in self.string_table:
                    raise TrailError(
                        f"step {step_number(index)}: {step.opcode.name} refers to string {key}, "
                        "which the table lacks"
                    )
                arguments[operand.name] = self.string_table[key]
            else:
                arguments[operand.name] = value - 0x10000 if operand.signed and value > 0x7FFF else value
        return ResolvedStep(index, step.opcode, arguments)


@checked
class TrailDecoder:
    """Reads bytes of either version into a program; what a step means is not looked at.

    Attributes:
        string_table: the texts of the trail decoded last, by key (see ``TrailProgram``).
    """

    def __init__(self, limits: TrailLimits = DEFAULT_LIMITS) -> None:
        self.string_table: dict[str, str] = {}
        self._limits = limits

    def decode(self, data: bytes) -> TrailProgram:
        """The program in some bytes; none at all give a program without steps.

        Raises:
            TrailDecodeError: the bytes are malformed; ``offset`` says where.
        """
        self.string_table = {}
        data = bytes(data)
        if data[:1] == MAGIC[:1]:
            return self._decode_v2(scan_v2(data, self._limits))
        return self._decode_v1(scan(data, self._limits))

    def _decode_v1(self, layout: Layout) -> TrailProgram:
        data = layout.data
        table = {wire_hex(key): layout.text(index) for key, index in layout.keys.items()}
        slots = 0
        steps: list[TrailStep] = []
        self._check_steps(len(layout.offsets))
        for offset in layout.offsets:
            opcode = TrailOpcodes(data[offset])
            if opcode is TrailOpcodes.TRAIL_BEGIN:
                steps.append(_begin_v1(data, offset, table))
            elif opcode is TrailOpcodes.TRAIL_END:
                steps.append(_end(data[offset + 3], data[offset + 1] | data[offset + 2] << 8))
            elif opcode is TrailOpcodes.NOP:
                steps.append(TrailStep(opcode))
            else:
                count = data[offset + 1]
                slots += count
                if slots > self._limits.program_slots:
                    raise TrailDecodeError(
                        f"more operands than the limit program_slots of {self._limits.program_slots}",
                        offset=offset,
                    )
                steps.append(TrailStep(opcode, list(struct.unpack_from(f"<{count}H", data, offset + HEADER))))
        self.string_table = table
        return TrailProgram(steps)

    def _decode_v2(self, layout: LayoutV2) -> TrailProgram:
        self._check_steps(len(layout.offsets))
        steps = [_step_v2(layout, index) for index in range(len(layout.offsets))]
        self.string_table = {f"{index:08x}": layout.text(index) for index in range(len(layout.starts))}
        return TrailProgram(steps, version=2)

    def _check_steps(self, count: int) -> None:
        if count > self._limits.program_steps:
            raise TrailDecodeError(
                f"{count} steps are more than the limit program_steps of {self._limits.program_steps}",
                offset=0,
                hint="load() reads longer trails",
            )


def _begin_v1(data: bytes, offset: int, table: Mapping[str, str]) -> TrailStep:
    id_hash = wire_hex(data[offset + 2 : offset + 6])
    high, low = struct.unpack_from("<HH", data, offset + 6)
    text = id_hash if id_hash == NO_ID else table.get(id_hash, id_hash)
    return _begin(data[offset + 1], id_hash, text, high << 16 | low)


def _begin(agent_id: int, id_hash: str, trail_id: str, seconds: int) -> TrailStep:
    metadata = {"agent_id": agent_id, "trail_id_hex": id_hash, "trail_id": trail_id, "timestamp": seconds}
    return TrailStep(TrailOpcodes.TRAIL_BEGIN, [agent_id], metadata, float(seconds), "Trail begins")


def _end(status: int, total: int) -> TrailStep:
    metadata = {"total_steps": total, "status": status}
    return TrailStep(
        TrailOpcodes.TRAIL_END, [status], metadata, description=f"Trail ends ({status_word(status)})"
    )


def _step_v2(layout: LayoutV2, index: int) -> TrailStep:
    data, offset = layout.data, layout.offsets[index]
    shape = SHAPES.get(data[offset])
    if shape is None:
        step = read_step_v2(layout, index)
        known = step.arguments
        if step.opcode is TrailOpcodes.TRAIL_END:
            return _end(int(known["status"]), len(layout.offsets))
        id_hash = str(known["trail_id_hash"])
        begin = _begin(
            int(known["agent_id"]), id_hash, str(known["trail_id"]) or id_hash, int(known["timestamp"])
        )
        begin.metadata |= {"agent": known["agent"]} if "agent" in known else {}
        return begin
    slots: list[int] = []
    for (_, is_text), value in zip(shape.fields, shape.packing.unpack_from(data, offset + 1), strict=True):
        slots += divmod(value, 0x10000) if is_text else (value,)
    return TrailStep(shape.opcode, slots)

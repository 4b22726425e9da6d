"""One step as other tools build it: mutable, with raw 16-bit operands, as lenient as the reference.

Nothing here is replayed as it is: replay starts from bytes that ``load`` accepted.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sandbox_runner.errors import ArgumentError, TrailError
from sandbox_runner.trail.codec_v1 import MAX_COUNT, MAX_SLOTS
from sandbox_runner.trail.encode_v1 import write_begin, write_end, write_table
from sandbox_runner.trail.hashes import NO_ID, agent_byte, str_to_hash, utf8
from sandbox_runner.trail.operations import TrailOpcodes
from sandbox_runner.trail.resolved import step_number

__all__ = ["TrailStep", "encode_steps"]

_PACKS = [struct.Struct(f"<BB{count}H") for count in range(MAX_SLOTS + 1)]


@dataclass(slots=True)
class TrailStep:
    """One step as it stands in the bytes.

    Attributes:
        opcode: the operation; a number is converted.
        operands: 16-bit slots; anything ``int`` accepts, reduced modulo 65,536.
        metadata: what has no slot: a begin step's ``trail_id`` and ``timestamp``, an end step's ``status``.
        timestamp: seconds since 1970; only a begin step's reaches the bytes.
        description: for people; never reaches the bytes.

    Raises:
        ArgumentError: the opcode is not listed, or an operand is no number.
    """

    opcode: TrailOpcodes
    operands: list[int] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    timestamp: float = 0.0
    description: str = ""

    def __post_init__(self) -> None:
        try:
            self.opcode = TrailOpcodes(self.opcode)
            self.operands = [int(operand) & 0xFFFF for operand in self.operands]
        except (TypeError, ValueError, OverflowError) as error:
            raise ArgumentError(
                f"TrailStep: an opcode that is listed and whole numbers are needed: {error}"
            ) from error


def encode_steps(steps: Sequence[TrailStep], table: Mapping[str, str]) -> bytes:
    """Version 1 bytes of steps and a string table (hash to text), both taken as they are.

    Raises:
        TrailError: there is no step, or a step, a time, a count or a string does not fit the format.
    """
    if not steps:
        raise TrailError("Cannot encode empty trail program: a trail has at least TRAIL_BEGIN and TRAIL_END")
    if len(steps) > MAX_COUNT:
        raise TrailError(
            f"version 1 counts at most {MAX_COUNT} steps and this trail has {len(steps)}; use version 2"
        )
    total = len(steps)
    out = bytearray()
    for index, step in enumerate(steps):
        opcode, operands = step.opcode, step.operands
        if opcode is TrailOpcodes.TRAIL_BEGIN:
            out += _begin(step)
        elif opcode is TrailOpcodes.TRAIL_END:
            out += write_end(total, operands[0] & 0xFF if operands else 0)
        elif opcode is TrailOpcodes.NOP:
            out.append(opcode)
        elif opcode is TrailOpcodes.HASHTABLE:
            raise TrailError(
                f"step {step_number(index)} is HASHTABLE, which marks the string table and is no step"
            )
        elif len(operands) > MAX_SLOTS:
            raise TrailError(
                f"step {step_number(index)} has {len(operands)} operands; a step holds at most {MAX_SLOTS}"
            )
        else:
            out += _PACKS[len(operands)].pack(opcode, len(operands), *operands)
    out += write_table((key[:8], utf8(text)) for key, text in table.items())
    return bytes(out)


def _begin(step: TrailStep) -> bytes:
    metadata = step.metadata
    agent_id = step.operands[0] & 0xFF if step.operands else agent_byte(str(metadata.get("agent", "")))
    return write_begin(agent_id, _id_hash(metadata), _seconds(step))


def _id_hash(metadata: Mapping[str, Any]) -> str:
    """A decoded step keeps the id's hash, so that encoding it again gives the same bytes."""
    text, known = metadata.get("trail_id") or "", metadata.get("trail_id_hex")
    if known is not None and text in {"", known}:
        return str(known)
    return str_to_hash(text) if text else NO_ID


def _seconds(step: TrailStep) -> int:
    """The step's own time if it has one, else its metadata's; 0 says that no time is known."""
    value = step.timestamp if step.timestamp > 0 else step.metadata.get("timestamp", 0)
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise TrailError(f"the timestamp {value!r} is no number of seconds") from error

"""Writing version 2; ``codec_v2`` holds the specification."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from io import BytesIO

from sandbox_runner.errors import TrailError
from sandbox_runner.trail.codec_v2 import BEGIN, BY_NAME, HEAD, MAGIC, MAX_TIME, NONE, STRING
from sandbox_runner.trail.hashes import utf8
from sandbox_runner.trail.limits import TrailLimits
from sandbox_runner.trail.operations import OPERATIONS, TrailOpcodes
from sandbox_runner.trail.resolved import Argument, ResolvedStep

__all__ = ["encode_v2"]


def encode_v2(steps: Sequence[ResolvedStep], strings: Iterable[str], limits: TrailLimits) -> bytes:
    """The bytes of resolved steps and all their strings; beside the bytes it holds an index for each string.

    Raises:
        TrailError: too many steps or strings, a string that is too long, or a time out of range.
    """
    table = sorted(strings, key=_digest)
    if len(steps) > limits.steps or len(table) > limits.strings:
        raise TrailError(
            f"{len(steps)} steps with {len(table)} strings exceed the limits of {limits.steps} steps and "
            f"{limits.strings} strings"
        )
    file = BytesIO()  # whose bytes are given away without a copy
    file.write(HEAD.pack(MAGIC, len(table), len(steps)))
    indexes: dict[str, int] = {}
    for index, text in enumerate(table):
        raw = utf8(text)
        if len(raw) > limits.string_bytes:
            raise TrailError(
                f"a string of {len(raw)} bytes is over the limit string_bytes of {limits.string_bytes}"
            )
        indexes[text] = index
        file.write(STRING.pack(sha256(raw).digest(), len(raw)))
        file.write(raw)
    out = bytearray()
    for step in steps:
        _write_step(out, step, indexes)
    file.write(out)
    return file.getvalue()


def _digest(text: str) -> bytes:
    return sha256(utf8(text)).digest()


def _write_step(out: bytearray, step: ResolvedStep, indexes: Mapping[str, int]) -> None:
    opcode, arguments = step.opcode, step.arguments
    if opcode is TrailOpcodes.TRAIL_BEGIN:
        out += _write_begin(arguments, indexes)
    elif opcode is TrailOpcodes.TRAIL_END:
        out += bytes((opcode, int(arguments["status"])))
    else:
        start = len(out)
        out.append(opcode)
        for operand in OPERATIONS[opcode].operands:
            value = arguments[operand.name]
            if isinstance(value, str):
                out += indexes[value].to_bytes(4, "little")
                if not operand.is_text:
                    out[start] = opcode - BY_NAME
            else:
                out += value.to_bytes(2, "little", signed=operand.signed)


def _write_begin(arguments: Mapping[str, Argument], indexes: Mapping[str, int]) -> bytes:
    id_hash = str(arguments["trail_id_hash"])
    time = int(arguments["timestamp"])
    if not 0 <= time <= MAX_TIME:
        raise TrailError(
            f"the timestamp {time} is outside 0..{MAX_TIME}, the seconds that version 2 can hold"
        )
    return BEGIN.pack(
        TrailOpcodes.TRAIL_BEGIN,
        arguments["agent_id"],
        indexes.get(str(arguments["agent"]), NONE) if "agent" in arguments else NONE,
        indexes.get(str(arguments["trail_id"]), NONE) if _names_id(arguments) else NONE,
        bytes.fromhex(id_hash),
        time,
    )


def _names_id(arguments: Mapping[str, Argument]) -> bool:
    """Whether the id hash is that of the trail id's text; an empty text may also stand for an unknown one."""
    digest = sha256(utf8(str(arguments["trail_id"]))).hexdigest()
    return digest[:8] == arguments["trail_id_hash"]

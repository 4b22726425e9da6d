"""Writing version 1; ``codec_v1`` shows the layout."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence

from sandbox_runner.errors import TrailError
from sandbox_runner.trail.codec_v1 import MAX_COUNT, MAX_STRING, MAX_TIME, wire_key
from sandbox_runner.trail.hashes import str_to_hash, utf8
from sandbox_runner.trail.operations import OPERATIONS, TrailOpcodes
from sandbox_runner.trail.resolved import ResolvedStep

__all__ = ["encode_v1", "write_begin", "write_end", "write_table"]


def check_time(seconds: int) -> int:
    """The same number if version 1 can hold it.

    Raises:
        TrailError: before 1970 or after 2106; the field would wrap.
    """
    if not 0 <= seconds <= MAX_TIME:
        raise TrailError(
            f"the timestamp {seconds} is outside 0..{MAX_TIME}, the seconds that version 1 can hold"
        )
    return seconds


def write_begin(agent_id: int, id_hash: str, timestamp: int) -> bytes:
    """A TRAIL_BEGIN record; ``id_hash`` is 8 hexadecimal digits."""
    seconds = check_time(timestamp)
    halves = struct.pack("<HH", seconds >> 16, seconds & 0xFFFF)
    return bytes((TrailOpcodes.TRAIL_BEGIN, agent_id)) + wire_key(id_hash) + halves


def write_end(total: int, status: int) -> bytes:
    """A TRAIL_END record."""
    if total > MAX_COUNT:
        raise TrailError(
            f"version 1 counts at most {MAX_COUNT} steps and this trail has {total}; use version 2"
        )
    return struct.pack("<BHB", TrailOpcodes.TRAIL_END, total, status)


def write_table(entries: Iterable[tuple[str, bytes]]) -> bytes:
    """The string table: pairs of 8 hexadecimal digits and UTF-8 bytes, in any order.

    Raises:
        TrailError: a text over 255 bytes, two entries under one hash, or more than 65,535 entries.
    """
    table: dict[str, bytes] = {}
    for key, text in entries:
        if len(text) > MAX_STRING:
            raise TrailError(
                f"a string of {len(text)} bytes is over the {MAX_STRING} of version 1; use version 2"
            )
        if table.setdefault(key, text) != text:
            raise TrailError(
                f"two strings share the 32-bit hash {key}, which version 1 cannot tell apart; use version 2"
            )
    if len(table) > MAX_COUNT:
        raise TrailError(
            f"version 1 holds at most {MAX_COUNT} strings and this trail has {len(table)}; use version 2"
        )
    out = bytearray(struct.pack("<BH", TrailOpcodes.HASHTABLE, len(table)))
    for key in sorted(table):
        text = table[key]
        out += wire_key(key)
        out.append(len(text))
        out += text
    return bytes(out)


def write_step(out: bytearray, step: ResolvedStep, keys: Mapping[str, bytes], total: int) -> None:
    """Append one resolved step; ``keys`` gives each text's four key bytes."""
    opcode, arguments = step.opcode, step.arguments
    if opcode is TrailOpcodes.TRAIL_BEGIN:
        time = int(arguments["timestamp"])
        out += write_begin(int(arguments["agent_id"]), str(arguments["trail_id_hash"]), time)
    elif opcode is TrailOpcodes.TRAIL_END:
        out += write_end(total, int(arguments["status"]))
    elif opcode is TrailOpcodes.NOP:
        out.append(opcode)
    else:
        out.append(opcode)
        start = len(out)
        out.append(0)
        for operand in OPERATIONS[opcode].operands:
            value = arguments[operand.name]
            if isinstance(value, str):
                out += keys[value]
            else:
                out += value.to_bytes(2, "little", signed=operand.signed)
        out[start] = (len(out) - start) // 2


def encode_v1(steps: Sequence[ResolvedStep], strings: Iterable[str]) -> bytes:
    """The bytes of resolved steps and all their strings.

    Raises:
        TrailError: something does not fit version 1.
    """
    entries = [(str_to_hash(text), text) for text in strings]
    table = write_table((key, utf8(text)) for key, text in entries)
    keys = {text: wire_key(key) for key, text in entries}
    out = bytearray()
    for step in steps:
        write_step(out, step, keys, len(steps))
    return bytes(out + table)

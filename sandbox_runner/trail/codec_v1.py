"""Version 1 bytes: the reference's format.

All integers are unsigned 16-bit little-endian; a 32-bit quantity is two of them, most significant half first.

    trail        step* table
    TRAIL_BEGIN  A0 | agent id u8 | id hash 2 x u16 | time 2 x u16                   10 bytes
    TRAIL_END    A1 | number of steps u16 | status u8                                 4 bytes
    NOP          9F                                                                   1 byte
    any other    opcode | n u8 | n x u16
    table        B0 | count u16 | count x (hash 2 x u16 | length u8 | UTF-8 bytes), hashes ascending

This module knows the structure: what ``scan`` accepts can be read without going out of bounds. Whether it
means anything is for ``strict_v1`` to say.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass

from sandbox_runner.errors import TrailDecodeError
from sandbox_runner.trail.limits import TrailLimits
from sandbox_runner.trail.operations import OPERATIONS, TrailOpcodes
from sandbox_runner.trail.shapes import FRAME, Shape, shape_of

__all__ = [
    "HEADER",
    "MAX_COUNT",
    "MAX_SLOTS",
    "MAX_STRING",
    "MAX_TIME",
    "SHAPES",
    "Layout",
    "scan",
    "wire_hex",
    "wire_key",
]

MAX_COUNT = 0xFFFF
"""Steps of a trail and entries of its table: both are counted in 16 bits."""
MAX_SLOTS = 0xFF
"""16-bit operands of one step."""
MAX_STRING = 0xFF
"""UTF-8 bytes of one string."""
MAX_TIME = 0xFFFF_FFFF
"""The last second, in 2106."""
HEADER = 2
"""Bytes before a record's operands: opcode and slot count."""

_TABLE = TrailOpcodes.HASHTABLE
_BEGIN_SIZE, _END_SIZE = 10, 4
_COUNTED, _INVALID, _MARKER = 0, -1, -2


def _sizes() -> list[int]:
    """By first byte: the record's size, or how to find it."""
    sizes = [_INVALID] * 256
    for opcode in OPERATIONS:
        sizes[opcode] = _COUNTED
    sizes[TrailOpcodes.TRAIL_BEGIN] = _BEGIN_SIZE
    sizes[TrailOpcodes.TRAIL_END] = _END_SIZE
    sizes[TrailOpcodes.NOP] = 1
    sizes[_TABLE] = _MARKER
    return sizes


_SIZES = _sizes()

SHAPES: Mapping[tuple[int, int], Shape] = {
    (opcode, (shape.size - HEADER) // 2): shape
    for opcode, operation in OPERATIONS.items()
    if opcode not in FRAME and opcode is not TrailOpcodes.NOP
    for shape in (shape_of(opcode, operands, HEADER, "4s") for operands in operation.forms)
}
"""The accepted records by opcode and number of slots."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where everything lies in the bytes of a structurally sound trail.

    Attributes:
        data: the trail.
        offsets: of each step's record.
        table_at: offset of the table, ``None`` where the trail has none.
        keys: each table entry's four key bytes, mapped to its index; in the order of the bytes.
        starts: of each entry's text (its length byte stands just before).
    """

    data: bytes
    offsets: array[int]
    table_at: int | None
    keys: Mapping[bytes, int]
    starts: array[int]

    def opcodes(self) -> bytes:
        """The operation of each step."""
        return bytes(map(self.data.__getitem__, self.offsets))

    def text_bytes(self, index: int) -> bytes:
        """The UTF-8 bytes of one table entry."""
        start = self.starts[index]
        return self.data[start : start + self.data[start - 1]]

    def text(self, index: int) -> str:
        """One table entry."""
        return self.text_bytes(index).decode()


def scan(data: bytes, limits: TrailLimits) -> Layout:
    """Find every record and every string of a trail.

    Raises:
        TrailDecodeError: an unknown opcode, a record or string that is cut off, text that is not UTF-8, a key
            that stands twice in the table, bytes after the table, or more than 65,535 steps.
    """
    offsets = array("I")
    position, end = 0, len(data)
    if end > limits.trail_bytes:
        raise TrailDecodeError(
            f"the trail has {end} bytes, more than the limit trail_bytes of {limits.trail_bytes}",
            offset=limits.trail_bytes,
        )
    most = min(limits.steps, MAX_COUNT)
    while position < end:
        size = _SIZES[data[position]]
        if size <= _COUNTED:
            if size == _INVALID:
                raise TrailDecodeError(
                    f"Invalid opcode 0x{data[position]:02X} at offset {position}", offset=position
                )
            if size == _MARKER:
                break
            size = HEADER + 2 * data[position + 1] if position + 1 < end else HEADER
        if position + size > end:
            raise _cut_off(f"the {TrailOpcodes(data[position]).name} record at offset {position}", end)
        if len(offsets) == most:
            raise TrailDecodeError(
                f"the trail has more than {most} steps, the limit named steps", offset=position
            )
        offsets.append(position)
        position += size
    keys: dict[bytes, int] = {}
    starts = array("I")
    if position == end:
        return Layout(data, offsets, None, keys, starts)
    _scan_table(data, position, keys, starts)
    return Layout(data, offsets, position, keys, starts)


def _scan_table(data: bytes, position: int, keys: dict[bytes, int], starts: array[int]) -> None:
    end = len(data)
    if position + 3 > end:
        raise _cut_off("the string table's head", end)
    count = data[position + 1] | data[position + 2] << 8
    position += 3
    for index in range(count):
        start = position + 5
        if start > end:
            raise _cut_off(f"entry {index} of {count} in the string table", end)
        key = data[position : position + 4]
        if key in keys:
            raise TrailDecodeError(
                f"the string table holds the hash {wire_hex(key)} twice, again at offset {position}",
                offset=position,
            )
        position = start + data[start - 1]
        if position > end:
            raise _cut_off(f"the text of entry {index} in the string table", end)
        try:
            data[start:position].decode()
        except UnicodeDecodeError as error:
            offset = start + error.start
            raise TrailDecodeError(
                f"entry {index} of the string table is not UTF-8 at offset {offset}", offset=offset
            ) from error
        keys[key] = index
        starts.append(start)
    if position != end:
        raise TrailDecodeError(
            f"{end - position} bytes follow the string table, from offset {position}; a trail ends there",
            offset=position,
        )


def _cut_off(what: str, end: int) -> TrailDecodeError:
    return TrailDecodeError(f"{what} is cut off: the trail ends at offset {end}", offset=end)


def wire_key(hash_hex: str) -> bytes:
    """The four bytes that stand in a trail for 8 hexadecimal digits (each half little-endian)."""
    raw = bytes.fromhex(hash_hex)
    return bytes((raw[1], raw[0], raw[3], raw[2]))


def wire_hex(key: bytes) -> str:
    """The 8 hexadecimal digits of four key bytes in a trail."""
    return bytes((key[1], key[0], key[3], key[2])).hex()

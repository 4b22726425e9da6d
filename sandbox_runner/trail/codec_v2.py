r"""Version 2 bytes: long strings, no collisions, one byte string for one program.

All integers are unsigned and little-endian. There is no padding, and no field is optional.

    trail     := head string{S} step{N}               and not one byte more

    head         89 46 4C 55 58 32 0D 0A              magic: "\x89FLUX2\r\n"; 89 is no version 1 opcode,
                                                      CR LF shows damage by a text transfer
                 S u32 | N u32                        number of strings, number of steps

    string       digest 32 bytes | length u32 | text  SHA-256 of the text, its size in bytes, its UTF-8

    step      := one of
    TRAIL_BEGIN  A0 | agent id u8 | agent u32 | trail id u32 | id hash 4 bytes | time u64
    TRAIL_END    A1 | status u8
    NOP          9F
    other        opcode u8 | operand*                 operands of the operation table, in order:
                                                      string: u32, index into the strings, from 0
                                                      number: u16 (TRUST_UPDATE's delta: two's complement)
    GIT_PUSH     91 | u16  or  11 | u32               a repository by number, or by name (opcode - 80)

Rules; a trail that breaks one is malformed:

1. Strings stand in strictly ascending order of their digests (compared as bytes), so none stands twice and
   the index of a text follows from the set of texts. A digest is the SHA-256 of its text; a text is valid
   UTF-8 of at most 16 MiB. Strings that nothing refers to are allowed and kept.
2. Every index is below S. In TRAIL_BEGIN, FFFFFFFF as an agent or trail id says that there is none.
3. The id hash is the first four bytes of the SHA-256 of the trail id's text, in that order. Without a trail
   id it is 00 00 00 00 or the hash of an id whose text is not among the strings (as version 1 allows).
4. The time is in whole seconds since 1970, at most 2^53 - 1, so that every number of a trail is exact in
   JSON (RFC 8259, section 6); 0 says that no time is known.
5. S and N are at most 1,000,000 each, and a trail has at most 256 MiB.

That one TRAIL_BEGIN comes first and one TRAIL_END last is the same rule as in version 1: a matter of
verification, not of structure. TRAIL_END's total is N and is not stored again. Every field has one value for
a given program (its steps and the set of its strings), so encoding what was decoded gives the same bytes.

Examples, with their bytes: ``tests/data/vectors/trail_v2.json``.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from sandbox_runner.errors import TrailDecodeError
from sandbox_runner.trail.limits import TrailLimits
from sandbox_runner.trail.operations import OPERATIONS, TrailOpcodes
from sandbox_runner.trail.resolved import Argument, ResolvedStep, step_number
from sandbox_runner.trail.shapes import FRAME, Shape, shape_of

__all__ = [
    "BEGIN",
    "BY_NAME",
    "HEAD",
    "MAGIC",
    "MAX_TIME",
    "NONE",
    "SHAPES",
    "STRING",
    "LayoutV2",
    "read_step_v2",
    "scan_v2",
]

MAGIC = b"\x89FLUX2\r\n"
NONE = 0xFFFF_FFFF
"""The index that says: no agent, no trail id."""
MAX_TIME = 2**53 - 1
"""Seconds; the largest whole number that every JSON reader keeps exact."""

HEAD = struct.Struct("<8sII")
STRING = struct.Struct("<32sI")
BEGIN = struct.Struct("<BBII4sQ")
BY_NAME = 0x80
"""Taken off an opcode whose operands have the alternative form."""

SHAPES: Mapping[int, Shape] = {
    opcode - form * BY_NAME: shape_of(opcode, operands, 1, "I")
    for opcode, operation in OPERATIONS.items()
    if opcode not in FRAME
    for form, operands in enumerate(operation.forms)
}
"""The records by first byte; TRAIL_BEGIN and TRAIL_END have layouts of their own."""

_SIZES = [0] * 256
for _first, _shape in SHAPES.items():
    _SIZES[_first] = _shape.size
_SIZES[TrailOpcodes.TRAIL_BEGIN] = BEGIN.size
_SIZES[TrailOpcodes.TRAIL_END] = 2


@dataclass(frozen=True, slots=True, eq=False)
class LayoutV2:
    """Where everything lies in the bytes of a well-formed trail: each string's text, each step's record."""

    data: bytes
    offsets: array[int]
    starts: array[int]

    def text(self, index: int) -> str:
        """One string."""
        start = self.starts[index]
        length = int.from_bytes(self.data[start - 4 : start], "little")
        return self.data[start : start + length].decode()

    def digest(self, index: int) -> bytes:
        """SHA-256 of one string."""
        return self.data[self.starts[index] - STRING.size : self.starts[index] - 4]

    def opcodes(self) -> bytes:
        """The operation of each step, whichever its form."""
        return bytes(map(self.data.__getitem__, self.offsets)).translate(_FIRST_FORM)


_FIRST_FORM = bytes(SHAPES[first].opcode if first in SHAPES else first for first in range(256))


def scan_v2(data: bytes, limits: TrailLimits) -> LayoutV2:
    """Check every rule of the format.

    Raises:
        TrailDecodeError: the bytes break one; ``offset`` says where.
    """
    if len(data) > limits.trail_bytes:
        raise _malformed(
            f"the trail has {len(data)} bytes, more than the limit trail_bytes of {limits.trail_bytes}", 0
        )
    if len(data) < HEAD.size:
        raise _cut_off("the head", data)
    magic, strings, steps = HEAD.unpack_from(data)
    if magic != MAGIC:
        raise _malformed("the trail does not begin with the version 2 magic", 0)
    if strings > limits.strings:
        raise _malformed(f"{strings} strings are more than the limit strings of {limits.strings}", 8)
    if steps > limits.steps:
        raise _malformed(f"{steps} steps are more than the limit steps of {limits.steps}", 12)
    starts = array("I")
    position = _scan_strings(data, strings, limits, starts)
    offsets = array("I")
    position = _scan_steps(data, position, steps, strings, offsets)
    if position != len(data):
        raise _malformed(
            f"{len(data) - position} bytes follow the last step, from offset {position}", position
        )
    layout = LayoutV2(data, offsets, starts)
    _check_begins(layout, strings)
    return layout


def _malformed(text: str, offset: int) -> TrailDecodeError:
    return TrailDecodeError(text, offset=offset)


def _cut_off(what: str, data: bytes) -> TrailDecodeError:
    return _malformed(f"{what} is cut off: the trail ends at offset {len(data)}", len(data))


def _scan_strings(data: bytes, count: int, limits: TrailLimits, starts: array[int]) -> int:
    position, end = HEAD.size, len(data)
    previous = b""
    for index in range(count):
        start = position + STRING.size
        if start > end:
            raise _cut_off(f"string {index} of {count}", data)
        digest, length = STRING.unpack_from(data, position)
        if length > limits.string_bytes:
            raise _malformed(
                f"string {index} has {length} bytes, over the limit string_bytes of {limits.string_bytes}",
                start - 4,
            )
        if start + length > end:
            raise _cut_off(f"the text of string {index}", data)
        if digest <= previous:
            raise _malformed(f"string {index} at offset {position} is not in ascending order", position)
        text = data[start : start + length]
        if sha256(text).digest() != digest:
            raise _malformed(
                f"the text of string {index} does not belong to its digest at offset {position}", position
            )
        try:
            text.decode()
        except UnicodeDecodeError as error:
            offset = start + error.start
            raise _malformed(f"string {index} is not UTF-8 at offset {offset}", offset) from error
        previous = digest
        starts.append(start)
        position = start + length
    return position


def _scan_steps(data: bytes, position: int, count: int, strings: int, offsets: array[int]) -> int:
    end = len(data)
    for index in range(count):
        if position >= end:
            raise _cut_off(f"step {step_number(index)} of {count}", data)
        first = data[position]
        size = _SIZES[first]
        if not size:
            raise _malformed(f"Invalid opcode 0x{first:02X} at offset {position}", position)
        if position + size > end:
            raise _cut_off(f"the record at offset {position}", data)
        shape = SHAPES.get(first)
        if shape is not None:
            for at in shape.references:
                where = position + at
                if int.from_bytes(data[where : where + 4], "little") >= strings:
                    raise _malformed(
                        f"step {step_number(index)} refers past the last string at offset {where}", where
                    )
        offsets.append(position)
        position += size
    return position


def _check_begins(layout: LayoutV2, strings: int) -> None:
    data = layout.data
    for index, offset in enumerate(layout.offsets):
        if data[offset] != TrailOpcodes.TRAIL_BEGIN:
            continue
        _, _, agent, trail_id, id_hash, time = BEGIN.unpack_from(data, offset)
        for at, reference in ((2, agent), (6, trail_id)):
            if reference != NONE and reference >= strings:
                raise _malformed(
                    f"step {step_number(index)} refers past the last string at offset {offset + at}",
                    offset + at,
                )
        if trail_id != NONE and layout.digest(trail_id)[:4] != id_hash:
            raise _malformed(f"the id hash at offset {offset + 10} is not that of the trail id", offset + 10)
        if trail_id == NONE and any(id_hash) and _holds_hash(layout, id_hash):
            raise _malformed(f"the trail id at offset {offset + 6} is missing: its text is there", offset + 6)
        if time > MAX_TIME:
            raise _malformed(f"the time at offset {offset + 14} is after second {MAX_TIME}", offset + 14)


def _holds_hash(layout: LayoutV2, id_hash: bytes) -> bool:
    position = bisect_left(range(len(layout.starts)), id_hash, key=layout.digest)
    return position < len(layout.starts) and layout.digest(position)[:4] == id_hash


def read_step_v2(layout: LayoutV2, index: int) -> ResolvedStep:
    """One step with its arguments."""
    data, offset = layout.data, layout.offsets[index]
    shape = SHAPES.get(data[offset])
    if shape is None:
        opcode = TrailOpcodes(data[offset])
        if opcode is TrailOpcodes.TRAIL_BEGIN:
            return ResolvedStep(index, opcode, _read_begin(layout, offset))
        return ResolvedStep(index, opcode, {"status": data[offset + 1], "total_steps": len(layout.offsets)})
    values = shape.packing.unpack_from(data, offset + 1)
    arguments: dict[str, Argument] = {}
    for (name, is_text), value in zip(shape.fields, values, strict=True):
        arguments[name] = layout.text(value) if is_text else value
    return ResolvedStep(index, shape.opcode, arguments)


def _read_begin(layout: LayoutV2, offset: int) -> dict[str, Argument]:
    _, agent_id, agent, trail_id, id_hash, time = BEGIN.unpack_from(layout.data, offset)
    begin: dict[str, Argument] = {
        "agent_id": agent_id,
        "trail_id": "" if trail_id == NONE else layout.text(trail_id),
        "trail_id_hash": id_hash.hex(),
        "timestamp": time,
    }
    if agent != NONE:
        begin["agent"] = layout.text(agent)
    return begin

r"""Pack files: what one capture adds to a store, in one immutable file.

    "sandbox-runner pack 1\n"
    record*      u8 kind | u8 codec | u16 0 | 32 bytes digest | u64 size | u64 stored | payload (stored bytes)
    end record   the same head, kind "E": digest is the SHA-256 of all heads before it, size their number

Kinds: "B" an object, named by the SHA-256 of its ``size`` bytes. "S" the facts of a snapshot, named by the
snapshot's digest: 32 bytes SHA-256 of JSON, and the JSON. Codecs: 0 stored, 1 one zstd frame. Integers are
big-endian. A file without a valid end record is not a pack: it is written under another name, synced, and
only then renamed to ``*.pack``.

The records tell everything the index holds, so the index can be rebuilt from the packs alone.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import zstandard

from sandbox_runner.errors import StoreError

__all__ = [
    "FACTS",
    "OBJECT",
    "DamagedPackError",
    "Location",
    "PackWriter",
    "Record",
    "packed_size",
    "read_object",
    "read_records",
]

OBJECT, FACTS, _END = b"BSE"
_MAGIC = b"sandbox-runner pack 1\n"
_HEAD = struct.Struct(">BBH32sQQ")
_STORED, _ZSTD = 0, 1
_LEVEL = 1  # half a percent larger than level 3 on source trees, and a third faster
_CHUNK = 1 << 20
_TINY = 64  # below this a zstd frame is larger than what it holds


class DamagedPackError(StoreError):
    """A pack does not hold what its records or the index promise."""


class Location(NamedTuple):
    """Where an object is: at byte ``offset`` of a pack, ``stored`` bytes of ``codec`` that make ``size``."""

    offset: int
    stored: int
    size: int
    codec: int


class Record(NamedTuple):
    """One record of a pack."""

    kind: int
    digest: bytes
    location: Location


class PackWriter:
    """Appends records to a new file. Not safe for several threads."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._heads = hashlib.sha256()
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self.records: list[Record] = []
        self.size = file.write(_MAGIC)

    def add(self, kind: int, digest: bytes, data: bytes) -> None:
        """Append a record whose payload is at hand."""
        payload, codec = data, _STORED
        if len(data) >= _TINY:
            packed = self._compressor.compress(data)
            if len(packed) < len(data):
                payload, codec = packed, _ZSTD
        self._head(kind, codec, digest, len(data), len(payload))
        self._file.write(payload)
        self.size += len(payload)

    def add_stream(self, digest: bytes, size: int, chunks: Iterable[bytes]) -> None:
        """Append an object that arrives in parts; ``chunks`` must come to ``size`` bytes, as promised.

        Its head is written last, when its length is known. If ``chunks`` raises, the file is of no more use.
        """
        start = self.size
        self._file.write(bytes(_HEAD.size))
        packer = self._compressor.compressobj(size=size)
        stored = 0
        for chunk in chunks:
            stored += self._file.write(packer.compress(chunk))
        stored += self._file.write(packer.flush())
        self._file.seek(start)
        self._head(OBJECT, _ZSTD, digest, size, stored)
        self._file.seek(0, os.SEEK_END)
        self.size += stored

    def copy(self, record: Record, payload: Iterable[bytes]) -> None:
        """Append a record of another pack as it is."""
        where = record.location
        self._head(record.kind, where.codec, record.digest, where.size, where.stored)
        self._file.writelines(payload)
        self.size += where.stored

    def finish(self) -> None:
        """Write the end record and see everything onto the disk."""
        self.size += self._file.write(_end_record(self._heads.digest(), len(self.records)))
        self._file.flush()
        os.fsync(self._file.fileno())

    def _head(self, kind: int, codec: int, digest: bytes, size: int, stored: int) -> None:
        head = _HEAD.pack(kind, codec, 0, digest, size, stored)
        self._heads.update(head)
        self.size += self._file.write(head)
        self.records.append(Record(kind, digest, Location(self.size, stored, size, codec)))


def _end_record(heads: bytes, count: int) -> bytes:
    return _HEAD.pack(_END, 0, 0, heads, count, 0)


def packed_size(records: Iterable[Record]) -> int:
    """Bytes of a pack that holds these records and no others."""
    return len(_MAGIC) + _HEAD.size + sum(_HEAD.size + record.location.stored for record in records)


def read_records(path: Path) -> Iterator[Record]:
    """The records of a pack, heads only.

    Raises:
        DamagedPackError: at the first place where the file is no pack any more; what came before is good.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        if file.read(len(_MAGIC)) != _MAGIC:
            raise DamagedPackError(f"{path} does not begin as a pack")
        heads, count, at = hashlib.sha256(), 0, len(_MAGIC)
        while True:
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                raise DamagedPackError(f"{path} is cut at byte {at}")
            kind, codec, zero, digest, size, stored = _HEAD.unpack(head)
            at += _HEAD.size
            if kind == _END:
                if head != _end_record(heads.digest(), count) or at != end:
                    raise DamagedPackError(f"{path} has a damaged record head or bytes after its end")
                return
            if kind not in {OBJECT, FACTS} or codec not in {_STORED, _ZSTD} or zero or stored > end - at:
                raise DamagedPackError(f"{path} has a damaged record head before byte {at}")
            heads.update(head)
            count += 1
            yield Record(kind, digest, Location(at, stored, size, codec))
            at += stored
            file.seek(at)


def read_object(file: int, where: Location) -> Iterator[bytes]:
    """The bytes of an object in parts, from an open pack; their digest is the caller's to check.

    Raises:
        DamagedPackError: the payload is cut, does not decompress, or is not ``where.size`` bytes.
    """
    if where.codec == _STORED or where.stored <= _CHUNK >= where.size:
        yield _whole(file, where)
        return
    made = 0
    try:
        with zstandard.ZstdDecompressor().stream_reader(cast("BinaryIO", _Payload(file, where))) as reader:
            while part := reader.read(_CHUNK):
                made += len(part)
                yield part
    except zstandard.ZstdError as error:
        raise DamagedPackError(f"a stored object does not decompress: {error}") from error
    if made != where.size:
        raise DamagedPackError(f"a stored object holds {made} bytes where {where.size} were promised")


class _Payload:
    """The payload of one record as a file to read from."""

    def __init__(self, file: int, where: Location) -> None:
        self._file = file
        self._at = where.offset
        self._end = where.offset + where.stored

    def read(self, size: int) -> bytes:
        data = _read(self._file, self._at, min(size, self._end - self._at))
        self._at += len(data)
        return data


def _whole(file: int, where: Location) -> bytes:
    payload = _read(file, where.offset, where.stored)
    if where.codec == _STORED:
        data = payload
    else:
        try:
            if zstandard.frame_content_size(payload) != where.size:  # else it decides how much is allocated
                raise DamagedPackError("a stored object's frame promises another length than its record")
            data = zstandard.ZstdDecompressor().decompress(payload, max_output_size=where.size)
        except zstandard.ZstdError as error:
            raise DamagedPackError(f"a stored object does not decompress: {error}") from error
    if len(data) != where.size:
        raise DamagedPackError(f"a stored object holds {len(data)} bytes where {where.size} were promised")
    return data


def _read(file: int, offset: int, length: int) -> bytes:
    data = os.pread(file, length, offset)
    if len(data) != length:
        raise DamagedPackError(f"a pack ends before byte {offset + length}")
    return data

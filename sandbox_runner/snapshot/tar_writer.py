"""Tar archives whose bytes depend on the tree alone: GNU format, owner 0, time 0, names as raw bytes."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator

from sandbox_runner.guest.tree_records import DIRECTORY, FILE, LINK
from sandbox_runner.snapshot.manifest import Entry
from sandbox_runner.snapshot.objects import ObjectReader

__all__ = ["BLOCK", "file_parts", "tree_parts"]

BLOCK = 512
_NAME_BYTES = 100
_OCTAL_SIZE = 8 << 30  # a size from here on is written in base 256
_TYPES = {DIRECTORY: b"5", FILE: b"0", LINK: b"2"}


def tree_parts(reader: ObjectReader, root: bytes) -> Iterator[bytes]:
    """The archive of everything below a root directory, in walk order."""
    for entry in reader.walk(root):
        yield from _entry_parts(reader, entry)
    yield bytes(2 * BLOCK)


def file_parts(name: bytes, size: int, contents: Iterable[bytes]) -> Iterator[bytes]:
    """One file of an archive."""
    yield _header(name, b"0", stat.S_IFREG | 0o644, size)
    yield from _padded(contents, size)


def _entry_parts(reader: ObjectReader, entry: Entry) -> Iterator[bytes]:
    name = entry.path + b"/" if entry.kind == DIRECTORY else entry.path
    target = reader.read(entry.digest) if entry.kind == LINK else b""
    if len(target) > _NAME_BYTES:
        yield from _long(b"K", target)
    if len(name) > _NAME_BYTES:
        yield from _long(b"L", name)
    size = entry.size if entry.kind == FILE else 0
    yield _header(name[:_NAME_BYTES], _TYPES[entry.kind], entry.mode, size, target[:_NAME_BYTES])
    if size:
        yield from _padded(reader.stream(entry.digest), size)


def _long(kind: bytes, value: bytes) -> Iterator[bytes]:
    yield _header(b"././@LongLink", kind, 0, len(value) + 1)
    yield from _padded([value + b"\0"], len(value) + 1)


def _padded(contents: Iterable[bytes], size: int) -> Iterator[bytes]:
    yield from contents
    if size % BLOCK:
        yield bytes(BLOCK - size % BLOCK)


def _header(name: bytes, kind: bytes, mode: int, size: int, target: bytes = b"") -> bytes:
    length = b"%011o\0" % size if size < _OCTAL_SIZE else b"\x80" + size.to_bytes(11, "big")
    head = b"".join(
        (
            name.ljust(100, b"\0"),
            b"%07o\0" % stat.S_IMODE(mode),
            b"0000000\0" * 2,  # owner and group
            length,
            b"00000000000\0",  # time
            b" " * 8,  # the checksum counts itself as blanks
            kind,
            target.ljust(100, b"\0"),
            b"ustar  \0",
        )
    ).ljust(BLOCK, b"\0")
    return head[:148] + b"%06o\0 " % sum(head) + head[156:]

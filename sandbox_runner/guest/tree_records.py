"""The records that carry a file tree between host and guest: one definition, used on both sides.

Every record is a fixed big-endian head followed by its variable parts; a body is records back to back.
Paths are raw bytes relative to the workspace root, components joined by ``/``, so any name travels
unchanged.

    scan    u8 kind | u8 detail | u64 size | 32 bytes SHA-256 | u32 path length | path
    want    u8 kind | u32 path length | path           a fetch request: what to send
    piece   u32 index | u8 state | u32 length | data   a fetch answer: part of the want numbered index
    put     u8 kind | u8 detail | u64 offset | u32 path length | u32 data length | path | data
    refusal u32 errno | u32 path length | path         a put answer; an empty body means all was done

Standard library only, Python 3.8 and later.
"""

from __future__ import annotations

from sandbox_runner.guest.lean import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = [
    "BODY_BYTES",
    "COMPOSED",
    "DIRECTORY",
    "END",
    "EXCLUDED",
    "FILE",
    "IGNORED",
    "LINK",
    "NOTE",
    "NOTES",
    "OMISSION",
    "PIECE_FAILED",
    "PIECE_LAST",
    "PIECE_MORE",
    "REASONS",
    "UNNAMED",
    "Piece",
    "Put",
    "Refusal",
    "Scan",
    "Want",
    "pack_piece",
    "pack_put",
    "pack_refusal",
    "pack_scan",
    "pack_want",
    "read_pieces",
    "read_puts",
    "read_refusals",
    "read_scan",
    "read_wants",
]

DIRECTORY, FILE, LINK, OMISSION, NOTE, END = b"dflone"
"""Kinds of scan record. OMISSION: ``path`` exists and was not captured, ``detail`` is a key of ``REASONS``.
NOTE: something normalised, ``detail`` is a key of ``NOTES``, ``size`` counts it, ``path`` is the first case.
END: the walk is complete, ``size`` counts the DIRECTORY, FILE, LINK and OMISSION records before it."""

EXCLUDED, IGNORED = 12, 13
"""The reasons of what was left out on request, and not because it could not be captured."""

REASONS = {
    1: "fifo",
    2: "socket",
    3: "block device",
    4: "character device",
    5: "unreadable",
    6: "larger than the limit for one file",
    7: "beyond the limit for all files together",
    8: "path longer than the limit",
    9: "vanished or changed its kind during the walk",
    10: "holds more entries, or longer names, than the limits have room for",
    11: "the limits have no room for it and what follows it in its directory",
    EXCLUDED: "named by an exclude pattern",
    IGNORED: "named by a .gitignore",
}
"""Why an entry was left out, by the number that travels (and that a snapshot's digest covers)."""

NOTES = {
    1: "hard link captured as a file of its own",
    2: "sparse file captured with its holes as zeros",
    3: "set-user-id, set-group-id or sticky bit dropped",
    4: "git index captured without stat data and caches",
    5: "git index captured as it is: not in a form that can be normalised",
    6: "unreadable mode lifted to capture the contents",
    7: "left out as well, without a line of their own",
    8: "named by an exclude pattern as well, without a line of their own",
    9: "named by a .gitignore as well, without a line of their own",
    10: "other half of a split git index left out: the index is captured in one piece",
    11: "repository of a linked working tree put together from its own directory and the common one",
}
"""What was normalised on the way, by the number that travels."""

COMPOSED = 11
"""The note of a ``.git`` that is a file in the directory and a repository in the snapshot."""

UNNAMED = {7: 0, 8: EXCLUDED, 9: IGNORED}
"""The notes that count omissions without a record of their own, and the reason these share; 0: any other."""

PIECE_MORE, PIECE_LAST, PIECE_FAILED = range(3)

BODY_BYTES = 1 << 20
"""A body is sent when it reaches this size; its last record, of 1 MiB at most, may take it past it."""

_SCAN = Struct(">BBQ32sI")
_WANT = Struct(">BI")
_PIECE = Struct(">IBI")
_PUT = Struct(">BBQII")
_REFUSAL = Struct(">II")


class Scan:
    """One thing found by a walk. ``detail`` of a FILE is 1 when its owner may execute it."""

    __slots__ = ("detail", "digest", "kind", "path", "size")

    def __init__(self, kind: int, detail: int, size: int, digest: bytes, path: bytes) -> None:
        self.kind, self.detail, self.size, self.digest, self.path = kind, detail, size, digest, path


class Want:
    """A file or link whose contents are wanted."""

    __slots__ = ("kind", "path")

    def __init__(self, kind: int, path: bytes) -> None:
        self.kind, self.path = kind, path


class Piece:
    """A part of the contents of the want with that number, in order; ``state`` is a PIECE constant."""

    __slots__ = ("data", "state", "want")

    def __init__(self, want: int, state: int, data: bytes) -> None:
        self.want, self.state, self.data = want, state, data


class Put:
    """A thing to create: a directory, a link (data: its target), or ``data`` at ``offset`` of a file."""

    __slots__ = ("data", "detail", "kind", "offset", "path")

    def __init__(self, kind: int, detail: int, offset: int, path: bytes, data: bytes) -> None:
        self.kind, self.detail, self.offset, self.path, self.data = kind, detail, offset, path, data


class Refusal:
    """The first thing of a put request that could not be created, and the errno that says why."""

    __slots__ = ("errno", "path")

    def __init__(self, errno: int, path: bytes) -> None:
        self.errno, self.path = errno, path


def pack_scan(kind: int, detail: int, size: int, digest: bytes, path: bytes) -> bytes:
    """One scan record."""
    return _SCAN.pack(kind, detail, size, digest, len(path)) + path


def pack_want(kind: int, path: bytes) -> bytes:
    """One want record."""
    return _WANT.pack(kind, len(path)) + path


def pack_piece(index: int, state: int, data: bytes) -> bytes:
    """One piece record."""
    return _PIECE.pack(index, state, len(data)) + data


def pack_put(kind: int, detail: int, offset: int, path: bytes, data: bytes) -> bytes:
    """One put record."""
    return _PUT.pack(kind, detail, offset, len(path), len(data)) + path + data


def pack_refusal(errno: int, path: bytes) -> bytes:
    """One refusal record."""
    return _REFUSAL.pack(errno, len(path)) + path


def read_scan(body: bytes) -> Iterator[Scan]:
    """The scan records of a body.

    Raises:
        ValueError: the body is no whole number of records. The same holds for every reader below.
    """
    at = 0
    while at < len(body):
        kind, detail, size, digest, length = _head(_SCAN, body, at)
        at += _SCAN.size
        yield Scan(kind, detail, size, digest, _part(body, at, length))
        at += length


def read_wants(body: bytes) -> Iterator[Want]:
    """The want records of a body."""
    at = 0
    while at < len(body):
        kind, length = _head(_WANT, body, at)
        at += _WANT.size
        yield Want(kind, _part(body, at, length))
        at += length


def read_pieces(body: bytes) -> Iterator[Piece]:
    """The piece records of a body."""
    at = 0
    while at < len(body):
        index, state, length = _head(_PIECE, body, at)
        at += _PIECE.size
        yield Piece(index, state, _part(body, at, length))
        at += length


def read_puts(body: bytes) -> Iterator[Put]:
    """The put records of a body."""
    at = 0
    while at < len(body):
        kind, detail, offset, length, size = _head(_PUT, body, at)
        at += _PUT.size
        path = _part(body, at, length)
        at += length
        yield Put(kind, detail, offset, path, _part(body, at, size))
        at += size


def read_refusals(body: bytes) -> Iterator[Refusal]:
    """The refusal records of a body."""
    at = 0
    while at < len(body):
        number, length = _head(_REFUSAL, body, at)
        at += _REFUSAL.size
        yield Refusal(number, _part(body, at, length))
        at += length


def _head(layout: Struct, body: bytes, at: int) -> tuple[Any, ...]:
    if len(body) - at < layout.size:
        raise ValueError(f"a tree record is cut in its head at byte {at}")
    return layout.unpack_from(body, at)


def _part(body: bytes, at: int, length: int) -> bytes:
    if length > len(body) - at:
        raise ValueError(f"a tree record promises {length} bytes at byte {at} and the body ends before")
    return body[at : at + length]

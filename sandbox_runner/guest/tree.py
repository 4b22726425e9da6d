"""Walk and read a file tree below one open descriptor: the guest's half of a capture.

Two request handlers (the third, do=put, stands in ``tree_fill``), each ``handler(root, header, body)``
yielding ``(header, body)`` answers. Every answer but the last of a request has ``"more": true`` in its
header, the last has ``"more": false``. Bodies hold the records of ``tree_records`` and stay near
``BODY_BYTES``.

    do=scan   header: the limits of ``Limits``, and ``lift``. Answers: scan records, parents before their
              children, the names of a directory in byte order, contents hashed here; one END record last.
    do=fetch  header: ``lift``. Body: want records, best in the order of the scan. Answers: piece records.

Runs while the guest wears the sandbox uid and nothing foreign is alive. The host runs the same code on a
user's own directory, without ``lift``. No step follows a link; special files are never opened; the walk
holds one descriptor.

Standard library only, Python 3.8 and later.
"""

from __future__ import annotations

import errno
import os
import stat
from time import monotonic

from sandbox_runner.guest import tree_records as records
from sandbox_runner.guest.git_index import is_index_path
from sandbox_runner.guest.tree_cursor import Cursor, split_path
from sandbox_runner.guest.tree_records import LINK
from sandbox_runner.guest.tree_walk import CHUNK_BYTES, Limits, chunks, normal_index, walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

__all__ = ["fetch", "scan"]

_QUIET_S = 5.0  # a part of a tree has a minute on the host's clock


def scan(root: int, header: Mapping[str, Any], _body: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Handler of do=scan.

    Raises:
        TooManyEntriesError: see ``Limits``; not with ``lift``.
        OSError: a directory was moved during the walk; not with ``lift``.
    """
    limits = Limits(**{name: int(header[name]) for name in Limits.FIELDS if name in header})
    return _batched(walk(root, limits, lift=bool(header.get("lift"))))


def fetch(
    root: int, header: Mapping[str, Any], body: bytes, *, below: int = 0
) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Handler of do=fetch. A want that cannot be read is answered by one PIECE_FAILED, without data.

    ``below`` is how many components of each path lead to what ``root`` stands for.
    """
    return _batched(_pieces(root, body, lift=bool(header.get("lift")), below=below))


def _batched(packed: Iterator[bytes]) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Records gathered into bodies; a slow walk says something all the same, so that the host waits on."""
    body = bytearray()
    sent = monotonic()
    for record in packed:
        body += record
        if len(body) >= records.BODY_BYTES or monotonic() - sent > _QUIET_S:
            yield {"more": True}, bytes(body)
            body.clear()
            sent = monotonic()
    yield {"more": False}, bytes(body)


def _pieces(root: int, body: bytes, *, lift: bool, below: int) -> Iterator[bytes]:
    cursor = Cursor(root, lift=lift)
    try:
        for index, want in enumerate(records.read_wants(body)):
            parts = split_path(want.path)
            try:
                cursor.move(parts[below:-1])
                yield from _contents(cursor, parts, want.kind, index)
            except OSError:
                yield records.pack_piece(index, records.PIECE_FAILED, b"")
    finally:
        cursor.close()


def _contents(cursor: Cursor, parts: list[bytes], kind: int, index: int) -> Iterator[bytes]:
    if kind == LINK:
        yield records.pack_piece(index, records.PIECE_LAST, os.readlink(parts[-1], dir_fd=cursor.fd))
        return
    fd = cursor.open_file(parts[-1])
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a file")
        size = found.st_size
        source = _normal_chunks(cursor, fd, size) if is_index_path(parts) else chunks(fd, size)
        last = next(source, b"")
        for chunk in source:
            yield records.pack_piece(index, records.PIECE_MORE, last)
            last = chunk
        yield records.pack_piece(index, records.PIECE_LAST, last)
    finally:
        os.close(fd)


def _normal_chunks(cursor: Cursor, fd: int, size: int) -> Iterator[bytes]:
    """The contents of what may be a git index, in the form in which it is captured."""
    normal = normal_index(cursor, fd, size)[0]
    if normal is None:
        os.lseek(fd, 0, os.SEEK_SET)
        return chunks(fd, size)
    return iter([normal[at : at + CHUNK_BYTES] for at in range(0, len(normal), CHUNK_BYTES)])

"""Fill an empty place with a tree: from a store, or straight from another source, in bounded memory."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator

from sandbox_runner.errors import WorkspaceError
from sandbox_runner.guest.tree_records import (
    BODY_BYTES,
    DIRECTORY,
    FILE,
    pack_put,
    read_refusals,
)
from sandbox_runner.snapshot.manifest import Entry
from sandbox_runner.snapshot.objects import ObjectReader
from sandbox_runner.snapshot.text import show_path
from sandbox_runner.snapshot.transfer import TreeSink

__all__ = ["fill", "put_bodies"]

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM}


def fill(reader: ObjectReader, root: bytes, sink: TreeSink) -> None:
    """Create everything below a root directory of the store in an empty sink.

    Raises:
        WorkspaceError: the sink refused an entry: no room, or something was there.
        StoreError: an object is missing or damaged; what was created by then is incomplete.
    """
    for answer in sink.put(put_bodies(put_records(reader, reader.walk(root)))):
        for refusal in read_refusals(answer):
            raise _refused(refusal.errno, refusal.path)


def put_records(reader: ObjectReader, entries: Iterable[Entry]) -> Iterator[bytes]:
    """Packed put records that create these entries."""
    for path, kind, mode, size, digest in entries:
        if kind == DIRECTORY:
            yield pack_put(DIRECTORY, 0, 0, path, b"")
        elif kind == FILE and not size:
            yield pack_put(FILE, mode >> 6 & 1, 0, path, b"")
        else:
            offset = 0
            for part in reader.stream(digest):
                yield pack_put(kind, mode >> 6 & 1 if kind == FILE else 0, offset, path, part)
                offset += len(part)


def put_bodies(packed: Iterable[bytes]) -> Iterator[bytes]:
    """Records gathered into bodies of about ``BODY_BYTES``."""
    body = bytearray()
    for record in packed:
        body += record
        if len(body) >= BODY_BYTES:
            yield bytes(body)
            body.clear()
    if body:
        yield bytes(body)


def _refused(number: int, path: bytes) -> WorkspaceError:
    if number in _NO_ROOM:
        return WorkspaceError(
            f"The workspace has no room for {show_path(path)}: {os.strerror(number)}.",
            hint="Raise workspace or workspace_inodes in the policy, or exclude what is not needed.",
        )
    return WorkspaceError(f"{show_path(path)} could not be created: {os.strerror(number)}.")

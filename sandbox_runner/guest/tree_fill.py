"""Fill an empty file tree below one open descriptor: what a run starts from.

A request handler like those of ``tree``, apart from them because every run needs it before its first call.

    do=put    Body: put records, parents first. Answer: empty, or the refusal that stopped it. Never
              overwrites and never follows a link. A large file comes as several records; the first creates
              it, each later one must begin where the file ends.

Standard library only, Python 3.8 and later.
"""

from __future__ import annotations

import errno
import os

from sandbox_runner.guest import tree_records as records
from sandbox_runner.guest.tree_cursor import Cursor, split_path
from sandbox_runner.guest.tree_records import DIRECTORY, FILE, LINK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

__all__ = ["put"]


def put(root: int, _header: Mapping[str, Any], body: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Handler of do=put."""
    refusal = b""
    cursor = Cursor(root)
    try:
        for item in records.read_puts(body):
            try:
                _create(cursor, item)
            except OSError as error:
                refusal = records.pack_refusal(error.errno or errno.EIO, item.path)
                break
    finally:
        cursor.close()
    yield {"more": False}, refusal


def _create(cursor: Cursor, item: records.Put) -> None:
    parts = split_path(item.path)
    parent, name = cursor.move(parts[:-1]), parts[-1]
    if item.kind == DIRECTORY:
        os.mkdir(name, 0o755, dir_fd=parent)
    elif item.kind == LINK:
        os.symlink(item.data, name, dir_fd=parent)
    elif item.kind == FILE:
        flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        flags |= os.O_APPEND if item.offset else os.O_CREAT | os.O_EXCL
        fd = os.open(name, flags, 0o755 if item.detail else 0o644, dir_fd=parent)
        try:
            if item.offset and os.fstat(fd).st_size != item.offset:
                raise OSError(errno.ESPIPE, "a later part does not begin where the file ends")
            _write(fd, item.data)
        finally:
            os.close(fd)
    else:
        raise ValueError(f"unknown kind of put record: {item.kind}")


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]

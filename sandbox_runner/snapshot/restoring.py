"""Write a tree of the store into a directory of the host, never through a link."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from sandbox_runner.errors import SnapshotError, WorkspaceError
from sandbox_runner.guest.tree_cursor import Cursor, split_path
from sandbox_runner.guest.tree_records import DIRECTORY, LINK
from sandbox_runner.private import make_private
from sandbox_runner.snapshot.directory import DirectorySink, open_directory
from sandbox_runner.snapshot.fill import fill
from sandbox_runner.snapshot.manifest import Entry
from sandbox_runner.snapshot.objects import ObjectReader
from sandbox_runner.snapshot.text import show_path

__all__ = ["replace_entry", "restore", "writing"]


def restore(reader: ObjectReader, root: bytes, target: Path, *, overwrite: bool) -> None:
    """Write everything below ``root`` into ``target``; see ``SnapshotStore.restore``."""
    with writing(target):
        with contextlib.suppress(FileExistsError):
            make_private(target)
        with open_directory(target) as directory:
            if overwrite:
                _overwrite(reader, root, directory)
                return
            with os.scandir(directory) as listing:
                if next(listing, None) is not None:
                    raise SnapshotError(
                        f"The directory {target} is not empty.",
                        hint="Name a new directory, or give --overwrite to replace what the snapshot has.",
                    )
            fill(reader, root, DirectorySink(directory))


def _overwrite(reader: ObjectReader, root: bytes, directory: int) -> None:
    cursor = Cursor(directory)
    try:
        for entry in reader.walk(root):
            replace_entry(reader, cursor, entry)
    finally:
        cursor.close()


def replace_entry(reader: ObjectReader, cursor: Cursor, entry: Entry) -> None:
    """Put one entry of the store in its place, whatever is there; its parent must exist.

    A file is written under a temporary name, checked, and renamed: its place holds the old or the new at
    every moment. A directory that is there stays; one in the way of a file or link is removed if it is empty.

    Raises:
        OSError: a parent is no directory (a link is none), or a directory in the way is not empty.
        StoreError: the contents are missing or damaged; the place is as it was.
    """
    parts = split_path(entry.path)
    parent, name = cursor.move(parts[:-1]), parts[-1]
    there = _kind_of(parent, name)
    if entry.kind == DIRECTORY:
        if there == stat.S_IFDIR:
            return
        if there is not None:
            os.unlink(name, dir_fd=parent)
        os.mkdir(name, 0o777, dir_fd=parent)
        return
    temporary = b".restore-" + secrets.token_hex(8).encode()
    try:
        if entry.kind == LINK:
            os.symlink(reader.read(entry.digest), temporary, dir_fd=parent)
        else:
            _write(reader, entry, parent, temporary)
        if there == stat.S_IFDIR:
            os.rmdir(name, dir_fd=parent)
        os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=parent)
        raise


@contextlib.contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turn what the operating system says about a directory being written into a WorkspaceError."""
    try:
        yield
    except OSError as error:
        named = error.filename if isinstance(error.filename, bytes) else os.fsencode(error.filename or "")
        if error.errno == errno.ENOTEMPTY:
            reason = "a directory that is not empty is in the way of a file"
        else:
            reason = error.strerror or str(error)
        raise WorkspaceError(
            f"The directory {target} cannot be written: {reason}"
            + (f" ({show_path(named)})." if named else ".")
        ) from error


def _kind_of(parent: int, name: bytes) -> int | None:
    try:
        return stat.S_IFMT(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return None


def _write(reader: ObjectReader, entry: Entry, parent: int, temporary: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(temporary, flags, entry.mode | 0o66, dir_fd=parent), "wb") as file:  # noqa: PTH123 - a descriptor
        file.writelines(reader.stream(entry.digest))

"""File access beneath one directory: opened component by component from a descriptor, never through a link.

Because nothing is ever resolved from a name that someone else may have changed meanwhile, a path can neither
leave the directory by ``..``, nor by being absolute, nor by a link, nor by a component that is swapped during
the call.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["Beneath", "UnusablePathError", "reason_of", "steps_of"]

_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # non-blocking: a FIFO must not hang us
_WRITE = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REASONS = {
    errno.ENOENT: "file not found",
    errno.EISDIR: "is a directory",
    errno.ENOTDIR: "not a directory",
    errno.ELOOP: "is a link",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "permission denied",
    errno.ENAMETOOLONG: "name too long",
}


class UnusablePathError(Exception):
    """A path that no file operation may use; the text is the reason, without the path."""


def reason_of(error: OSError, path: str) -> str:
    """Say what went wrong with ``path`` in words that hold no path of the machine."""
    if error.errno in _NO_ROOM:
        return "no space left"
    reason = _REASONS.get(error.errno or 0) or os.strerror(error.errno or 0).lower()
    return f"{reason}: {path}"


def steps_of(path: str) -> list[str]:
    """Split a relative path into its components in normal form; none for the root itself.

    Raises:
        UnusablePathError: the path is absolute, leads above the root, lies in ``.git``, or holds a NUL.
    """
    if "\0" in path:
        raise UnusablePathError("path contains NUL")
    if path.startswith("/"):
        raise UnusablePathError("path outside workspace")
    steps: list[str] = []
    for step in path.split("/"):
        if step in {"", "."}:
            continue
        if step != "..":
            steps.append(step)
        elif steps:
            steps.pop()
        else:
            raise UnusablePathError("path outside workspace")
    if any(step.lower() == ".git" for step in steps):
        raise UnusablePathError("path inside .git")
    return steps


class Beneath:
    """Reads and replaces regular files beneath one directory.

    Args:
        root: the directory; its descriptor is held until ``close``.
    """

    def __init__(self, root: Path) -> None:
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    @property
    def descriptor(self) -> int:
        """The root's descriptor; -1 once closed."""
        return self._root

    def close(self) -> None:
        """Let go of the directory. Safe to call again."""
        root, self._root = self._root, -1
        if root >= 0:
            os.close(root)

    def read(self, steps: list[str], limit: int) -> bytes:
        """Read a whole regular file.

        Raises:
            UnusablePathError: it is no regular file, or holds more than ``limit`` bytes.
            OSError: it cannot be read.
        """
        with self._parent(steps) as (parent, name):
            descriptor = os.open(name, _READ, dir_fd=parent)
        try:
            found = os.fstat(descriptor)
            _require_regular(found)
            # One byte more than allowed tells a file that grows meanwhile; a sparse one is refused unread.
            data = _read(descriptor, limit + 1) if found.st_size <= limit else None
        finally:
            os.close(descriptor)
        if data is None or len(data) > limit:
            raise UnusablePathError(f"file larger than {limit} bytes")
        return data

    def replace(self, steps: list[str], data: bytes) -> bool:
        """Create or replace a regular file, with its directories; tell whether it was there before.

        An existing file keeps its mode and, where there is no room for the new content, its content. One that
        has further names, perhaps elsewhere, is replaced by a new file: the other names keep what they had.

        Raises:
            UnusablePathError: something that is no regular file is in the way.
            OSError: it cannot be written.
        """
        with self._parent(steps, create=True) as (parent, name):
            try:
                descriptor = os.open(name, _WRITE, dir_fd=parent)
            except FileNotFoundError:
                _create(name, parent, data)
                return False
            except OSError as error:
                if error.errno == errno.ENXIO:  # a FIFO without a reader, or a socket
                    raise UnusablePathError("not a regular file") from error
                raise
            try:
                existing = os.fstat(descriptor)
                _require_regular(existing)
                if existing.st_nlink == 1:
                    _overwrite(descriptor, existing.st_size, data)
            finally:
                os.close(descriptor)
            if existing.st_nlink > 1:
                _replace_beside(name, parent, data, stat.S_IMODE(existing.st_mode) & 0o777)
            return True

    def exists(self, steps: list[str]) -> bool:
        """Whether anything has this name, a link included."""
        try:
            with self._parent(steps) as (parent, name):
                return _lookup(name, parent) is not None
        except OSError:
            return False

    @contextmanager
    def _parent(self, steps: list[str], *, create: bool = False) -> Iterator[tuple[int, str]]:
        if not steps:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        parent = self._root
        try:
            for step in steps[:-1]:
                child = _enter(step, parent, create=create)
                if parent != self._root:
                    os.close(parent)
                parent = child
            yield parent, steps[-1]
        finally:
            if parent != self._root:
                os.close(parent)


def _enter(step: str, parent: int, *, create: bool) -> int:
    try:
        return os.open(step, _STEP, dir_fd=parent)
    except FileNotFoundError:
        if not create:
            raise
    with suppress(FileExistsError):
        os.mkdir(step, dir_fd=parent)
    return os.open(step, _STEP, dir_fd=parent)


def _lookup(name: str, parent: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _require_regular(found: os.stat_result) -> None:
    if stat.S_ISREG(found.st_mode):
        return
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if stat.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    raise UnusablePathError("not a regular file")


def _read(descriptor: int, most: int) -> bytes:
    pieces = []
    while most > 0 and (piece := os.read(descriptor, min(most, 1 << 20))):
        pieces.append(piece)
        most -= len(piece)
    return b"".join(pieces)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _create(name: str, parent: int, data: bytes, mode: int | None = None) -> None:
    descriptor = os.open(name, _CREATE, 0o666, dir_fd=parent)
    try:
        _write(descriptor, data)
        if mode is not None:
            os.fchmod(descriptor, mode)
    except BaseException:
        with suppress(OSError):
            os.unlink(name, dir_fd=parent)
        raise
    finally:
        os.close(descriptor)


def _overwrite(descriptor: int, size: int, data: bytes) -> None:
    """Write in place and cut afterwards: truncating first makes some file systems flush, 50 times slower."""
    if len(data) > size:
        try:
            os.posix_fallocate(descriptor, size, len(data) - size)
        except OSError as error:
            if (
                error.errno in _NO_ROOM
            ):  # otherwise the file system cannot reserve room, and writing will tell
                os.ftruncate(descriptor, size)
                raise
    _write(descriptor, data)
    if len(data) < size:
        os.ftruncate(descriptor, len(data))


def _replace_beside(name: str, parent: int, data: bytes, mode: int) -> None:
    temporary = f".{os.urandom(8).hex()}.tmp"
    _create(temporary, parent, data, mode)
    try:
        os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=parent)
        raise

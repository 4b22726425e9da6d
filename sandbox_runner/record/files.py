"""Single files: nothing half-written looks whole, nothing hostile is followed when read."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sandbox_runner.errors import StoreError, VerificationError
from sandbox_runner.private import open_private

__all__ = [
    "AppendOnlyFile",
    "open_bounded",
    "read_bounded",
    "sha256_of",
    "store_errors",
    "sync_directory",
    "write_new",
]

_CHUNK = 1024 * 1024


@contextmanager
def store_errors(path: Path, doing: str = "write") -> Iterator[None]:
    """Turn an operating-system error about the store into a ``StoreError`` that says what to do."""
    try:
        yield
    except OSError as error:
        raise _store_error(path, doing, error) from error


def write_new(path: Path, data: bytes | Iterable[bytes], *, durable: bool = False) -> None:
    """Create or replace a file in one step: readers see the old content or the new, never a part.

    Args:
        path: the file.
        data: its whole new content; pieces of it are written as they come, never held together.
        durable: also wait until the content would survive a power cut.

    Raises:
        StoreError: nothing was changed.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")  # two threads may write one file
    with store_errors(path):
        try:
            descriptor = open_private(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            with os.fdopen(descriptor, "wb", _CHUNK) as target:
                target.writelines((data,) if isinstance(data, bytes) else data)
                target.flush()
                if durable:
                    os.fsync(descriptor)
            part.replace(path)
        except BaseException:  # also what the pieces' maker raises
            with suppress(OSError):
                part.unlink()
            raise


def sync_directory(path: Path) -> None:
    """Make the directory's entries survive a power cut."""
    with store_errors(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class AppendOnlyFile:
    """A file that grows by whole lines: each line is one write, and a line that does not fit is taken back.

    What was appended is with the kernel when ``append`` returns, so a SIGKILL leaves whole lines; ``close``
    syncs to the disk. After a failed append the file refuses more: a gap in the middle would look like
    tampering.
    """

    def __init__(self, path: Path, limit: int) -> None:
        """Create it; ``limit`` is the most bytes that its readers accept, so it does not grow past it."""
        self._path = path
        self._limit = limit
        self._size = 0
        self._broken = False
        with store_errors(path, "create"):
            self._descriptor = open_private(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND)

    def append(self, line: bytes) -> None:
        """Append one line, newline included.

        Raises:
            StoreError: the line is not in the file, and no later one will be.
        """
        if self._broken:
            raise StoreError(
                f"cannot write {self._path}: an earlier write failed, so the log was closed there"
            )
        if self._size + len(line) > self._limit:
            self._broken = True
            raise StoreError(f"{self._path} is full: its readers accept {self._limit} bytes")
        try:  # not ``store_errors``: every call comes through here twice
            _write_at_once(self._descriptor, line)
        except OSError as error:
            self._broken = True
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise _store_error(self._path, "write", error) from error
        self._size += len(line)

    def close(self) -> None:
        """Sync to the disk and close; closing twice is harmless."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        with store_errors(self._path):
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        self._broken = True


def open_bounded(path: Path, limit: int) -> int:
    """Open a regular file for reading; a link, FIFO, device or larger file is refused without being touched.

    Raises:
        VerificationError: the file is missing or none of a record's.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise VerificationError(f"{path.name} cannot be read: {error.strerror}") from error
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        raise VerificationError(f"{path.name} is no regular file")
    if facts.st_size > limit:
        os.close(descriptor)
        raise VerificationError(f"{path.name} holds {facts.st_size} bytes; at most {limit} are read")
    return descriptor


def read_bounded(path: Path, limit: int) -> bytes:
    """The whole content of a regular file of at most ``limit`` bytes; errors as ``open_bounded``."""
    with os.fdopen(open_bounded(path, limit), "rb") as source:
        data = source.read(limit + 1)
    if len(data) > limit:
        raise VerificationError(f"{path.name} grew past {limit} bytes while it was read")
    return data


def sha256_of(path: Path, limit: int) -> str:
    """SHA-256 of a regular file, read in pieces; errors as ``open_bounded``."""
    digest = hashlib.sha256()
    with os.fdopen(open_bounded(path, limit), "rb") as source:
        while piece := source.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def _store_error(path: Path, doing: str, error: OSError) -> StoreError:
    full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    return StoreError(
        f"cannot {doing} {path}: {error.strerror or error}; "
        + ("free some space there" if full else "check that the directory exists and is yours to write"),
        hint="choose another place with -o or SANDBOX_RUNNER_HOME",
    )


def _write_at_once(descriptor: int, line: bytes) -> None:
    if os.write(descriptor, line) != len(line):  # the disk took a part: it is full
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

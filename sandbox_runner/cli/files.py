"""Files that a person names: read with a limit, written whole or not at all; ``-`` is a pipe."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path

from sandbox_runner.errors import ConfigurationError, InputError, StoreError

__all__ = ["PIPE", "read_file", "write_file"]

PIPE = "-"
_LIMIT = 256 * 1024 * 1024  # bytes; the limit of a trail, the largest thing that is read whole


def read_file(name: str, what: str, *, error: type[InputError] = ConfigurationError) -> bytes:
    """The bytes of a file, or of stdin for ``-``.

    Args:
        name: as the person wrote it.
        what: "the worklog", for messages.
        error: the class for a file that is missing, unreadable, empty or too large.
    """
    try:
        if name == PIPE:
            data = sys.stdin.buffer.read(_LIMIT + 1)
        elif Path(name).is_dir():
            raise error(f"{name} is a directory; give {what} as a file")
        else:
            with Path(name).open("rb") as source:
                data = source.read(_LIMIT + 1)
    except (OSError, ValueError) as problem:  # ValueError: a name with NUL
        reason = problem.strerror if isinstance(problem, OSError) else str(problem)
        raise error(f"{what} {name} cannot be read: {reason}") from problem
    if not data:
        raise error(f"{name} is empty; give {what}")
    if len(data) > _LIMIT:
        raise error(f"{name} has more than {_LIMIT} bytes, which is the limit for {what}")
    return data


def write_file(name: str, data: bytes) -> None:
    """Write a file in one step, or to stdout for ``-``; what stood there before is replaced.

    Raises:
        StoreError: it cannot be written; nothing was changed.
    """
    if name == PIPE:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    target = Path(name)
    try:
        if target.exists() and not target.is_file():  # a device or a pipe is written to, not replaced
            with target.open("wb") as stream:
                stream.write(data)
            return
        _replace(target, data)
    except OSError as problem:
        raise StoreError(f"{name} cannot be written: {problem.strerror}") from problem


def _replace(target: Path, data: bytes) -> None:
    descriptor, part = tempfile.mkstemp(prefix=f".{target.name[:32]}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        mask = os.umask(0)
        os.umask(mask)
        Path(part).chmod(0o666 & ~mask)
        Path(part).replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(part).unlink()
        raise

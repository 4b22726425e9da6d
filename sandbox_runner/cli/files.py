"""Files that a person names: read with a limit, written whole or not at all; ``-`` is a pipe."""

from __future__ import annotations

import contextlib
import secrets
import stat
import sys
from pathlib import Path

from sandbox_runner.cli.streams import expect_reader
from sandbox_runner.errors import ConfigurationError, InputError, OutputError
from sandbox_runner.private import open_private

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
        if name == PIPE and sys.stdin is None:
            raise error(f"{what} cannot be read from stdin: it is closed")
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

    A new file is private to its owner, whatever the umask; one that is replaced keeps its mode.

    Raises:
        OutputError: it cannot be written; nothing was changed.
    """
    if name == PIPE:
        expect_reader()
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
        raise OutputError(f"{name} cannot be written: {problem.strerror}") from problem


def _replace(target: Path, data: bytes) -> None:
    part = target.parent / f".{target.name[:32]}.{secrets.token_hex(8)}"
    try:
        with open(part, "xb", opener=open_private) as stream:
            stream.write(data)
        with contextlib.suppress(FileNotFoundError):  # who made a file public meant it
            part.chmod(stat.S_IMODE(target.stat().st_mode))
        part.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise

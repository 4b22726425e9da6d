"""Directories for what is fetched and unpacked, which do not outlive their owner for long.

A process that is killed cannot remove its own. So each directory is locked as long as its owner lives, which
the kernel ends however the owner ends, and whoever makes one removes those that nobody holds.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["temporary_folder"]

_PREFIX = "sandbox-runner-scratch-"
_ATTEMPTS = 16


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """An empty directory, private to this user, that is gone at the end.

    Raises:
        OSError: it cannot be made.
    """
    _sweep()
    for _ in range(_ATTEMPTS):
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        lock = _locked(folder)
        if lock is not None:
            break
    else:
        raise BlockingIOError(f"no directory of our own can be had in {tempfile.gettempdir()}")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _sweep() -> None:
    """Remove what nobody holds; what cannot be removed is left to the next."""
    with contextlib.suppress(OSError):
        for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            lock = _locked(folder)
            if lock is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


def _locked(folder: Path) -> int | None:
    """Hold a directory of this user's; ``None`` where another does, or it is gone."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        here, there = os.fstat(lock), os.lstat(folder)  # a sweeper may have had it just before
        if here.st_uid == os.geteuid() and os.path.samestat(here, there):
            return lock
    except OSError:
        pass
    os.close(lock)
    return None

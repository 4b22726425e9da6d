"""One lock file per store: captures share it, what removes packs has it alone. Readers do not need it.

``flock`` belongs to the open file, so the kernel gives it back when a process dies, however it dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from sandbox_runner.errors import StoreError
from sandbox_runner.private import open_private

__all__ = ["store_lock"]

_POLL_SECONDS = 0.02


@contextlib.contextmanager
def store_lock(path: Path, *, exclusive: bool, seconds: float) -> Iterator[None]:
    """Hold the store's lock.

    Raises:
        StoreError: others held it for ``seconds``, or the file cannot be made.
    """
    try:
        fd = open_private(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise StoreError(f"The snapshot store {path.parent} cannot be written: {error.strerror}.") from error
    try:
        _wait(fd, path, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH, seconds)
        yield
    finally:
        os.close(fd)


def _wait(fd: int, path: Path, mode: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(fd, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                busy = "a capture is" if mode == fcntl.LOCK_EX else "gc or fsck is"
                raise StoreError(
                    f"The snapshot store {path.parent} is in use: {busy} under way; try again later."
                ) from None
            time.sleep(_POLL_SECONDS)
        else:
            return

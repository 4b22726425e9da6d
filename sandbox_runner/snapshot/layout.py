"""The files of a store, and how they come into being.

    index.sqlite      what is where; rebuilt from the packs by fsck
    packs/NAME.pack   what a capture added, immutable
    packs/NAME.tmp    a capture under way, or what a killed one left
    tags/NAME         a snapshot's digest
    lock              shared by captures, held alone by what removes packs

Everything is private to its owner: a tenant has a store of its own, because sharing objects between tenants
would tell one what another holds.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from sandbox_runner.errors import StoreError
from sandbox_runner.private import make_private, open_private
from sandbox_runner.snapshot.pack import PackWriter

__all__ = ["Layout", "NewPack", "store_errors", "sync_directory", "write_small_file"]


class Layout:
    """The paths of one store."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.index = root / "index.sqlite"
        self.lock = root / "lock"
        self.packs = root / "packs"
        self.tags = root / "tags"

    def pack(self, name: str) -> Path:
        """The file of a pack."""
        return self.packs / f"{name}.pack"

    def create(self) -> None:
        """Make the folders that are missing.

        Raises:
            StoreError: they cannot be made.
        """
        with store_errors(self.root):
            for folder in (self.root, self.packs, self.tags):
                make_private(folder)


class NewPack:
    """A pack being written. It exists under its name only after ``publish``."""

    def __init__(self, layout: Layout) -> None:
        self.name = secrets.token_hex(16)
        self._layout = layout
        self._temporary = layout.packs / f"{self.name}.tmp"
        self._file = open(self._temporary, "xb", buffering=1 << 20, opener=open_private)  # noqa: SIM115
        self.writer = PackWriter(self._file)

    def publish(self) -> None:
        """Sync the file and give it its name, for good."""
        self.writer.finish()
        self._file.close()
        self._temporary.rename(self._layout.pack(self.name))
        sync_directory(self._layout.packs)

    def discard(self) -> None:
        """Remove what was written, unless it was published."""
        with contextlib.suppress(OSError):  # closing flushes, and the disk may be full
            self._file.close()
        self._temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def store_errors(root: Path) -> Iterator[None]:
    """Turn what the operating system says about the store's files into a StoreError."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"The snapshot store {root} cannot be used: {error.strerror or error}"
            + (f" ({error.filename})." if error.filename else "."),
            hint="Nothing that was stored before is affected; free space or fix permissions and try again.",
        ) from error


def sync_directory(path: Path) -> None:
    """See the names in a directory onto the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_small_file(path: Path, data: bytes) -> None:
    """Create or replace a file, so that it holds the old bytes or the new at every moment."""
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb", opener=open_private) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)

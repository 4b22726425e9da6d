"""Reading a store: objects by digest, trees by walking their directory objects; every byte is checked."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator

from sandbox_runner.errors import StoreError
from sandbox_runner.guest.tree_records import DIRECTORY
from sandbox_runner.snapshot.index import Index, open_index
from sandbox_runner.snapshot.layout import Layout, store_errors
from sandbox_runner.snapshot.manifest import (
    Entry,
    ManifestError,
    Omission,
    decode_directory,
    decode_snapshot,
)
from sandbox_runner.snapshot.pack import DamagedPackError, Location, read_object

__all__ = ["MissingObjectError", "ObjectReader", "open_objects"]

_OPEN_PACKS = 32
_CACHED_PLACES = 100_000  # locations remembered; each is asked for once in a walk


class MissingObjectError(StoreError):
    """The store promised an object and does not hold it, or holds other bytes."""


@contextlib.contextmanager
def open_objects(layout: Layout) -> Iterator[ObjectReader]:
    """A reader of the store's objects. Takes no lock: what gc moves meanwhile is found at its new place.

    Raises:
        StoreError: the store cannot be read.
    """
    with store_errors(layout.root), open_index(layout.index) as index:
        reader = ObjectReader(layout, index)
        try:
            yield reader
        finally:
            reader.close()


class ObjectReader:
    """Objects of one store; holds a bounded number of packs open."""

    def __init__(self, layout: Layout, index: Index) -> None:
        self._layout = layout
        self.index = index
        self._files: OrderedDict[str, int] = OrderedDict()
        self._places: dict[bytes, tuple[str, Location]] = {}

    def close(self) -> None:
        """Give the descriptors back."""
        while self._files:
            os.close(self._files.popitem()[1])

    def prefetch(self, digests: Iterable[bytes]) -> None:
        """Look up where these objects are, in few statements; a hint that makes later reads cheaper."""
        if len(self._places) > _CACHED_PLACES:
            self._places.clear()
        self._places.update(self.index.locate(digests))

    def read(self, digest: bytes) -> bytes:
        """An object in one piece; for directories and other small things.

        Raises:
            MissingObjectError: the object is missing or damaged.
        """
        return b"".join(self.stream(digest))

    def stream(self, digest: bytes) -> Iterator[bytes]:
        """An object in parts of at most 1 MiB. The digest is checked when the last part has been yielded.

        Raises:
            MissingObjectError: the object is missing or damaged; bytes already yielded must not be used.
        """
        file, where = self._open(digest)
        hasher = hashlib.sha256()
        try:
            for part in read_object(file, where):
                hasher.update(part)
                yield part
        except DamagedPackError as error:
            raise _damaged(digest) from error
        if hasher.digest() != digest:
            raise _damaged(digest)

    def root(self, snapshot: bytes) -> bytes:
        """The digest of a snapshot's root directory."""
        return self.snapshot(snapshot)[0]

    def snapshot(self, snapshot: bytes) -> tuple[bytes, tuple[Omission, ...]]:
        """The digest of a snapshot's root directory, and its omissions as they are."""
        try:
            root, _, omissions = decode_snapshot(self.read(snapshot))
        except ManifestError as error:
            raise _damaged(snapshot) from error
        return root, omissions

    def children(self, directory: bytes, parent: bytes = b"") -> list[Entry]:
        """What is directly in a directory; paths begin with ``parent``."""
        try:
            return list(decode_directory(self.read(directory), parent))
        except ManifestError as error:
            raise _damaged(directory) from error

    def walk(self, root: bytes, parent: bytes = b"") -> Iterator[Entry]:
        """Everything below a directory in walk order: a directory before what is in it."""
        pending = [iter(self._listing(root, parent))]
        while pending:
            entry = next(pending[-1], None)
            if entry is None:
                pending.pop()
                continue
            yield entry
            if entry.kind == DIRECTORY:
                pending.append(iter(self._listing(entry.digest, entry.path)))

    def _listing(self, directory: bytes, parent: bytes) -> list[Entry]:
        entries = self.children(directory, parent)
        self.prefetch(entry.digest for entry in entries)
        return entries

    def _open(self, digest: bytes) -> tuple[int, Location]:
        for _ in range(3):  # gc may move an object between the look-up and the opening
            place = self._places.pop(digest, None) or self.index.locate([digest]).get(digest)
            if place is None:
                break
            name, where = place
            with contextlib.suppress(FileNotFoundError):
                return self._file(name), where
        raise MissingObjectError(
            f"The snapshot store {self._layout.root} does not hold object {digest.hex()}.",
            hint="'sandbox-runner snapshot fsck' names the snapshots that are affected.",
        )

    def _file(self, name: str) -> int:
        if name in self._files:
            self._files.move_to_end(name)
        else:
            self._files[name] = os.open(self._layout.pack(name), os.O_RDONLY | os.O_CLOEXEC)
            if len(self._files) > _OPEN_PACKS:
                os.close(self._files.popitem(last=False)[1])
        return self._files[name]


def _damaged(digest: bytes) -> MissingObjectError:
    return MissingObjectError(
        f"Object {digest.hex()} in the snapshot store is damaged.",
        hint="'sandbox-runner snapshot fsck' names the snapshots that are affected.",
    )

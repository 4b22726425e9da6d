"""Adding to a store: new objects go into one new pack, which becomes visible in one step, or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

from sandbox_runner.snapshot.facts import Note, Snapshot, pack_facts, seal_facts, unpack_facts
from sandbox_runner.snapshot.index import Index, open_index
from sandbox_runner.snapshot.layout import Layout, NewPack, store_errors
from sandbox_runner.snapshot.lock import store_lock
from sandbox_runner.snapshot.manifest import Directory, Omission, encode_snapshot
from sandbox_runner.snapshot.pack import FACTS, OBJECT

__all__ = ["Session", "Tally", "open_session"]

_GC_SECONDS = 120.0  # how long a capture waits for gc


class Tally:
    """What a capture counts."""

    def __init__(self) -> None:
        self.files = self.directories = self.links = 0
        self.omissions: list[Omission] = []
        self.notes: list[Note] = []


@contextlib.contextmanager
def open_session(layout: Layout) -> Iterator[Session]:
    """A session that adds to the store; what it wrote is gone again if it does not come to ``commit``.

    Raises:
        StoreError: the store cannot be written, or gc kept it for two minutes.
    """
    layout.create()
    with (
        store_lock(layout.lock, exclusive=False, seconds=_GC_SECONDS),
        store_errors(layout.root),
        open_index(layout.index, write=True) as index,
    ):
        pack = NewPack(layout)
        try:
            yield Session(index, pack)
        finally:
            pack.discard()


class Session:
    """Adds objects and one snapshot. Holds the store's lock, so nothing it relies on can be collected."""

    def __init__(self, index: Index, pack: NewPack) -> None:
        self._index = index
        self._pack = pack
        self._added: set[bytes] = set()

    def missing(self, digests: Iterable[bytes]) -> set[bytes]:
        """Those of the digests that neither the store nor this session holds."""
        wanted = set(digests) - self._added
        return wanted - self._index.known(wanted)

    def add(self, digest: bytes, data: bytes) -> None:
        """Store an object that is at hand; ``digest`` must be its SHA-256, checked by the caller."""
        if digest not in self._added:
            self._pack.writer.add(OBJECT, digest, data)
            self._added.add(digest)

    def add_stream(self, digest: bytes, size: int, chunks: Iterable[bytes]) -> None:
        """Store an object that arrives in parts; ``chunks`` raises where they do not make the digest."""
        self._pack.writer.add_stream(digest, size, chunks)
        self._added.add(digest)

    def add_directories(self, directories: Iterable[Directory]) -> None:
        """Store the directory objects that are new."""
        by_digest = {directory.digest: directory.data for directory in directories}
        absent = self.missing(by_digest)
        for digest, data in by_digest.items():
            if digest in absent:
                self.add(digest, data)

    def commit(self, root: Directory, tally: Tally, label: str) -> Snapshot:
        """Seal the snapshot. When this returns, it is on the disk and visible to everyone."""
        data = encode_snapshot(root, tally.omissions)
        digest = hashlib.sha256(data).digest()
        now = time.time_ns()
        if known := self._index.snapshots(digest, digest):
            self._index.touch(digest, now)
            # Notes are no part of the digest: those of this capture are what its caller asks about.
            return replace(
                unpack_facts(digest, known[0][2], captured_ns=now), stored=0, notes=tuple(tally.notes)
            )
        self.add(digest, data)
        snapshot = Snapshot(
            digest=digest.hex(),
            root=root.digest.hex(),
            captured_ns=now,
            label=label,
            files=tally.files,
            directories=tally.directories,
            links=tally.links,
            size=root.size,
            stored=self._pack.writer.size,
            omissions=tuple(sorted(tally.omissions)),
            notes=tuple(tally.notes),
        )
        facts = pack_facts(snapshot)
        self._pack.writer.add(FACTS, digest, seal_facts(facts))
        self._pack.publish()
        writer = self._pack.writer
        self._index.add_pack(self._pack.name, writer.size, writer.records, [(digest, now, facts)])
        return snapshot

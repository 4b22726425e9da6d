"""Garbage collection: keep the snapshots that are wanted and nothing else, crash-safe at every point.

Order: live objects of packs with waste are copied into a new pack, which is synced and renamed; one
transaction puts it in the old ones' place and writes down their names; their files are removed; the names
are forgotten. A kill before the transaction leaves a pack that holds copies only; after it, files whose
names are written down.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sandbox_runner.guest.tree_records import DIRECTORY
from sandbox_runner.snapshot.index import Index, open_index
from sandbox_runner.snapshot.layout import Layout, NewPack, store_errors
from sandbox_runner.snapshot.lock import store_lock
from sandbox_runner.snapshot.objects import ObjectReader
from sandbox_runner.snapshot.pack import FACTS, Record, packed_size
from sandbox_runner.snapshot.recovery import add_existing_pack, pack_names, remove_doomed, remove_temporary

__all__ = ["GcReport", "collect"]

_CAPTURE_SECONDS = 30.0  # how long gc waits for captures to end
_COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class GcReport:
    """What gc did, or with ``dry_run`` would do: digests in hexadecimal, ``freed`` bytes on the disk."""

    kept: tuple[str, ...]
    removed: tuple[str, ...]
    freed: int
    dry_run: bool


def collect(layout: Layout, *, keep_last: int, keep: Iterable[str], dry_run: bool) -> GcReport:
    """Keep the ``keep_last`` snapshots captured last and those whose digests are in ``keep``.

    Raises:
        StoreError: captures are under way, or an object of a kept snapshot is missing: then nothing is
        removed.
    """
    layout.create()
    with (
        store_lock(layout.lock, exclusive=True, seconds=_CAPTURE_SECONDS),
        store_errors(layout.root),
        open_index(layout.index, write=True) as index,
    ):
        remove_doomed(layout, index)
        remove_temporary(layout)
        for name in sorted(pack_names(layout) - index.packs().keys()):
            add_existing_pack(layout, index, name)
        wanted = set(keep)
        rows = index.snapshots()
        kept = [row[0] for place, row in enumerate(rows) if place < keep_last or row[0].hex() in wanted]
        removed = [row[0] for row in rows if row[0] not in set(kept)]
        live = _live(layout, index, kept)
        freed = _Sweep(layout, index, live, set(kept)).run(dry_run=dry_run)
    return GcReport(tuple(d.hex() for d in kept), tuple(d.hex() for d in removed), freed, dry_run)


def _live(layout: Layout, index: Index, snapshots: Sequence[bytes]) -> set[bytes]:
    """Every object that these snapshots need; a subtree that several share is walked once."""
    reader = ObjectReader(layout, index)
    try:
        live = set(snapshots)
        pending = [reader.root(snapshot) for snapshot in snapshots]
        while pending:
            directory = pending.pop()
            if directory in live:
                continue
            live.add(directory)
            for entry in reader.children(directory):
                if entry.kind == DIRECTORY:
                    pending.append(entry.digest)
                else:
                    live.add(entry.digest)
    finally:
        reader.close()
    return live


class _Sweep:
    """One pass over the packs."""

    def __init__(self, layout: Layout, index: Index, live: set[bytes], snapshots: set[bytes]) -> None:
        self._layout = layout
        self._index = index
        self._live = live
        self._snapshots = snapshots

    def run(self, *, dry_run: bool) -> int:
        wasteful: list[str] = []
        moving: list[tuple[str, list[Record]]] = []
        freed = 0
        for name, size in sorted(self._index.packs().items()):
            records = [record for record in self._index.contents(name) if self._is_wanted(record)]
            waste = size - packed_size(records) if records else size
            if waste > 0:
                freed += waste
                wasteful.append(name)
                moving.append((name, records))
        if wasteful and not dry_run:
            self._replace(wasteful, moving)
        return freed

    def _is_wanted(self, record: Record) -> bool:
        return record.digest in (self._snapshots if record.kind == FACTS else self._live)

    def _replace(self, wasteful: list[str], moving: list[tuple[str, list[Record]]]) -> None:
        new: list[tuple[str, int, list[Record]]] = []
        pack = NewPack(self._layout)
        try:
            for name, records in moving:
                self._copy(pack, name, records)
            if pack.writer.records:
                pack.publish()
                new.append((pack.name, pack.writer.size, pack.writer.records))
            facts = [row for row in self._index.snapshots() if row[0] in self._snapshots]
            self._index.replace_packs(wasteful, new, facts)
        finally:
            pack.discard()
        remove_doomed(self._layout, self._index)

    def _copy(self, pack: NewPack, name: str, records: list[Record]) -> None:
        if not records:
            return
        file = os.open(self._layout.pack(name), os.O_RDONLY | os.O_CLOEXEC)
        try:
            for record in records:
                pack.writer.copy(record, _payload(file, record))
        finally:
            os.close(file)


def _payload(file: int, record: Record) -> Iterator[bytes]:
    at, end = record.location.offset, record.location.offset + record.location.stored
    while at < end:
        part = os.pread(file, min(_COPY_BYTES, end - at), at)
        if not part:
            raise OSError("a pack ends before its last object; run fsck")
        at += len(part)
        yield part

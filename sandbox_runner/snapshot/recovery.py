"""Packs that the index does not know, and files that nobody needs: what a killed process leaves behind.

Everything here wants the store's lock for itself, so nothing it meets can belong to a living capture.
"""

from __future__ import annotations

import contextlib
import json
import os

from sandbox_runner.snapshot.facts import unseal_facts
from sandbox_runner.snapshot.index import Index
from sandbox_runner.snapshot.layout import Layout, sync_directory
from sandbox_runner.snapshot.pack import FACTS, DamagedPackError, Record, read_object, read_records

__all__ = ["add_existing_pack", "pack_names", "remove_doomed", "remove_temporary", "told_facts"]

_MAX_FACTS_BYTES = 64 << 20


def pack_names(layout: Layout) -> set[str]:
    """The packs whose files are there."""
    return {path.stem for path in layout.packs.glob("*.pack")}


def remove_temporary(layout: Layout) -> int:
    """Remove what killed captures left; returns the number of files."""
    left = [*layout.packs.glob("*.tmp"), *layout.tags.glob(".*.tmp"), *layout.root.glob("index-*.tmp*")]
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


def remove_doomed(layout: Layout, index: Index) -> None:
    """Remove the files of packs that gc replaced; first of all, lest they are taken for new ones."""
    if doomed := index.doomed():
        for name in doomed:
            layout.pack(name).unlink(missing_ok=True)
        sync_directory(layout.packs)
        index.forget_doomed(doomed)


def add_existing_pack(layout: Layout, index: Index, name: str) -> None:
    """Put a pack that was renamed but never committed into the index: its capture was complete.

    Raises:
        DamagedPackError: it is no whole pack.
    """
    path = layout.pack(name)
    records = list(read_records(path))
    index.add_pack(name, path.stat().st_size, records, told_facts(layout, name, records))


def told_facts(layout: Layout, name: str, records: list[Record]) -> list[tuple[bytes, int, bytes]]:
    """Digest, time and facts of the snapshots among a pack's records, as far as they can be read."""
    told = []
    file = os.open(layout.pack(name), os.O_RDONLY | os.O_CLOEXEC)
    try:
        for record in records:
            if record.kind != FACTS or record.location.size > _MAX_FACTS_BYTES:
                continue
            with contextlib.suppress(DamagedPackError, ValueError, KeyError, TypeError):
                packed = unseal_facts(b"".join(read_object(file, record.location)))
                told.append((record.digest, int(json.loads(packed)["captured_ns"]), packed))
    finally:
        os.close(file)
    return told

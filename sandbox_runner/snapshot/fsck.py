"""Check a store, byte by byte, and rebuild its index from what is good.

What fsck finds is a *problem* when something acknowledged is lost or in doubt, and a *remark* when it is
only what a killed process left behind. Repair takes nothing from the old index but the times of capture and
the names of packs that gc had replaced: it reads every object of every pack and keeps those whose digest is
right.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass, field

from sandbox_runner.errors import StoreError
from sandbox_runner.guest.tree_records import DIRECTORY
from sandbox_runner.snapshot.facts import unseal_facts
from sandbox_runner.snapshot.index import Index, open_index
from sandbox_runner.snapshot.layout import Layout, store_errors
from sandbox_runner.snapshot.lock import store_lock
from sandbox_runner.snapshot.manifest import ManifestError, check_omissions
from sandbox_runner.snapshot.objects import MissingObjectError, ObjectReader
from sandbox_runner.snapshot.pack import OBJECT, DamagedPackError, Record, read_object, read_records
from sandbox_runner.snapshot.recovery import pack_names, remove_doomed, remove_temporary, told_facts
from sandbox_runner.snapshot.text import show_path

__all__ = ["FsckReport", "check", "repair"]

_LOCK_SECONDS = 30.0
_Sound = dict[tuple[int, bytes], Record]  # what a pack holds that is right, by kind and digest


@dataclass(slots=True)
class FsckReport:
    """What fsck found. ``lost`` are the digests of snapshots that are not whole, hexadecimal."""

    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    packs: int = 0
    objects: int = 0
    snapshots: int = 0
    repaired: bool = False

    @property
    def ok(self) -> bool:
        """Whether nothing that was acknowledged is lost or in doubt."""
        return not self.problems and not self.lost


def check(layout: Layout) -> FsckReport:
    """Look at everything, change nothing; works on a store that cannot be written, too.

    Raises:
        StoreError: the store cannot be read at all.
    """
    report = FsckReport()
    with store_errors(layout.root):
        if not layout.packs.is_dir():
            raise StoreError(f"There is no snapshot store at {layout.root}.")
        if os.access(layout.root, os.W_OK):
            with store_lock(layout.lock, exclusive=False, seconds=_LOCK_SECONDS):
                _check(layout, report)
        else:
            _check(layout, report)
    return report


def _check(layout: Layout, report: FsckReport) -> None:
    there = pack_names(layout)
    sound = {name: _sound_records(layout, name, report) for name in sorted(there)}
    report.packs = len(there)
    for path in layout.packs.glob("*.tmp"):
        report.remarks.append(f"{path.name}: left by a capture that was killed, or of one under way")
    try:
        with open_index(layout.index) as index:
            if (opinion := index.check()) != "ok":
                report.problems.append(f"the index is damaged: {opinion}")
                return
            _compare(index, sound, report)
            _check_snapshots(layout, index, sound, report)
    except StoreError as error:
        if there or layout.index.exists():
            report.problems.append(str(error))


def _compare(index: Index, sound: dict[str, _Sound], report: FsckReport) -> None:
    known = index.packs()
    doomed = set(index.doomed())
    for name in sorted(known.keys() - sound.keys()):
        report.problems.append(f"pack {name} is missing")
    for name in sorted(sound.keys() - known.keys()):
        kind = (
            "replaced by gc and not yet removed"
            if name in doomed
            else "not in the index, of a killed capture"
        )
        report.remarks.append(f"pack {name}: {kind}")
    for name in sorted(known.keys() & sound.keys()):
        for record in index.contents(name):
            if sound[name].get((record.kind, record.digest)) != record:
                report.problems.append(f"pack {name}: object {record.digest.hex()} is missing or damaged")


def _check_snapshots(layout: Layout, index: Index, sound: dict[str, _Sound], report: FsckReport) -> None:
    good = {digest for records in sound.values() for kind, digest in records if kind == OBJECT}
    reader = ObjectReader(layout, index)
    whole: set[bytes] = set()
    try:
        for digest, _, _ in index.snapshots():
            report.snapshots += 1
            if missing := _missing(reader, index, digest, good, whole):
                report.lost.append(digest.hex())
                report.problems.append(f"snapshot {digest.hex()} is not whole: {missing}")
            elif oddity := _oddity(reader, digest):
                report.problems.append(
                    f"snapshot {digest.hex()} is not as a capture writes it: {oddity}; its tree is whole:"
                    " restore it and let gc remove the snapshot"
                )
    finally:
        reader.close()


def _missing(
    reader: ObjectReader, index: Index, snapshot: bytes, good: set[bytes], whole: set[bytes]
) -> str | None:
    """The first thing that a snapshot lacks, in words. ``whole`` remembers directories that lack nothing."""
    try:
        pending = [(b"", reader.root(snapshot))]
        seen: list[bytes] = []
        while pending:
            path, directory = pending.pop()
            if directory in whole:
                continue
            entries = reader.children(directory, path)
            seen.append(directory)
            present = index.known(entry.digest for entry in entries if entry.size) & good
            for entry in entries:
                if entry.kind == DIRECTORY:
                    pending.append((entry.path, entry.digest))
                elif entry.size and entry.digest not in present:
                    return f"the contents of {show_path(entry.path)} ({entry.digest.hex()})"
    except MissingObjectError as error:
        return str(error)
    whole.update(seen)
    return None


def _oddity(reader: ObjectReader, snapshot: bytes) -> str | None:
    """What no capture would have written about a snapshot whose tree is whole, in words."""
    try:
        check_omissions(reader.snapshot(snapshot)[1])
    except ManifestError as error:
        return str(error)
    return None


def repair(layout: Layout) -> FsckReport:
    """Check, then rebuild the index from every good object; snapshots not whole are dropped and named.

    Raises:
        StoreError: captures are under way, or the store cannot be written.
    """
    layout.create()
    with store_lock(layout.lock, exclusive=True, seconds=_LOCK_SECONDS), store_errors(layout.root):
        report = FsckReport()
        _check(layout, report)
        times = _salvage(layout)
        removed = remove_temporary(layout)
        if removed:
            report.remarks.append(f"{removed} temporary files removed")
        _rebuild(layout, times)
        after = FsckReport()
        with open_index(layout.index, write=True) as index:
            sound = {name: _sound_records(layout, name, FsckReport()) for name in pack_names(layout)}
            _check_snapshots(layout, index, sound, after)
            for digest in after.lost:
                index.forget_snapshot(bytes.fromhex(digest))
            whole = {digest.hex() for digest, _, _ in index.snapshots()}
    known = {*report.lost, *after.lost, *(digest.hex() for digest, _ in times)}
    report.lost = sorted(known - whole)  # what another pack held as well is healed
    report.repaired = True
    return report


def _salvage(layout: Layout) -> list[tuple[bytes, int]]:
    """What the old index alone knows: the times of capture; and the packs that gc wanted gone."""
    try:
        with open_index(layout.index, write=True) as index:
            remove_doomed(layout, index)
            return [(digest, captured) for digest, captured, _ in index.snapshots()]
    except StoreError:
        return []


def _rebuild(layout: Layout, times: list[tuple[bytes, int]]) -> None:
    """Build the new index beside the old and rename it into its place."""
    new = layout.index.with_name(f"index-{secrets.token_hex(8)}.tmp")
    try:
        with open_index(new, write=True) as index:
            for name in sorted(pack_names(layout)):
                records = list(_sound_records(layout, name, FsckReport()).values())
                size = layout.pack(name).stat().st_size
                index.add_pack(name, size, records, told_facts(layout, name, records))
            for digest, captured in times:
                index.touch(digest, captured)
        for suffix in ("-wal", "-shm"):  # of the old index: they would be applied to the new one
            layout.index.with_name(layout.index.name + suffix).unlink(missing_ok=True)
        new.rename(layout.index)
    finally:
        for suffix in ("", "-wal", "-shm"):
            new.with_name(new.name + suffix).unlink(missing_ok=True)


def _sound_records(layout: Layout, name: str, report: FsckReport) -> _Sound:
    """The records of a pack that hold what they promise."""
    path = layout.pack(name)
    sound: _Sound = {}
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for record in read_records(path):
            report.objects += record.kind == OBJECT
            try:
                _verify(file, record)
            except (DamagedPackError, ValueError) as error:
                report.remarks.append(f"pack {name}: {record.digest.hex()}: {error}")
            else:
                sound[record.kind, record.digest] = record
    except DamagedPackError as error:
        report.problems.append(str(error))
    finally:
        os.close(file)
    return sound


def _verify(file: int, record: Record) -> None:
    if record.kind != OBJECT:
        unseal_facts(b"".join(read_object(file, record.location)))
        return
    hasher = hashlib.sha256()
    for part in read_object(file, record.location):
        hasher.update(part)
    if hasher.digest() != record.digest:
        raise DamagedPackError("its bytes have another digest")

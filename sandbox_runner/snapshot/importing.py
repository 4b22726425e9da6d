"""From an archive's members to a snapshot: contents into the pack as they come, the tree built at the end."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from sandbox_runner.errors import SnapshotError
from sandbox_runner.guest.git_index import MAX_INDEX_BYTES, is_index_path, normalise
from sandbox_runner.guest.tree_records import DIRECTORY, FILE, LINK
from sandbox_runner.snapshot.archive import Label, open_archive, open_tar_zst, read_label
from sandbox_runner.snapshot.facts import Snapshot
from sandbox_runner.snapshot.layout import Layout
from sandbox_runner.snapshot.manifest import Directory, ManifestError, Omission, TreeBuilder, encode_snapshot
from sandbox_runner.snapshot.oci_import import open_oci
from sandbox_runner.snapshot.session import Session, Tally
from sandbox_runner.snapshot.tar_reader import TAR_PROBE, ArchiveError, Member, Readable, TarReader, is_tar
from sandbox_runner.snapshot.transfer import NAMES_BYTES, OMISSIONS_BYTES, Limits

__all__ = ["MEMORY_BYTES", "import_archive", "import_members"]

_IN_MEMORY = 1 << 20
_BATCH = 1_000  # directories stored at once
MEMORY_BYTES = 448 << 20
"""The most memory that an import takes with the default limits, bytes: ``NAMES_BYTES``, half of that for the
paths of the directories that are open at one time, a kilobyte for each of 200,000 entries, and what zstd
keeps. A label is read before and takes less (``LABEL_MEMORY``, ``DOCUMENT_MEMORY``)."""


class _Found(NamedTuple):
    kind: int
    executable: int
    size: int
    digest: bytes


_DIRECTORY = _Found(DIRECTORY, 0, 0, b"")


def import_archive(session: Session, layout: Layout, path: Path, limits: Limits, label: str) -> Snapshot:
    """Store the tree in an archive; see ``SnapshotStore.import_archive``.

    Raises:
        SnapshotError: the archive is damaged, hostile, beyond the limits, or not what its label says.
    """
    try:
        with _opened(path, limits) as (document, tar):
            said, omissions = read_label(document)
            del document
            root, tally = import_members(session, layout, TarReader(tar, limits), limits, omissions)
        _check_label(said, hashlib.sha256(encode_snapshot(root, tally.omissions)).hexdigest())
    except ArchiveError as error:
        raise SnapshotError(f"The archive {path} cannot be imported: {error}.") from error
    return session.commit(root, tally, label)


def _check_label(said: str | None, digest: str) -> None:
    if said is not None and said != digest:
        raise ArchiveError(f"it says it is snapshot {said[:64]}, and its contents are {digest}")


@contextlib.contextmanager
def _opened(path: Path, limits: Limits) -> Iterator[tuple[Label | None, Readable]]:
    """The label and the tar stream of an archive, whichever form it has."""
    if not path.is_dir():
        with open_archive(path) as file:
            if not is_tar(file.read(TAR_PROBE)):
                file.seek(0)
                with open_tar_zst(file) as found:
                    yield found
                return
    with open_oci(path, limits) as found:
        yield found


def import_members(
    session: Session, layout: Layout, tar: TarReader, limits: Limits, omissions: tuple[Omission, ...]
) -> tuple[Directory, Tally]:
    """Store everything an archive holds; returns its root directory and what was counted.

    Raises:
        ArchiveError: the archive is damaged, beyond the limits, or names something twice.
    """
    found = _Places(limits, omissions)
    for member in tar:
        if not member.path:  # the root itself
            if member.kind != "directory":
                raise ArchiveError("its root is no directory")
            continue
        found.add(member.path, _take(session, layout, tar, member, found))
    return _tree(session, found, omissions)


class _Places:
    """What an archive holds, by path: every path once, bounded by the number of entries and ``NAMES_BYTES``.

    A path stands here with NUL for ``/``, which no name holds: then the order of the bytes is walk order, and
    no name need be split for it.
    """

    def __init__(self, limits: Limits, omissions: tuple[Omission, ...]) -> None:
        self._limits = limits
        self._found: dict[bytes, _Found | None] = {}
        self._names = self._contents = 0
        omitted = sum(len(item.path) for item in omissions)
        if omitted > OMISSIONS_BYTES or len(omissions) > limits.max_entries:
            raise ArchiveError(
                f"it leaves out more than {OMISSIONS_BYTES >> 20} MiB of names"
                f" or {limits.max_entries} entries"
            )

    def add(self, path: bytes, taken: _Found) -> None:
        """Place an entry, and the directories above it that nothing else named."""
        key = path.replace(b"/", b"\0")
        known = self._put(key, taken)
        if known is not taken and not known.kind == taken.kind == DIRECTORY:
            raise ArchiveError(f"it names {path[:200]!r} twice")
        self._contents += taken.size
        if self._contents > self._limits.max_total_bytes:  # also where hard links add up to more
            raise ArchiveError("it is larger than the limits")
        while key := key.rpartition(b"\0")[0]:
            if key in self._found:  # and what is above it; that it is a directory is seen at the end
                return
            self._put(key, _DIRECTORY)

    def get(self, path: bytes) -> _Found | None:
        """What is at a path."""
        return self._found.get(path.replace(b"/", b"\0"))

    def in_order(self, omissions: tuple[Omission, ...]) -> Iterator[tuple[bytes, _Found | None]]:
        """Everything in walk order; None for what was left out.

        Raises:
            ArchiveError: something that was left out is there.
        """
        for item in omissions:
            key = item.path.replace(b"/", b"\0")
            if b"\0" in item.path or key in self._found:
                raise ArchiveError(f"its label leaves out what is there or no path: {item.path[:200]!r}")
            self._found[key] = None
        keys = sorted(self._found)
        for key in keys:
            yield key.replace(b"\0", b"/"), self._found[key]

    def _put(self, key: bytes, taken: _Found) -> _Found:
        known = self._found.setdefault(key, taken)
        if known is not taken:
            return known or taken
        self._names += len(key)
        if len(self._found) > self._limits.max_entries:
            raise ArchiveError(f"it holds more than {self._limits.max_entries} entries")
        if self._names > NAMES_BYTES:
            raise ArchiveError(f"its paths are longer than {NAMES_BYTES >> 20} MiB together")
        return taken


def _take(session: Session, layout: Layout, tar: TarReader, member: Member, found: _Places) -> _Found:
    if member.kind == "directory":
        return _DIRECTORY
    if member.kind == "hard link":
        original = found.get(member.target)
        if original is None or original.kind == DIRECTORY:
            raise ArchiveError(f"it links {member.path[:200]!r} to nothing that came before")
        return _Found(*original)
    if member.kind == "link":
        return _Found(LINK, 0, *_store(session, member.target))
    executable = int(member.executable)
    if is_index_path(member.path.split(b"/")) and member.size <= MAX_INDEX_BYTES:
        data = b"".join(tar.contents())
        return _Found(FILE, executable, *_store(session, normalise(data) or data))
    if member.size <= _IN_MEMORY:
        return _Found(FILE, executable, *_store(session, b"".join(tar.contents())))
    with tempfile.TemporaryFile(dir=layout.packs) as spool:  # its digest decides whether it is stored at all
        hasher = hashlib.sha256()
        for part in tar.contents():
            hasher.update(part)
            spool.write(part)
        digest = hasher.digest()
        if session.missing([digest]):
            spool.seek(0)
            session.add_stream(digest, member.size, _parts(spool))
    return _Found(FILE, executable, member.size, digest)


def _store(session: Session, data: bytes) -> tuple[int, bytes]:
    digest = hashlib.sha256(data).digest()
    if session.missing([digest]):
        session.add(digest, data)
    return len(data), digest


def _parts(spool: IO[bytes]) -> Iterator[bytes]:
    while part := spool.read(_IN_MEMORY):
        yield part


def _tree(session: Session, found: _Places, omissions: tuple[Omission, ...]) -> tuple[Directory, Tally]:
    tally = Tally()
    tally.omissions.extend(omissions)
    builder = TreeBuilder()
    finished: list[Directory] = []
    try:
        for path, there in found.in_order(omissions):
            if len(finished) > _BATCH:
                session.add_directories(finished)
                finished.clear()
            if there is None:
                finished += builder.omit(path)
                continue
            finished += builder.add(path, there.kind, there.executable, there.size, there.digest)
            tally.directories += there.kind == DIRECTORY
            tally.files += there.kind == FILE
            tally.links += there.kind == LINK
    except ManifestError as error:
        raise ArchiveError(str(error)) from error
    finished += builder.finish()
    session.add_directories(finished)
    return finished[-1], tally

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
from sandbox_runner.snapshot.archive import open_archive, open_tar_zst, read_label
from sandbox_runner.snapshot.facts import Snapshot
from sandbox_runner.snapshot.layout import Layout
from sandbox_runner.snapshot.manifest import Directory, ManifestError, Omission, TreeBuilder, encode_snapshot
from sandbox_runner.snapshot.oci_import import open_oci
from sandbox_runner.snapshot.session import Session, Tally
from sandbox_runner.snapshot.tar_reader import TAR_PROBE, ArchiveError, Member, Readable, TarReader, is_tar
from sandbox_runner.snapshot.transfer import Limits

__all__ = ["import_archive", "import_members"]

_IN_MEMORY = 1 << 20


class _Found(NamedTuple):
    kind: int
    executable: int
    size: int
    digest: bytes


def import_archive(session: Session, layout: Layout, path: Path, limits: Limits, label: str) -> Snapshot:
    """Store the tree in an archive; see ``SnapshotStore.import_archive``.

    Raises:
        SnapshotError: the archive is damaged, hostile, beyond the limits, or not what its label says.
    """
    try:
        with _opened(path, limits) as (document, tar):
            said, omissions = read_label(document)
            root, tally = import_members(session, layout, TarReader(tar, limits), limits, omissions)
        _check_label(said, hashlib.sha256(encode_snapshot(root, tally.omissions)).hexdigest())
    except ArchiveError as error:
        raise SnapshotError(f"The archive {path} cannot be imported: {error}.") from error
    return session.commit(root, tally, label)


def _check_label(said: str | None, digest: str) -> None:
    if said is not None and said != digest:
        raise ArchiveError(f"it says it is snapshot {said[:64]}, and its contents are {digest}")


@contextlib.contextmanager
def _opened(path: Path, limits: Limits) -> Iterator[tuple[object, Readable]]:
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
    found: dict[bytes, _Found] = {}
    for member in tar:
        if not member.path:  # the root itself
            if member.kind != "directory":
                raise ArchiveError("its root is no directory")
            continue
        taken = _take(session, layout, tar, member, found)
        known = found.setdefault(member.path, taken)
        if known is not taken and not known.kind == taken.kind == DIRECTORY:
            raise ArchiveError(f"it names {member.path[:200]!r} twice")
        _add_parents(found, member.path)
        if len(found) > limits.max_entries:
            raise ArchiveError(f"it holds more than {limits.max_entries} entries")
    return _tree(session, found, omissions)


def _add_parents(found: dict[bytes, _Found], path: bytes) -> None:
    while path := path.rpartition(b"/")[0]:
        if path in found:  # and its parents with it; that it is a directory is seen when the tree is built
            return
        found[path] = _Found(DIRECTORY, 0, 0, b"")


def _take(
    session: Session, layout: Layout, tar: TarReader, member: Member, found: dict[bytes, _Found]
) -> _Found:
    if member.kind == "directory":
        return _Found(DIRECTORY, 0, 0, b"")
    if member.kind == "hard link":
        original = found.get(member.target)
        if original is None or original.kind == DIRECTORY:
            raise ArchiveError(f"it links {member.path[:200]!r} to nothing that came before")
        return original
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


def _tree(
    session: Session, found: dict[bytes, _Found], omissions: tuple[Omission, ...]
) -> tuple[Directory, Tally]:
    tally = Tally()
    tally.omissions.extend(omissions)
    placed: list[tuple[bytes, _Found | None]] = [*found.items(), *((item.path, None) for item in omissions)]
    placed.sort(key=lambda place: place[0].split(b"/"))
    builder = TreeBuilder()
    finished: list[Directory] = []
    try:
        for path, there in placed:
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

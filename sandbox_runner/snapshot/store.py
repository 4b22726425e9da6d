"""A snapshot store: what runs left behind, kept for good and cheap. The package's front door."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from sandbox_runner.arguments import checked
from sandbox_runner.errors import SnapshotError, StoreError
from sandbox_runner.snapshot import restoring
from sandbox_runner.snapshot.applying import ApplyReport, apply
from sandbox_runner.snapshot.archive import write_tar_zst
from sandbox_runner.snapshot.capture import capture
from sandbox_runner.snapshot.collect import GcReport, collect
from sandbox_runner.snapshot.diff import TreeDiff, diff_trees
from sandbox_runner.snapshot.facts import Snapshot, unpack_facts
from sandbox_runner.snapshot.fill import fill
from sandbox_runner.snapshot.fsck import FsckReport
from sandbox_runner.snapshot.fsck import check as check_store
from sandbox_runner.snapshot.fsck import repair as repair_store
from sandbox_runner.snapshot.importing import import_archive
from sandbox_runner.snapshot.index import open_index
from sandbox_runner.snapshot.layout import Layout, store_errors
from sandbox_runner.snapshot.manifest import Entry
from sandbox_runner.snapshot.objects import ObjectReader, open_objects
from sandbox_runner.snapshot.oci_export import write_oci
from sandbox_runner.snapshot.self_running import git_directories
from sandbox_runner.snapshot.session import open_session
from sandbox_runner.snapshot.tags import Tags
from sandbox_runner.snapshot.transfer import Limits, TreeSink, TreeSource
from sandbox_runner.snapshot.unified import LineCount, line_counts, unified

__all__ = ["ExportForm", "SnapshotStore"]

ExportForm = Literal["oci", "tar.zst"]

_SHORTEST_PREFIX = 4
_HEX = frozenset("0123456789abcdef")


@checked
class SnapshotStore:
    """The snapshots of one tenant, in one directory. Safe for several threads and processes.

    Every method raises ``StoreError`` where the store itself is at fault: full disk, read-only, corrupt,
    missing objects. A snapshot is named by its digest, a unique prefix of at least four digits, or a tag.
    """

    def __init__(self, path: str | Path) -> None:
        self.layout = Layout(Path(path))
        self._tags = Tags(self.layout)

    def capture(self, source: TreeSource, *, label: str = "", limits: Limits | None = None) -> Snapshot:
        """Keep the tree of a source. When this returns the snapshot is on the disk, whole.

        An entry that cannot be captured, or is not asked for, is listed in ``omissions``. Capturing an equal
        tree again adds nothing and gives the same digest.

        Raises:
            SandboxRunnerError: of the class ``source.tree_fault``: the source contradicts itself, its limits.
        """
        with open_session(self.layout) as session:
            snapshot = capture(session, source, limits or Limits(), label)
        return self._tagged(snapshot)

    def list(self) -> list[Snapshot]:
        """All snapshots, the one captured last first."""
        if not self._exists():
            return []
        tags = self._tags.by_digest()
        with store_errors(self.layout.root), open_index(self.layout.index) as index:
            rows = index.snapshots()
        return [
            unpack_facts(digest, facts, captured_ns=captured, tags=tags.get(digest.hex(), ()))
            for digest, captured, facts in rows
        ]

    def show(self, name: str) -> Snapshot:
        """The snapshot of that name.

        Raises:
            SnapshotError: there is none, or several.
        """
        digest = self._tags.resolve(name)
        text = (digest or name).removeprefix("sha256:").lower()
        if not self._exists() or not _SHORTEST_PREFIX <= len(text) <= 64 or not set(text) <= _HEX:
            raise _unknown(name, self.layout.root)
        with store_errors(self.layout.root), open_index(self.layout.index) as index:
            rows = index.snapshots(bytes.fromhex(text.ljust(64, "0")), bytes.fromhex(text.ljust(64, "f")))
        if not rows:
            raise _unknown(name, self.layout.root)
        if len(rows) > 1:
            several = ", ".join(row[0].hex()[: len(text) + 8] for row in rows[:5])
            raise SnapshotError(
                f"The snapshot name {name} is ambiguous: {several}{' ...' if len(rows) > 5 else ''}.",
                hint="Give more digits.",
            )
        found, captured, facts = rows[0]
        return self._tagged(unpack_facts(found, facts, captured_ns=captured))

    def entries(self, name: str) -> Iterator[Entry]:
        """Everything in a snapshot, a directory before what is in it, names in byte order."""
        root = bytes.fromhex(self.show(name).root)
        with self.reading() as reader:
            yield from reader.walk(root)

    def contents(self, entry: Entry) -> Iterator[bytes]:
        """The contents of a file or the target of a link, in parts of at most 1 MiB, checked at the end."""
        with self.reading() as reader:
            yield from reader.stream(entry.digest)

    def fill(self, name: str, sink: TreeSink) -> Snapshot:
        """Create a snapshot's tree in an empty sink.

        Raises:
            SnapshotError: there is no such snapshot.
            WorkspaceError: the sink has no room for it or is not empty.
        """
        snapshot = self.show(name)
        with self.reading() as reader:
            fill(reader, reader.root(bytes.fromhex(snapshot.digest)), sink)
        return snapshot

    def restore(self, name: str, target: str | Path, *, overwrite: bool = False) -> Snapshot:
        """Write a snapshot's tree into a directory that is new or empty.

        With ``overwrite`` the directory may hold anything: what the snapshot has is replaced, what it lacks
        stays, and a link in the way is replaced and never followed.

        Raises:
            SnapshotError: there is no such snapshot, or the directory is not empty.
            WorkspaceError: the directory cannot be written.
        """
        snapshot = self.show(name)
        with self.reading() as reader:
            root = reader.root(bytes.fromhex(snapshot.digest))
            restoring.restore(reader, root, Path(target), overwrite=overwrite)
        return snapshot

    def git_directories(self, name: str) -> tuple[bytes, ...]:
        """What git takes for a repository's own directory in a snapshot; the root is an empty path.

        Its hooks and configuration may name commands, which git runs on the host once the tree is there:
        look before calling git in a tree that was restored or exported.

        Raises:
            SnapshotError: there is no such snapshot.
        """
        return git_directories(self.entries(name))

    def diff(self, old: str, new: str) -> TreeDiff:
        """What differs between two snapshots.

        Raises:
            SnapshotError: there is no such snapshot.
        """
        before, after = self.show(old), self.show(new)
        with self.reading() as reader:
            return diff_trees(reader, before, after)

    def line_counts(self, diff: TreeDiff) -> Iterator[LineCount]:
        """Lines added and removed, path by path, as for ``--stat``."""
        with self.reading() as reader:
            yield from line_counts(reader, diff)

    def unified(self, diff: TreeDiff) -> Iterator[str]:
        """The lines of a unified diff, without line ends, safe for a terminal."""
        with self.reading() as reader:
            yield from unified(reader, diff)

    def apply(
        self, base: str, final: str, target: str | Path, *, git: bool = False, dry_run: bool = False
    ) -> ApplyReport:
        """Bring what changed from ``base`` to ``final`` into a user's directory; all of it or nothing.

        Changes in what git takes for a repository's own directory, a ``.git`` or one under another name, are
        withheld unless ``git`` is given: hooks and configuration are commands. What one of the snapshots left
        out is never touched, whatever the other holds there.

        Raises:
            SnapshotError: there is no such snapshot.
            ApplyConflictError: the directory differs from the base where the run changed it.
            WorkspaceError: the directory cannot be read or written.
        """
        diff = self.diff(base, final)
        with self.reading() as reader:
            return apply(reader, diff, Path(target), git=git, dry_run=dry_run)

    def export(self, name: str, target: str | Path, *, form: ExportForm) -> Snapshot:
        """Write a snapshot to a new place: ``tar.zst`` to a file, ``oci`` to a directory or to a ``*.tar``.

        Raises:
            SnapshotError: there is no such snapshot, or the target is there already or cannot be written.
        """
        snapshot = self.show(name)
        write = {"oci": write_oci, "tar.zst": write_tar_zst}[form]
        with self.reading() as reader:
            write(reader, snapshot, Path(target))
        return snapshot

    def import_archive(
        self, source: str | Path, *, label: str = "", limits: Limits | None = None
    ) -> Snapshot:
        """Keep the tree in a ``tar.zst`` file or an OCI image (directory or ``*.tar``) of one layer.

        Raises:
            SnapshotError: the archive is damaged, hostile, beyond the limits, or not what it says it is.
        """
        with open_session(self.layout) as session:
            snapshot = import_archive(session, self.layout, Path(source), limits or Limits(), label)
        return self._tagged(snapshot)

    def gc(self, *, keep_last: int, referenced: Iterable[str] = (), dry_run: bool = False) -> GcReport:
        """Remove all but the ``keep_last`` captured last, the tagged, and the ``referenced`` (digests).

        Raises:
            StoreError: captures are under way, or a kept snapshot is not whole; then nothing was removed.
        """
        keep = {*self._tags.by_digest(), *(digest.removeprefix("sha256:") for digest in referenced)}
        return collect(self.layout, keep_last=keep_last, keep=keep, dry_run=dry_run)

    def fsck(self, *, repair: bool = False) -> FsckReport:
        """Check every byte; with ``repair`` rebuild the index from what is good, drop what is not whole."""
        return repair_store(self.layout) if repair else check_store(self.layout)

    def tag(self, name: str, tag: str) -> Snapshot:
        """Give a snapshot a name of its own, which also keeps it from gc; moves the tag where it exists.

        Raises:
            SnapshotError: there is no such snapshot, or the tag is no possible name.
        """
        return self._tags.set(tag, lambda: self.show(name))

    def untag(self, tag: str) -> None:
        """Take a tag away.

        Raises:
            SnapshotError: there is no such tag.
        """
        self._tags.remove(tag)

    @contextlib.contextmanager
    def reading(self) -> Iterator[ObjectReader]:
        """A reader of the store's objects, for several reads in a row."""
        if not self._exists():
            raise StoreError(f"There is no snapshot store at {self.layout.root}.")
        with open_objects(self.layout) as reader:
            yield reader

    def _exists(self) -> bool:
        with store_errors(self.layout.root):
            try:
                self.layout.index.stat()
            except FileNotFoundError:
                return False
            return True

    def _tagged(self, snapshot: Snapshot) -> Snapshot:
        return replace(snapshot, tags=tuple(self._tags.by_digest().get(snapshot.digest, ())))


def _unknown(name: str, root: Path) -> SnapshotError:
    return SnapshotError(
        f"There is no snapshot {name!r} in {root}.",
        hint="'sandbox-runner snapshot list' shows what there is.",
    )

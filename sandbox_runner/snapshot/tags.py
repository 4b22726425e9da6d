"""Names for snapshots: one small file each, so that they survive the loss of the index."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable

from sandbox_runner.errors import SnapshotError
from sandbox_runner.snapshot.facts import Snapshot
from sandbox_runner.snapshot.layout import Layout, store_errors, write_small_file
from sandbox_runner.snapshot.lock import store_lock

__all__ = ["Tags"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_LIKE_A_DIGEST = re.compile(r"[0-9a-f]{4,64}")
_DIGEST = re.compile(rb"[0-9a-f]{64}\n")
_TAG_BYTES = 65  # of a tag's file: a digest and a line end
_GC_SECONDS = 120.0


class Tags:
    """The tags of one store."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def set(self, tag: str, show: Callable[[], Snapshot]) -> Snapshot:
        """Point a tag at the snapshot that ``show`` finds, while gc is kept out.

        Raises:
            SnapshotError: the tag is no possible name, or could be taken for a digest.
        """
        if not _NAME.fullmatch(tag) or _LIKE_A_DIGEST.fullmatch(tag):
            raise SnapshotError(
                f"{tag!r} cannot be a tag.",
                hint="Use letters, digits, '.', '_' and '-', and not hexadecimal digits alone.",
            )
        self._layout.create()
        with (
            store_errors(self._layout.root),
            store_lock(self._layout.lock, exclusive=False, seconds=_GC_SECONDS),
        ):
            snapshot = show()
            write_small_file(self._layout.tags / tag, snapshot.digest.encode() + b"\n")
            return show()

    def remove(self, tag: str) -> None:
        """Take a tag away.

        Raises:
            SnapshotError: there is no such tag.
        """
        if self.resolve(tag) is None:
            raise SnapshotError(f"There is no tag {tag!r} in {self._layout.root}.")
        with store_errors(self._layout.root):
            (self._layout.tags / tag).unlink(missing_ok=True)

    def resolve(self, tag: str) -> str | None:
        """The digest that a tag points at, or None where there is no such tag."""
        if not _NAME.fullmatch(tag):
            return None
        with store_errors(self._layout.root):
            try:
                with (self._layout.tags / tag).open("rb") as file:
                    data = file.read(_TAG_BYTES + 1)
            except FileNotFoundError:
                return None
        return data[:64].decode() if _DIGEST.fullmatch(data) else None

    def by_digest(self) -> dict[str, tuple[str, ...]]:
        """The tags of each tagged snapshot, sorted."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        with store_errors(self._layout.root):
            names = (
                sorted(path.name for path in self._layout.tags.iterdir())
                if self._layout.tags.exists()
                else []
            )
        for name in names:
            if digest := self.resolve(name):
                found[digest].append(name)
        return {digest: tuple(tags) for digest, tags in found.items()}

"""The tree that a run's work began with, told by the host: what differs from it is the run's doing.

Commits stage what the run changed and nothing else, so the guest has to know what was there before it. The
host says so once, after the workspace is filled and before the first call: kind, executable bit and SHA-256
of every entry. Where the base is the end of an earlier run, it is the tree that *that* run began with. Of a
workspace that is a directory of the host's, shared and not filled, the guest takes it down itself.

Nothing foreign has run by then, and this is the memory of a process that foreign code cannot reach. Without
an origin the workspace began empty.

Until something foreign runs, the guest alone writes, in ways that move a file's time of change. So a file
that was not changed since the workspace was filled, or since an earlier commit looked at it, need not be read
again (``settled``). This believes the kernel's clock and no more: no program can give a file an earlier time
of change. But a file that is mapped into memory can be written without any, so once a foreign program has
run every file is read.
"""

from __future__ import annotations

from time import time_ns

from sandbox_runner.guest.lean import load
from sandbox_runner.guest.tree_records import (
    BODY_BYTES,
    DIRECTORY,
    FILE,
    LINK,
    OMISSION,
    pack_scan,
    read_scan,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from sandbox_runner.guest.context import Guest
    from sandbox_runner.guest.tree_records import Scan

__all__ = ["ORIGIN_BYTES", "REFERENCES", "Origin", "belongs", "content_of", "origin", "pack_origin"]

ORIGIN_BYTES = 256 << 20
"""Longest origin in bytes of its records: a million entries with long names."""

REFERENCES = (b"HEAD", b"packed-refs")
"""What says where a repository is, beside all that is below its ``refs``."""
_KINDS = (DIRECTORY, FILE, LINK)


class Origin:
    """Entries by path, relative to the workspace.

    Attributes:
        entries: outside of every ``.git``, and those of that name themselves.
        references: what says below a ``.git`` where its HEAD is.
        left_out: what was there, in this place or in the directory that was copied, and was not taken down.
        unknown: that in this place, with all that is below it: nothing there is the run's.
    """

    __slots__ = ("_left", "entries", "left_out", "references", "unknown")

    def __init__(self) -> None:
        self.entries: dict[bytes, bytes] = {}
        self.references: dict[bytes, bytes] = {}
        self.left_out: set[bytes] = set()
        self.unknown: set[bytes] = set()
        self._left = ORIGIN_BYTES

    def take(self, body: bytes, *, here: bool = False) -> None:
        """Take in scan records, of what is ``here`` or of what was copied.

        Raises:
            ValueError: they are none, or more than ``ORIGIN_BYTES``.
        """
        self._left -= len(body)
        if self._left < 0:
            raise ValueError(f"an origin is longer than {ORIGIN_BYTES >> 20} MiB")
        for entry in read_scan(body):
            if entry.kind == OMISSION:
                self.left_out.add(entry.path)
                if here:
                    self.unknown.add(entry.path)
            elif entry.kind not in _KINDS or not belongs(entry.path):
                continue
            elif b".git" in entry.path.split(b"/")[:-1]:
                self.references[entry.path] = content_of(entry)
            else:
                self.entries[entry.path] = content_of(entry)

    def kind(self, path: bytes) -> int:
        """The kind of what was there; 0 for nothing."""
        return self.entries.get(path, b"\0")[0]

    def changed(self, path: bytes, content: bytes) -> bool:
        """Whether what is at a path now came there by the run."""
        return self.entries.get(path) != content and not self.knows_not(path)

    def knows_not(self, path: bytes) -> bool:
        """Whether what was at a path is unknown."""
        return _is_within(path, self.unknown)

    def lacks(self, path: bytes) -> bool:
        """Whether what was at a path, if there was anything, was left out."""
        return _is_within(path, self.left_out)


def _is_within(path: bytes, places: set[bytes]) -> bool:
    """Whether a path is one of these or below one."""
    if not places:
        return False
    parts = path.split(b"/")
    return any(b"/".join(parts[:count]) in places for count in range(1, len(parts) + 1))


def belongs(path: bytes) -> bool:
    """Whether an entry at this path is part of an origin: inside a ``.git`` the references alone."""
    parts = path.split(b"/")
    if b".git" not in parts[:-1]:
        return True
    return parts[-1] in REFERENCES or b"refs" in parts[parts.index(b".git") + 1 : -1]


def content_of(entry: Scan) -> bytes:
    """What an entry is, but for its place: kind, executable bit, SHA-256."""
    return bytes((entry.kind, entry.detail)) + entry.digest


def pack_origin(entries: Iterable[tuple[int, int, bytes, bytes]]) -> Iterator[bytes]:
    """For the host: what of a tree is part of an origin, in bodies of about ``BODY_BYTES``.

    Args:
        entries: kind, executable bit, SHA-256 and path of each; of what was left out, kind and path.
    """
    body = bytearray()
    for kind, executable, digest, path in entries:
        if kind == OMISSION or belongs(path):
            body += pack_scan(kind, executable, 0, digest, path)
        if len(body) >= BODY_BYTES:
            yield bytes(body)
            body.clear()
    yield bytes(body)


def origin(guest: Guest, header: Mapping[str, Any], body: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Handler of do=origin: take in a body of records, or (``here`` in the header) what is there now.

    ``filled`` in the header says that the workspace was filled with this very tree.
    """
    if guest.origin is None:
        guest.origin = Origin()
    guest.origin.take(body)
    if header.get("filled") is True:
        guest.settled = (time_ns(), guest.origin.entries)
    if header.get("here") is True:
        # A user's own directory: nothing in it is changed so that it can be read.
        for _answer, part in load("sandbox_runner.guest.tree").scan(guest.root, _ALL, b""):
            guest.origin.take(part, here=True)
            yield {"more": True}, b""
    yield {"more": False}, b""


_ALL = {
    "max_entries": 1_000_000,
    "max_file_bytes": 1 << 50,
    "max_total_bytes": 1 << 50,
    "max_scan_bytes": ORIGIN_BYTES,
}

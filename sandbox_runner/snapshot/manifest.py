r"""What a snapshot is, byte for byte: a Merkle tree of directories, independent of everything but content.

An *object* is a byte string known by its SHA-256. All integers are big-endian and unsigned.

*Contents.* The bytes of a file, or the target of a symbolic link, as they are. One exception: a file named
``index`` below a ``.git`` that is a git index is taken in the normal form of ``guest/git_index.py`` (no stat
data, no caches), because git rewrites it without any change to the repository.

*Directory.* The line ``sandbox-runner directory 1\n``, then one record per child, sorted by name as bytes:

    u8 kind      "d" directory, "f" file, "l" symbolic link
    u16 mode     0755 for a directory, 0777 for a link; for a file 0755 if its owner may execute it, else 0644
    u64 size     length of the contents; for a directory the sum over its children
    32 bytes     SHA-256 of the contents, or of the child directory's object
    u16 length, name    1 to 65,535 bytes, any but "/" and NUL, neither "." nor ".."

*Snapshot.* The line ``sandbox-runner snapshot 1\n``, then 32 bytes SHA-256 of the root directory's object,
u64 its size, and the omissions sorted by path: u8 reason (see ``REASONS``), u32 length, path. A snapshot's
digest is the SHA-256 of this object, so a partial capture never passes for a whole one.

Nothing else enters a digest: not time, inode, owner, group, other mode bits, extended attributes, hard-link
identity, holes, or the order in which a file system lists names. Equal digests mean equal trees, subtree by
subtree.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sandbox_runner.guest.tree_records import DIRECTORY, FILE, LINK, REASONS

__all__ = [
    "Directory",
    "Entry",
    "ManifestError",
    "Omission",
    "TreeBuilder",
    "check_omissions",
    "decode_directory",
    "decode_snapshot",
    "encode_snapshot",
    "mode_of",
]

_DIRECTORY_LINE = b"sandbox-runner directory 1\n"
_SNAPSHOT_LINE = b"sandbox-runner snapshot 1\n"
_CHILD = struct.Struct(">BHQ32sH")
_ROOT = struct.Struct(">32sQ")
_OMISSION = struct.Struct(">BI")
_TYPES = {DIRECTORY: "directory", FILE: "file", LINK: "link"}


class ManifestError(ValueError):
    """Bytes or records that are no tree in the form above; the text says what is wrong."""


class Entry(NamedTuple):
    """One thing in a tree. ``path`` is relative to the tree's root, ``digest`` 32 bytes of SHA-256."""

    path: bytes
    kind: int
    mode: int
    size: int
    digest: bytes

    @property
    def executable(self) -> int:
        """1 for a file that its owner may execute, as a scan record has it."""
        return self.mode >> 6 & 1 if self.kind == FILE else 0

    @property
    def type(self) -> str:
        """``directory``, ``file`` or ``link``."""
        return _TYPES[self.kind]


@dataclass(frozen=True, slots=True, order=True)
class Omission:
    """Something that exists in the tree and was not captured; it makes the snapshot partial."""

    path: bytes
    reason: int

    @property
    def text(self) -> str:
        """The reason in words."""
        return REASONS.get(self.reason, f"for reason {self.reason}, which is unknown here")


class Directory(NamedTuple):
    """A finished directory: its object, the digest of it, and the sizes of all that is below added up."""

    digest: bytes
    data: bytes
    size: int


def mode_of(kind: int, executable: int) -> int:
    """The normalised mode of an entry."""
    if kind == LINK:
        return 0o777
    return 0o755 if kind == DIRECTORY or executable else 0o644


def decode_directory(data: bytes, parent: bytes = b"") -> Iterator[Entry]:
    """The children of a directory's object, in order; their paths begin with ``parent``.

    Raises:
        ManifestError: not a directory's object in its one valid form.
    """
    if not data.startswith(_DIRECTORY_LINE):
        raise ManifestError("no directory object")
    at, last = len(_DIRECTORY_LINE), b""
    prefix = parent + b"/" if parent else b""
    while at < len(data):
        if len(data) - at < _CHILD.size:
            raise ManifestError("a directory object is cut")
        kind, mode, size, digest, length = _CHILD.unpack_from(data, at)
        at += _CHILD.size
        name = data[at : at + length]
        at += length
        if len(name) != length or name <= last or not _is_name(name):
            raise ManifestError(f"a directory object holds a bad or misplaced name: {name!r}")
        if kind not in _TYPES or mode not in {mode_of(kind, 0), mode_of(kind, 1)}:
            raise ManifestError(f"a directory object holds a bad kind or mode: {kind}, {mode:o}")
        last = name
        yield Entry(prefix + name, kind, mode, size, digest)


def encode_snapshot(root: Directory, omissions: list[Omission]) -> bytes:
    """A snapshot's object."""
    parts = [_SNAPSHOT_LINE, _ROOT.pack(root.digest, root.size)]
    for omission in sorted(omissions):
        parts += [_OMISSION.pack(omission.reason, len(omission.path)), omission.path]
    return b"".join(parts)


def decode_snapshot(data: bytes) -> tuple[bytes, int, tuple[Omission, ...]]:
    """Root digest, size and omissions of a snapshot's object, whatever the omissions are.

    A reason that nobody knows or a wrong order takes nothing from the tree, so it does not stand in the way
    of whoever wants the tree: see ``check_omissions``.

    Raises:
        ManifestError: not a snapshot's object.
    """
    at = len(_SNAPSHOT_LINE) + _ROOT.size
    if not data.startswith(_SNAPSHOT_LINE) or len(data) < at:
        raise ManifestError("no snapshot object")
    root, size = _ROOT.unpack_from(data, len(_SNAPSHOT_LINE))
    omissions: list[Omission] = []
    while at < len(data):
        if len(data) - at < _OMISSION.size:
            raise ManifestError("a snapshot object is cut")
        reason, length = _OMISSION.unpack_from(data, at)
        at += _OMISSION.size
        path = data[at : at + length]
        at += length
        if len(path) != length:
            raise ManifestError("a snapshot object is cut in an omission")
        omissions.append(Omission(path, reason))
    return root, size, tuple(omissions)


def check_omissions(omissions: Sequence[Omission]) -> None:
    """See that omissions are in their one valid form.

    Raises:
        ManifestError: a reason is unknown, a path is twice there or out of order.
    """
    for omission in omissions:
        if omission.reason not in REASONS:
            raise ManifestError(f"it leaves something out for no known reason, {omission.reason}")
    if list(omissions) != sorted(set(omissions)):
        raise ManifestError("its omissions are out of order")


class _OpenDirectory:
    __slots__ = ("data", "last", "path", "size")

    def __init__(self, path: bytes) -> None:
        self.path = path
        self.data = bytearray(_DIRECTORY_LINE)
        self.last = b""
        self.size = 0

    def append(self, name: bytes, kind: int, mode: int, size: int, digest: bytes) -> None:
        self.data += _CHILD.pack(kind, mode, size, digest, len(name))
        self.data += name
        self.size += size


class TreeBuilder:
    """Builds directory objects from entries in walk order, and refuses any other order.

    Walk order: a directory before what is below it, siblings sorted by name as bytes. So a duplicate, a
    missing parent, a name that climbs or a second visit is impossible in what it accepts.
    """

    def __init__(self) -> None:
        self._open = [_OpenDirectory(b"")]

    def add(self, path: bytes, kind: int, executable: int, size: int, digest: bytes) -> list[Directory]:
        """Take one entry; returns the directories that are complete now.

        Raises:
            ManifestError: the path is no name in a directory that is open, or does not come in order.
        """
        name, finished = self._place(path)
        if kind == DIRECTORY:
            self._open.append(_OpenDirectory(path))
        else:
            self._open[-1].append(name, kind, mode_of(kind, executable), size, digest)
        return finished

    def omit(self, path: bytes) -> list[Directory]:
        """Take the place of an entry that was left out."""
        return self._place(path)[1]

    def finish(self) -> list[Directory]:
        """The directories that were still open; the root is the last of them."""
        finished = []
        while len(self._open) > 1:
            finished.append(self._close())
        root = self._open.pop()
        finished.append(_directory(root))
        return finished

    def _place(self, path: bytes) -> tuple[bytes, list[Directory]]:
        parent, _, name = path.rpartition(b"/")
        finished = []
        while self._open[-1].path != parent:
            if len(self._open) == 1:
                raise ManifestError(f"an entry outside the directories being walked: {path!r}")
            finished.append(self._close())
        directory = self._open[-1]
        if name <= directory.last or not _is_name(name) or path.startswith(b"/"):
            raise ManifestError(f"a bad name, or one out of order: {path!r}")
        directory.last = name
        return name, finished

    def _close(self) -> Directory:
        closed = self._open.pop()
        directory = _directory(closed)
        parent = self._open[-1]
        name = closed.path.rpartition(b"/")[2]
        parent.append(name, DIRECTORY, mode_of(DIRECTORY, 0), directory.size, directory.digest)
        return directory


def _directory(closed: _OpenDirectory) -> Directory:
    data = bytes(closed.data)
    return Directory(hashlib.sha256(data).digest(), data, closed.size)


def _is_name(name: bytes) -> bool:
    return 0 < len(name) < 1 << 16 and name not in {b".", b".."} and b"/" not in name and b"\0" not in name

"""Find and hash everything below one open directory, as scan records.

Depth first and without recursion (a tree may be deeper than the interpreter's stack), with one descriptor
held, the names of a directory in byte order, parents before children. No link is followed, no special file
is opened.

Standard library only, Python 3.8 and later.
"""

from __future__ import annotations

import errno
import os
import stat

from sandbox_runner.guest.digest import sha256
from sandbox_runner.guest.git_index import MAX_INDEX_BYTES, is_index_path, is_shared_index, normalise
from sandbox_runner.guest.tree_cursor import Cursor
from sandbox_runner.guest.tree_records import DIRECTORY, END, FILE, LINK, NOTE, OMISSION, UNNAMED, pack_scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["CHUNK_BYTES", "NO_PART", "Limits", "TooManyEntriesError", "chunks", "normal_index", "walk"]

CHUNK_BYTES = 1 << 20
"""The most that is read at once."""

NO_PART = -1
"""What ``leave_out`` says of a path that is no part of the tree at all, and so no omission either."""

_NOTHING = bytes(32)
_FIFO, _SOCKET, _BLOCK, _CHARACTER, _UNREADABLE, _FILE_LIMIT, _TOTAL_LIMIT, _PATH_LIMIT, _GONE = range(1, 10)
_NO_ROOM, _CUT = 10, 11
_HARD_LINK, _SPARSE, _SPECIAL_BITS, _INDEX_NORMALISED, _INDEX_KEPT, _LIFTED = range(1, 7)
_UNNAMED = {reason: note for note, reason in UNNAMED.items()}
_INDEX_JOINED = 10
_SPECIAL = {stat.S_IFIFO: _FIFO, stat.S_IFSOCK: _SOCKET, stat.S_IFBLK: _BLOCK, stat.S_IFCHR: _CHARACTER}
_NOT_THERE = (errno.ELOOP, errno.ENOENT, errno.ENOTDIR, errno.ENXIO, errno.ESTALE)
_OTHER = 0  # neither file, directory nor link: never opened
_REST = 1  # stands for itself and for what follows it, for which there is no room
_MAX_HARD_LINKS = 65536  # inodes remembered, so that a farm of links to one large file is hashed once
MAX_OMISSIONS, OMISSION_BYTES = 10_000, 4 << 20  # those with a record of their own; the rest is counted
MAX_REQUESTED, REQUESTED_BYTES = 1_000, 1 << 20  # the same of what was left out on request, counted apart
_RECORD_BYTES = len(pack_scan(NOTE, 0, 0, _NOTHING, b""))


class TooManyEntriesError(ValueError):
    """The tree has more entries than the limit; nothing is cut off silently."""


class Limits:
    """What a walk may meet. A file or path beyond its limit is an omission.

    Entries and the bytes of their records are reserved a directory at a time, before it is entered. In a
    sandbox a directory for which too little is left is an omission as a whole: foreign code chose how many
    there are and how long their names, and it must not choose how the run ends. On a user's own directory
    too many entries end the walk.
    """

    FIELDS = ("max_entries", "max_file_bytes", "max_path_bytes", "max_scan_bytes", "max_total_bytes")
    __slots__ = FIELDS

    def __init__(
        self,
        max_entries: int = 200_000,
        max_file_bytes: int = 1 << 30,
        max_total_bytes: int = 8 << 30,
        max_path_bytes: int = 16 << 10,
        max_scan_bytes: int = 128 << 20,
    ) -> None:
        self.max_entries = max_entries
        self.max_file_bytes = max_file_bytes
        self.max_total_bytes = max_total_bytes
        self.max_path_bytes = max_path_bytes
        self.max_scan_bytes = max_scan_bytes

    def options(self) -> dict[str, int]:
        """The limits by name, as the header of a scan carries them."""
        return {name: getattr(self, name) for name in self.FIELDS}


def walk(
    root: int,
    limits: Limits,
    *,
    lift: bool = False,
    leave_out: Callable[[bytes, bool], int] | None = None,
    known: Callable[[bytes, os.stat_result], bytes | None] | None = None,
    below: tuple[bytes, ...] = (),
) -> Iterator[bytes]:
    """The scan records of the tree below ``root``, packed.

    ``leave_out(path, is_directory)`` is asked about each path in walk order, and gives the reason to leave it
    out on request (a key of ``REASONS`` that ``UNNAMED`` has), ``NO_PART``, or 0. Such a directory is one
    omission; what is in it is not looked at. ``known(path, stat)`` gives the SHA-256 of a file where that is
    known without reading it. ``below`` are the components of the place in the tree that ``root`` stands for.
    """
    walker = _Walk(root, limits, lift=lift, leave_out=leave_out, known=known, below=below)
    try:
        yield from walker.run()
    finally:
        walker.cursor.close()


class _Room:
    """Room for the paths of omissions: so many, of so many bytes together."""

    def __init__(self, count: int, size: int) -> None:
        self._count, self._size = count, size

    def takes(self, path: bytes) -> bool:
        """Whether there is room for one more; once there is not, there never is again."""
        self._count -= 1
        self._size -= len(path)
        return self._count >= 0 and self._size >= 0


class _Walk:
    """The state of one walk: where it is, what it has counted, which inodes it has seen."""

    def __init__(
        self,
        root: int,
        limits: Limits,
        *,
        lift: bool,
        leave_out: Callable[[bytes, bool], int] | None,
        known: Callable[[bytes, os.stat_result], bytes | None] | None,
        below: tuple[bytes, ...],
    ) -> None:
        self.cursor = Cursor(root, lift=lift)
        self._limits = limits
        self._leave_out = leave_out
        self._known = known
        self._parts: list[bytes] = list(below)
        self._lift = lift
        self._lost = 0  # why the cursor could not go on: from then on nothing is opened
        self._entries = self._reserved = self._reserved_bytes = 0
        self._omitted = _Room(MAX_OMISSIONS, OMISSION_BYTES)
        self._requested = _Room(MAX_REQUESTED, REQUESTED_BYTES)
        self._bytes = 0
        self._inodes: dict[tuple[int, int], tuple[int, bytes]] = {}
        self._notes: dict[int, tuple[int, bytes]] = {}
        self._whole: list[bool] = []  # of each open directory, whether its index was taken in one piece

    def run(self) -> Iterator[bytes]:
        """Depth first, without recursion: a tree may be deeper than the interpreter's stack."""
        pending = [iter(self._listing(b"") or ())]
        self._whole = [False]
        while pending:
            found = next(pending[-1], None)
            if found is None:
                pending.pop()
                self._whole.pop()
                if pending:
                    self._ascend()
                    self._parts.pop()
                continue
            name, kind = found
            self._parts.append(name)
            path = b"/".join(self._parts)
            listing = None
            requested = self._leave_out(path, kind == DIRECTORY) if self._leave_out else 0
            if requested:
                record = self._omission(requested, path)
            elif kind == DIRECTORY and not self._lost and len(path) <= self._limits.max_path_bytes:
                record, listing = self._enter(name, path)
            else:
                record = self._entry(name, kind, path)
            if record:
                self._entries += 1
                yield record
            if listing is None:
                self._parts.pop()
            else:
                pending.append(iter(listing))
                self._whole.append(False)
        if self.cursor.lifted:
            self._notes[_LIFTED] = (self.cursor.lifted, b"")
        for code, (count, path) in sorted(self._notes.items()):
            yield pack_scan(NOTE, code, count, _NOTHING, path)
        yield pack_scan(END, 0, self._entries, _NOTHING, b"")

    def _ascend(self) -> None:
        """Back to the parent. Where that fails in a sandbox, all that is known by name becomes omissions."""
        if self._lost:
            return
        try:
            self.cursor.ascend()
        except OSError as error:
            if not self._lift:
                raise
            self._lost = _why(error)

    def _listing(self, path: bytes) -> list[tuple[bytes, int]] | None:
        """The names of the open directory, in order, with their kinds; ``None`` if there is no room for them.

        Of the root there are as many as there is room for, and the first for which there is none.
        """
        room = self._limits.max_entries - self._reserved
        bytes_left = self._limits.max_scan_bytes - self._reserved_bytes
        each = _RECORD_BYTES + len(path) + 1
        found: list[tuple[bytes, int]] = []
        size, over = 0, False
        with os.scandir(self.cursor.fd) as listing:
            for item in listing:
                if len(found) >= room and not self._lift:
                    raise TooManyEntriesError(f"more than {self._limits.max_entries} entries")
                name = os.fsencode(item.name)
                found.append((name, _kind(item)))
                size += each + len(name)
                over = over or len(found) > room or size > bytes_left
                if over and path and self._lift:
                    return None
                if len(found) > 2 * room or size > 2 * bytes_left:
                    found, size = _first(found, room, bytes_left, each)
        if over and self._lift:
            found, size = _first(found, room, bytes_left, each)
        found.sort()
        self._reserved += len(found)
        self._reserved_bytes += size
        return found

    def _enter(self, name: bytes, path: bytes) -> tuple[bytes, list[tuple[bytes, int]] | None]:
        """Go into a directory, if it can be entered and there is room for what is in it."""
        try:
            found = self.cursor.descend(name)
        except OSError as error:
            return self._omission(_why(error), path), None
        try:
            listing = self._listing(path)
            reason = _NO_ROOM
        except OSError as error:
            if not self._lift:
                raise
            listing, reason = None, _why(error)
        if listing is None:
            self._ascend()
            return self._omission(reason, path), None
        if found.st_mode & 0o7000:
            self._note(_SPECIAL_BITS, path)
        return pack_scan(DIRECTORY, 0, 0, _NOTHING, path), listing

    def _entry(self, name: bytes, kind: int, path: bytes) -> bytes:
        if len(path) > self._limits.max_path_bytes:
            return self._omission(_PATH_LIMIT, path)  # whole: it is longer by one name at most
        if self._lost or kind == _REST:
            return self._omission(self._lost or _CUT, path)
        try:
            if kind == LINK:
                target = os.readlink(name, dir_fd=self.cursor.fd)
                return pack_scan(LINK, 0, len(target), sha256.new(target).digest(), path)
            if kind == FILE:
                return self._known_file(name, path) or self._file(name, path)
            found = os.stat(name, dir_fd=self.cursor.fd, follow_symlinks=False)
            return self._omission(_SPECIAL.get(stat.S_IFMT(found.st_mode), _GONE), path)
        except OSError as error:
            return self._omission(_why(error), path)

    def _known_file(self, name: bytes, path: bytes) -> bytes:
        """The record of a file that need not be read; nothing where it must be."""
        if self._known is None:
            return b""
        found = os.stat(name, dir_fd=self.cursor.fd, follow_symlinks=False)
        digest = self._known(path, found) if stat.S_ISREG(found.st_mode) else None
        if digest is None:
            return b""
        return pack_scan(FILE, found.st_mode >> 6 & 1, found.st_size, digest, path)

    def _file(self, name: bytes, path: bytes) -> bytes:
        if self._whole[-1] and is_shared_index(self._parts):
            self._note(_INDEX_JOINED, path)
            return b""
        fd = self.cursor.open_file(name)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                return self._omission(_GONE, path)
            if found.st_size > self._limits.max_file_bytes:
                return self._omission(_FILE_LIMIT, path)
            if self._bytes + found.st_size > self._limits.max_total_bytes:
                return self._omission(_TOTAL_LIMIT, path)
            size, digest = self._hashed(fd, found, path)
        finally:
            os.close(fd)
        if size > self._limits.max_file_bytes:  # it grew under our hands
            return self._omission(_FILE_LIMIT, path)
        self._bytes += size
        if found.st_mode & 0o7000:
            self._note(_SPECIAL_BITS, path)
        if found.st_blocks * 512 + 4096 <= found.st_size:
            self._note(_SPARSE, path)
        return pack_scan(FILE, found.st_mode >> 6 & 1, size, digest, path)

    def _hashed(self, fd: int, found: os.stat_result, path: bytes) -> tuple[int, bytes]:
        """Size and digest of an open file, in the form in which it is captured."""
        if is_index_path(self._parts):
            data, code = normal_index(self.cursor, fd, found.st_size)
            self._whole[-1] = data is not None  # its name comes before that of its other half
            if code:
                self._note(code, path)
            if data is not None:
                return len(data), sha256.new(data).digest()
            os.lseek(fd, 0, os.SEEK_SET)
        inode = (found.st_dev, found.st_ino)
        if found.st_nlink > 1 and inode in self._inodes:
            self._note(_HARD_LINK, path)
            return self._inodes[inode]
        hasher = sha256.new(size=found.st_size)
        size = 0
        for chunk in chunks(fd, found.st_size):
            hasher.update(chunk)
            size += len(chunk)
            if size > self._limits.max_file_bytes:
                break
        if found.st_nlink > 1 and len(self._inodes) < _MAX_HARD_LINKS:
            self._inodes[inode] = (size, hasher.digest())
        return size, hasher.digest()

    def _omission(self, reason: int, path: bytes) -> bytes:
        """The record of something left out; none once there are too many, which a note counts."""
        if reason == NO_PART:
            return b""
        requested = reason in _UNNAMED
        if not (self._requested if requested else self._omitted).takes(path):
            self._note(_UNNAMED[reason if requested else 0], path)
            return b""
        return pack_scan(OMISSION, reason, 0, _NOTHING, path)

    def _note(self, code: int, path: bytes) -> None:
        count, first = self._notes.get(code, (0, path))
        self._notes[code] = (count + 1, first)


def _kind(item: os.DirEntry[str]) -> int:
    if item.is_symlink():
        return LINK
    if item.is_dir(follow_symlinks=False):
        return DIRECTORY
    return FILE if item.is_file(follow_symlinks=False) else _OTHER


def _first(
    found: list[tuple[bytes, int]], room: int, bytes_left: int, each: int
) -> tuple[list[tuple[bytes, int]], int]:
    """The first names, in order, for which there is room, and one more that stands for all the rest."""
    found.sort()
    size, count = 0, 0
    for name, _kind_of in found:
        if count >= room - 1 or size + each + len(name) > bytes_left:
            break
        size += each + len(name)
        count += 1
    return [*found[:count], (found[count][0], _REST)], size


def _why(error: OSError) -> int:
    return _GONE if error.errno in _NOT_THERE else _UNREADABLE


def normal_index(cursor: Cursor, fd: int, size: int) -> tuple[bytes | None, int]:
    """A git index in normal form, if the open file is one; and the note that belongs to it, or 0.

    The other half of a split index is looked for where the cursor is.
    """
    if size > MAX_INDEX_BYTES:
        return None, _INDEX_KEPT
    data = b"".join(chunks(fd, size, MAX_INDEX_BYTES + 1))
    if data[:4] != b"DIRC":
        return None, 0
    normal = normalise(data, lambda name: _beside(cursor, name))
    return normal, _INDEX_KEPT if normal is None else _INDEX_NORMALISED


def _beside(cursor: Cursor, name: bytes) -> bytes | None:
    """A regular file where the cursor is; ``None`` where there is none, or it is too large for an index."""
    try:
        fd = cursor.open_file(name)
    except OSError:
        return None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_INDEX_BYTES:
            return None
        return b"".join(chunks(fd, found.st_size, MAX_INDEX_BYTES + 1))
    except OSError:
        return None
    finally:
        os.close(fd)


def chunks(fd: int, size: int, limit: int | None = None) -> Iterator[bytes]:
    """The contents of an open file, read in parts; stops near ``limit``, where one is given.

    Asks for one byte more than the ``size`` that is expected, so that a small file takes one read.
    """
    got = 0
    while limit is None or got < limit:
        chunk = os.read(fd, min(CHUNK_BYTES, max(size - got, 0) + 1))
        got += len(chunk)
        if chunk:
            yield chunk
        if not chunk or got == size:
            return

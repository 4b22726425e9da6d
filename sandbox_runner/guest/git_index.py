"""A git index without what differs between equal trees.

The index remembers, for every file, what ``lstat`` said when git last looked: change and modification time,
device, inode, owner, group, and a size that git zeroes when it was in doubt. None of it is content; all of
it differs from one copy of a tree to the next. It also carries caches that depend on the commands that were
run and on the machine. ``normalise`` returns the same index

* with the ten 32-bit stat words of every entry but the mode set to zero, which is what ``git read-tree``
  leaves: git looks at the files again at its next command and finds them unchanged;
* with every path of a version 4 as short as it can be: git starts anew at places that depend on how many
  processors there are;
* without the optional extensions that are caches: TREE (cache tree), UNTR (untracked files), FSMN (file
  system monitor), EOIE and IEOT (offset tables);
* in one piece. Of a *split index* most entries stand in a second file, ``sharedindex.CHECKSUM``, and what is
  in which half, and the checksum with it, depend on stat data. The halves are put together as git does when
  it reads them, and the second one is no part of the tree any more;
* with its trailing checksum computed anew (or all zero, where ``index.skipHash`` left it so).

Versions 2, 3 and 4, of SHA-1 and SHA-256 repositories, full and sparse. Format: git's
``gitformat-index(5)``. Anything else (a lost or damaged second half, an unknown mandatory extension, a broken
file) is returned as None and stays as it is.

Standard library only, Python 3.8 and later.
"""

from __future__ import annotations

from sandbox_runner.guest.digest import constructor, sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["MAX_INDEX_BYTES", "is_index_path", "is_shared_index", "normalise"]

MAX_INDEX_BYTES = 64 << 20
"""A larger index (some half a million files), or half of one, is left as it is."""

_MAX_JOINED = 1 << 18  # entries of a split index; with more it is left as it is, for each takes some memory
_MAX_PATHS = 32 << 20  # bytes of all paths of a half together
_MAX_PATH = 1 << 12  # bytes of a path of version 4, where few bytes can stand for many long paths

_sha1 = constructor("sha1", ("_sha1", "hashlib"))
_CACHES = (b"TREE", b"UNTR", b"FSMN", b"EOIE", b"IEOT")
_SPLIT, _SPARSE = b"link", b"sdir"  # lower case: must be understood
_STAT_HEAD, _MODE_END, _STAT_END = 24, 28, 40  # ctime, mtime, dev, ino | mode | uid, gid, size
_NO_HEAD, _NO_OWNER = bytes(_STAT_HEAD), bytes(_STAT_END - _MODE_END)
_EXTENDED, _LENGTH = 0x4000, 0xFFF
_SHARED, _HEX = b"sharedindex.", frozenset(b"0123456789abcdef")
_SHA1_WIDTH, _WORD = 20, 8


class _MalformedIndexError(ValueError):
    pass


def is_index_path(parts: list[bytes]) -> bool:
    """Whether a path can be a repository's index: a file ``index`` somewhere below a ``.git``."""
    return parts[-1] == b"index" and b".git" in parts[:-1]


def is_shared_index(parts: list[bytes]) -> bool:
    """Whether a path can be the second half of a split index."""
    name = parts[-1]
    return (
        name.startswith(_SHARED)
        and len(name) - len(_SHARED) in (40, 64)
        and _HEX.issuperset(name[len(_SHARED) :])
        and b".git" in parts[:-1]
    )


def normalise(data: bytes, shared: Callable[[bytes], bytes | None] | None = None) -> bytes | None:
    """The index without stat data and caches, or None where it is in no form this can be done to.

    Args:
        data: the index.
        shared: the contents of a file beside it, by name, None where it cannot be had; at most
            ``MAX_INDEX_BYTES`` and one byte. Without it a split index is left as it is.
    """
    for new, width in ((_sha1, _SHA1_WIDTH), (sha256.new, 32)):
        seal = data[-width:]
        unsealed = seal == bytes(width)  # index.skipHash
        if not unsealed and new(data[:-width]).digest() != seal:
            continue
        try:
            body = _Index(data, width).normal(shared)
        except _MalformedIndexError:
            continue
        return body + (seal if unsealed else new(body).digest())
    return None


class _Index:
    """An index file whose checksum has been looked at: a whole one, or one half of a split index."""

    def __init__(self, data: bytes, width: int) -> None:
        self._data = data
        self._width = width
        self._end = len(data) - width
        self._version, self._count = self._number(4), self._number(8)
        if data[:4] != b"DIRC" or self._version not in (2, 3, 4):
            raise _MalformedIndexError

    def normal(self, shared: Callable[[bytes], bytes | None] | None) -> bytes:
        """It in normal form, without the checksum."""
        out, at = self._compact() if self._version == 4 else self._zeroed()
        kept, link = self._extensions(at)
        if link is not None:
            out = self._joined(self._other_half(link[: self._width], shared), link[self._width :])
        return bytes(out) + kept

    # -- one file -------------------------------------------------------------------------------------------

    def _zeroed(self) -> tuple[bytearray, int]:
        """Head and entries without stat data, and where they end; before version 4."""
        out = bytearray(self._data[: self._end])
        at = 12
        for _ in range(self._count):
            path_at = self._path_at(at)
            end = self._data.find(0, path_at, self._end)
            next_at = at + (end - at + 8) // 8 * 8
            if end < 0 or next_at > self._end:
                raise _MalformedIndexError
            out[at : at + _STAT_HEAD] = _NO_HEAD
            out[at + _MODE_END : at + _STAT_END] = _NO_OWNER
            at = next_at
        del out[at:]
        return out, at

    def _compact(self) -> tuple[bytearray, int]:
        """The same for version 4, which says of each path only what differs from the one before."""
        out = bytearray(self._data[:12])
        at, last = 12, b""
        for head, path, end in self._entries():
            _put_path(out, head, last, path)
            at, last = end, path
        return out, at

    def _entries(self) -> Iterator[tuple[bytes, bytes, int]]:
        """Of each entry what stands before its path, without stat data; the path; where the entry ends."""
        at, path = 12, b""
        for _ in range(self._count):
            path_at = self._path_at(at)
            head = _NO_HEAD + self._data[at + _STAT_HEAD : at + _MODE_END] + _NO_OWNER
            head += self._data[at + _STAT_END : path_at]
            if self._version == 4:
                drop, path_at = self._varint(path_at)
                if drop > len(path):
                    raise _MalformedIndexError
                path = path[: len(path) - drop]
            else:
                path = b""
            end = self._data.find(0, path_at, self._end)
            if end < 0 or len(path) + end - path_at > _MAX_PATH:
                raise _MalformedIndexError
            path += self._data[path_at:end]
            at = end + 1 if self._version == 4 else at + (end - at + 8) // 8 * 8
            yield head, path, at

    def _path_at(self, start: int) -> int:
        """Where the path of the entry at ``start`` begins."""
        flags_at = start + _STAT_END + self._width
        if not self._number(flags_at, 2) & _EXTENDED:
            return flags_at + 2
        if self._version == 2:
            raise _MalformedIndexError
        return flags_at + 4

    def _extensions(self, at: int) -> tuple[bytes, bytes | None]:
        """The extensions that stay; and the one that names the other half, if there is one."""
        kept, link = [], None
        while at < self._end:
            name, size = self._data[at : at + 4], self._number(at + 4)
            end = at + 8 + size
            if end > self._end or not (name[:1].isupper() or name in (_SPLIT, _SPARSE)):
                raise _MalformedIndexError
            if name == _SPLIT:
                link = self._data[at + 8 : end]
            elif name not in _CACHES:
                kept.append(self._data[at:end])
            at = end
        return b"".join(kept), link

    def _number(self, at: int, width: int = 4) -> int:
        if at + width > self._end:
            raise _MalformedIndexError
        return int.from_bytes(self._data[at : at + width], "big")

    def _varint(self, at: int) -> tuple[int, int]:
        """How much of the path before to drop, and where what comes instead begins."""
        byte = self._number(at, 1)
        value = byte & 0x7F
        while byte & 0x80:
            at += 1
            byte = self._number(at, 1)
            value = (value + 1 << 7) + (byte & 0x7F)
            if value > _MAX_PATH:
                raise _MalformedIndexError
        return value, at + 1

    # -- two files ------------------------------------------------------------------------------------------

    def _other_half(self, checksum: bytes, shared: Callable[[bytes], bytes | None] | None) -> _Index:
        data = shared(_SHARED + checksum.hex().encode()) if shared and checksum else None
        if data is None or len(data) > MAX_INDEX_BYTES or data[-self._width :] != checksum:
            raise _MalformedIndexError
        new = _sha1 if self._width == _SHA1_WIDTH else sha256.new
        if new(data[: -self._width]).digest() != checksum:
            raise _MalformedIndexError
        return _Index(data, self._width)

    def _joined(self, base: _Index, bitmaps: bytes) -> bytearray:
        """Head and entries of both halves: entries of the base go, are replaced, and others are added."""
        if self._count + base._count > _MAX_JOINED:
            raise _MalformedIndexError
        gone, at = _bits(bitmaps, 0, base._count) if bitmaps else ([], 0)
        replaced, at = _bits(bitmaps, at, base._count) if bitmaps else ([], 0)
        if at != len(bitmaps):
            raise _MalformedIndexError
        below = list(_within(base._entries()))
        above = list(_within(self._entries()))
        if len(replaced) > len(above) or any(path for _, path in above[: len(replaced)]):
            raise _MalformedIndexError
        for position, (head, _) in zip(replaced, above):  # noqa: B905 - the guest's Python may lack strict=
            below[position] = head, below[position][1]
        dropped = set(gone)
        found = {
            (path, self._stage(head)): head
            for position, (head, path) in enumerate(below)
            if position not in dropped
        }
        for head, path in above[len(replaced) :]:
            stage = self._stage(head)
            if not path:
                raise _MalformedIndexError
            if not stage:  # a path that is merged has no conflict
                for other in (1, 2, 3):
                    found.pop((path, other), None)
            found[path, stage] = head
        return self._written(found)

    def _stage(self, head: bytes) -> int:
        return head[_STAT_END + self._width] >> 4 & 3

    def _written(self, found: dict[tuple[bytes, int], bytes]) -> bytearray:
        """Head and entries of an index that holds these, in the version that git would choose."""
        flags_at = _STAT_END + self._width
        extended = any(len(head) > flags_at + 2 for head in found.values())
        version = self._version if self._version == 4 else 3 if extended else 2
        out = bytearray(b"DIRC" + version.to_bytes(4, "big") + len(found).to_bytes(4, "big"))
        last = b""
        for (path, _), old in sorted(found.items()):
            flags = int.from_bytes(old[flags_at : flags_at + 2], "big") & ~_LENGTH | min(len(path), _LENGTH)
            head = old[:flags_at] + flags.to_bytes(2, "big") + old[flags_at + 2 :]
            if version == 4:
                _put_path(out, head, last, path)
            else:
                out += head + path + bytes(8 - (len(head) + len(path)) % 8)
            last = path
        return out


def _within(entries: Iterator[tuple[bytes, bytes, int]]) -> Iterator[tuple[bytes, bytes]]:
    """The entries, as long as their paths take a bounded room."""
    room = _MAX_PATHS
    for head, path, _ in entries:
        room -= len(path)
        if room < 0:
            raise _MalformedIndexError
        yield head, path


def _put_path(out: bytearray, head: bytes, last: bytes, path: bytes) -> None:
    """Add an entry of version 4: its head, how many bytes of the last path to drop, the rest of its own."""
    common, end = 0, min(len(last), len(path))
    while common < end:  # halving finds where they part
        middle = (common + end + 1) // 2
        if last[common:middle] == path[common:middle]:
            common = middle
        else:
            end = middle - 1
    drop = len(last) - common
    digits = bytearray([drop & 0x7F])
    while drop > 0x7F:
        drop = (drop >> 7) - 1
        digits.append(0x80 | drop & 0x7F)
    out += head + digits[::-1] + path[common:] + b"\0"


def _bits(data: bytes, at: int, count: int) -> tuple[list[int], int]:
    """Which of ``count`` bits a compressed bitmap has set, and where it ends.

    Its words are runs, each with a head: the bit that is repeated (1 bit), how many words hold nothing else
    (32), and how many words follow that hold bits as they are (31).
    """
    words = _word(data, at + 4, 4)
    place = at + _WORD
    end = place + words * _WORD
    found: list[int] = []
    first = 0
    while place < end:
        head = _word(data, place, _WORD)
        place += _WORD
        run = (head >> 1 & 0xFFFFFFFF) * 64
        if head & 1:
            if first + run > count + 63:
                raise _MalformedIndexError
            found += range(first, first + run)
        first += run
        for _ in range(head >> 33):
            word = _word(data, place, _WORD) if place < end else -1
            if word < 0:
                raise _MalformedIndexError
            found += [first + bit for bit in range(64) if word >> bit & 1]
            place += _WORD
            first += 64
    if end + 4 > len(data) or (found and found[-1] >= count):
        raise _MalformedIndexError
    return found, end + 4  # where the head of the last run is, which only a writer needs


def _word(data: bytes, at: int, width: int) -> int:
    if at + width > len(data):
        raise _MalformedIndexError
    return int.from_bytes(data[at : at + width], "big")

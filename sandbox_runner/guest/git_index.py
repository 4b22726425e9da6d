"""A git index without what differs between equal trees.

The index remembers, for every file, what ``lstat`` said when git last looked: change and modification time,
device, inode, owner, group, and a size that git zeroes when it was in doubt. None of it is content; all of
it differs from one copy of a tree to the next. It also carries caches that depend on the commands that were
run and on the machine. ``normalise`` returns the same index

* with the ten 32-bit stat words of every entry but the mode set to zero, which is what ``git read-tree``
  leaves: git looks at the files again at its next command and finds them unchanged;
* without the optional extensions that are caches: TREE (cache tree), UNTR (untracked files), FSMN (file
  system monitor), EOIE and IEOT (offset tables);
* with its trailing checksum computed anew (or all zero, where ``index.skipHash`` left it so).

Versions 2, 3 and 4, of SHA-1 and SHA-256 repositories. Format: git's ``gitformat-index(5)``. Anything else
(a split index, an unknown mandatory extension, a broken file) is returned as None and stays as it is.

Standard library only, Python 3.8 and later.
"""

from __future__ import annotations

from sandbox_runner.guest.digest import constructor, sha256

__all__ = ["MAX_INDEX_BYTES", "is_index_path", "normalise"]

MAX_INDEX_BYTES = 64 << 20
"""A larger index (some half a million files) is left as it is."""

_sha1 = constructor("sha1", ("_sha1", "hashlib"))
_CACHES = (b"TREE", b"UNTR", b"FSMN", b"EOIE", b"IEOT")
_STAT_HEAD, _MODE_END, _STAT_END = 24, 28, 40  # ctime, mtime, dev, ino | mode | uid, gid, size
_NO_HEAD, _NO_OWNER = bytes(_STAT_HEAD), bytes(_STAT_END - _MODE_END)
_EXTENDED = 0x4000


class _MalformedIndexError(ValueError):
    pass


def is_index_path(parts: list[bytes]) -> bool:
    """Whether a path can be a repository's index: a file ``index`` somewhere below a ``.git``."""
    return parts[-1] == b"index" and b".git" in parts[:-1]


def normalise(data: bytes) -> bytes | None:
    """The index without stat data and caches, or None where it is in no form this can be done to."""
    for new, width in ((_sha1, 20), (sha256.new, 32)):
        seal = data[-width:]
        unsealed = seal == bytes(width)  # index.skipHash
        if not unsealed and new(data[:-width]).digest() != seal:
            continue
        try:
            body = _body(data[:-width], width)
        except _MalformedIndexError:
            continue
        return body + (seal if unsealed else new(body).digest())
    return None


def _body(data: bytes, width: int) -> bytes:
    version, count = _number(data, 4, 4), _number(data, 8, 4)
    if data[:4] != b"DIRC" or version not in (2, 3, 4):
        raise _MalformedIndexError
    out = bytearray(data)
    at = 12
    for _ in range(count):
        end = _entry_end(data, at, width, version)
        out[at : at + _STAT_HEAD] = _NO_HEAD
        out[at + _MODE_END : at + _STAT_END] = _NO_OWNER
        at = end
    del out[at:]
    while at < len(data):
        name, size = data[at : at + 4], _number(data, at + 4, 4)
        end = at + 8 + size
        if end > len(data) or not name[:1].isupper():  # lower case: must be understood (split index)
            raise _MalformedIndexError
        if name not in _CACHES:
            out += data[at:end]
        at = end
    return bytes(out)


def _entry_end(data: bytes, start: int, width: int, version: int) -> int:
    """Where the entry at ``start`` ends: after its path's NUL, padded to eight bytes before version 4."""
    flags_at = start + _STAT_END + width
    path_at = flags_at + 2
    if _number(data, flags_at, 2) & _EXTENDED:
        if version == 2:
            raise _MalformedIndexError
        path_at += 2
    if version == 4:  # how much of the previous path to drop comes first, as a variable-width number
        while path_at < len(data) and data[path_at] & 0x80:
            path_at += 1
        path_at += 1
    end = data.find(0, path_at)
    if version != 4:
        end = start + (end - start + 8) // 8 * 8 - 1
    if not path_at <= end < len(data):
        raise _MalformedIndexError
    return end + 1


def _number(data: bytes, at: int, width: int) -> int:
    part = data[at : at + width]
    if len(part) < width:
        raise _MalformedIndexError
    return int.from_bytes(part, "big")

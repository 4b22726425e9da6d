"""A strict reader of tar archives from strangers: bounded memory, no file system, nothing it does not know.

It holds one member at a time, with what its extended headers say of it: path, target and size. Their number
before one member, their bytes, and the number of all members are limited: a small archive unfolds to headers
without end as well as to contents without end.

Understood: ustar and GNU headers, regular files, directories, symbolic links, hard links to earlier files;
GNU long names; PAX records ``path``, ``linkpath`` and ``size`` (others are passed over). Refused: everything
else, among it devices, sparse files, absolute names, names that climb, and bytes after the end that are not
zero.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from sandbox_runner.guest.tree_walk import Limits
from sandbox_runner.snapshot.transfer import NAMES_BYTES

__all__ = ["TAR_PROBE", "ArchiveError", "Member", "Readable", "TarReader", "is_tar"]

_BLOCK = 512
_CHUNK = 1 << 20
_MAX_PAX_BYTES = 256 << 10
_ALL_EXTENDED_BYTES = 4 * NAMES_BYTES  # of extended headers in one archive: they cost time
_EXTENDED_HEADERS = 8  # before one member; tar writes at most a name, a target and one of PAX
_MEMBERS_PER_ENTRY = 2  # a directory may be named again
_NAME_BYTES = 255  # of a path's part, as in every file system of Linux: a longer one could not be restored
_TARGET_BYTES = 4095  # a link's target, for the same reason
_HERE = re.compile(rb"\A(?:\./+)++")  # what begins a name and says nothing, however often, in one pass
_USED = {b"path": "path", b"linkpath": "linkpath", b"size": "size"}
_TRAILING_BLOCKS = 4096  # zero blocks after the end; tar pads to 20, tape drives to more


TAR_PROBE = 512
"""Bytes from its beginning by which ``is_tar`` knows an archive."""


class ArchiveError(ValueError):
    """The archive is damaged or holds what is not accepted; the text says what."""


class Readable(Protocol):
    """Where an archive's bytes come from."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""


class Member(NamedTuple):
    """One member: ``kind`` is ``file``, ``directory``, ``link`` or ``hard link``.

    ``target`` is where either of the latter two points, ``offset`` where contents begin in the archive.
    """

    path: bytes
    kind: str
    executable: bool
    size: int
    target: bytes
    offset: int


_KINDS = {b"0": "file", b"\0": "file", b"7": "file", b"5": "directory", b"2": "link", b"1": "hard link"}


class TarReader:
    """Iterate over the members; read a file's ``contents`` before going on, or not at all."""

    def __init__(self, source: Readable, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._at = 0
        self._left = 0  # bytes of the current member that were not read
        self._padding = 0
        self._extended = 0  # bytes of extended headers so far

    def __iter__(self) -> Iterator[Member]:
        """The members in order.

        Raises:
            ArchiveError: see the module.
        """
        extra: dict[str, bytes] = {}
        total = members = headers = 0
        while (head := self._next_head()) is not None:
            kind, size = head[156:157], _number(head[124:136], "size")
            if kind in b"LKxg":
                headers += 1
                if headers > _EXTENDED_HEADERS:
                    raise ArchiveError(f"it has more than {_EXTENDED_HEADERS} extended headers in a row")
                self._extend(extra, kind, size)
                continue
            member = self._member(head, kind, size, extra)
            extra, headers = {}, 0
            members += 1
            if members > (most := self._limits.max_entries * _MEMBERS_PER_ENTRY):
                raise ArchiveError(f"it holds more than {most} members")
            total += member.size
            if member.size > self._limits.max_file_bytes or total > self._limits.max_total_bytes:
                raise ArchiveError("it is larger than the limits")
            self._left, self._padding = member.size, -member.size % _BLOCK
            yield member
        if headers and kind != b"g":  # a global one may stand alone
            raise ArchiveError("it ends after an extended header")

    def contents(self) -> Iterator[bytes]:
        """The contents of the file that was yielded last, in parts of at most 1 MiB."""
        while self._left:
            part = self._read(min(self._left, _CHUNK))
            self._left -= len(part)
            yield part

    def _next_head(self) -> bytes | None:
        for _ in self.contents():  # what the caller did not want
            pass
        self._exactly(self._padding)
        self._padding = 0
        head = self._exactly(_BLOCK)
        if head == bytes(_BLOCK):
            self._expect_end()
            return None
        unsigned = sum(head) - sum(head[148:156]) + 8 * 0x20
        if _number(head[148:156], "checksum") != unsigned:
            raise ArchiveError(f"a header's checksum is wrong at byte {self._at - _BLOCK}")
        if head[257:263] not in {b"ustar\0", b"ustar "}:
            raise ArchiveError(f"no ustar or GNU header at byte {self._at - _BLOCK}")
        return head

    def _expect_end(self) -> None:
        for _ in range(_TRAILING_BLOCKS):
            block = self._source.read(_BLOCK)
            if not block:
                return
            if block.strip(b"\0"):
                break
        raise ArchiveError("something follows its end")

    def _extend(self, extra: dict[str, bytes], kind: bytes, size: int) -> None:
        limit = _MAX_PAX_BYTES if kind in b"xg" else self._limits.max_path_bytes + 2
        self._extended += size
        if size > limit:
            raise ArchiveError(f"an extended header is larger than {limit} bytes")
        if self._extended > _ALL_EXTENDED_BYTES:
            raise ArchiveError(f"it has more than {_ALL_EXTENDED_BYTES >> 20} MiB of extended headers")
        data = self._exactly(size)
        self._exactly(-size % _BLOCK)
        if kind == b"g":
            if _pax(data):
                raise ArchiveError("a global header names files")
        elif kind == b"x":
            extra.update(_pax(data))
        else:
            extra["path" if kind == b"L" else "linkpath"] = data.split(b"\0", 1)[0]

    def _member(self, head: bytes, kind: bytes, size: int, extra: dict[str, bytes]) -> Member:
        word = _KINDS.get(kind)
        if word is None or "sparse" in extra:
            raise ArchiveError(f"it holds a member of type {kind!r}, which is not accepted")
        name, target = head[:100].split(b"\0", 1)[0], head[157:257].split(b"\0", 1)[0]
        if head[257:263] == b"ustar\0" and (prefix := head[345:500].split(b"\0", 1)[0]):
            name = prefix + b"/" + name
        name, target = extra.get("path", name), extra.get("linkpath", target)
        if "size" in extra:
            if not extra["size"].isdigit() or len(extra["size"]) > 20:
                raise ArchiveError("a PAX size is no number")
            size = int(extra["size"])
        path = _normal(name, self._limits)
        if word == "hard link":
            target = _normal(target, self._limits)
        if word == "link" and len(target) > _TARGET_BYTES:
            raise ArchiveError(f"a link's target is longer than {_TARGET_BYTES} bytes: {path[:200]!r}")
        if word in {"link", "hard link"} and (not target or b"\0" in target or size):
            raise ArchiveError("a link without a target, or with contents")
        if word == "directory" and size:
            raise ArchiveError("a directory with contents")
        executable = bool(_number(head[100:108], "mode") & 0o100)
        return Member(path, word, executable, size, target, self._at)

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            parts.append(self._read(size))
            size -= len(parts[-1])
        return b"".join(parts)

    def _read(self, size: int) -> bytes:
        data = self._source.read(size)
        if not data:
            raise ArchiveError(f"it ends in the middle, at byte {self._at}")
        self._at += len(data)
        return data


def is_tar(head: bytes) -> bool:
    """Whether a file that begins so is a plain tar archive."""
    return head[257:262] == b"ustar"


def _normal(name: bytes, limits: Limits) -> bytes:
    """A member's name as a path; the root itself is the empty path."""
    trimmed = name.rstrip(b"/")
    trimmed = _HERE.sub(b"", trimmed)
    if trimmed in {b".", b""} and not name.startswith(b"/"):
        return b""
    if len(trimmed) > limits.max_path_bytes:
        raise ArchiveError(f"it holds a path of more than {limits.max_path_bytes} bytes: {name[:200]!r}")
    parts = trimmed.split(b"/")
    bad = name.startswith(b"/") or any(part in {b"", b".", b".."} for part in parts)
    if bad or b"\0" in trimmed or max(map(len, parts)) > _NAME_BYTES:
        raise ArchiveError(f"it holds a name that is not accepted: {name[:200]!r}")
    return trimmed


def _number(field: bytes, what: str) -> int:
    """An octal field, or GNU's base 256."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if not all(digit in b"01234567" for digit in digits):
        raise ArchiveError(f"a header's {what} is no number")
    return int(digits or b"0", 8)


def _pax(data: bytes) -> dict[str, bytes]:
    """What is used of a PAX header: its records are ``length key=value newline``, the length counting all.

    ``sparse`` stands for whatever says that the member is a sparse file.
    """
    found: dict[str, bytes] = {}
    at = 0
    while at < len(data):
        digits = data[at : at + 8].split(b" ", 1)[0]
        if not digits.isdigit() or not 5 <= int(digits) <= len(data) - at:
            raise ArchiveError("a PAX record has no length")
        record = data[at + len(digits) + 1 : at + int(digits)]
        key, equals, value = record.partition(b"=")
        if not equals or not value.endswith(b"\n"):
            raise ArchiveError("a PAX record is malformed")
        if key in _USED:
            found[_USED[key]] = value[:-1]
        elif key.startswith(b"GNU.sparse"):
            found["sparse"] = b""
        at += int(digits)
    return found

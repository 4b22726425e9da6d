"""The workspace's files in memory, so that searching again for plain words needs no process.

Which files a search looks at is ripgrep's own answer (``rg --files``, same arguments), never ours. What is in
them cannot change behind the guest's back: it makes every change itself or through a program it started,
nothing foreign is alive between two calls, and any program but ripgrep makes it forget all (``process``).
Where ripgrep does more than compare bytes the index gives no answer, and ripgrep is asked.

A write can change which files count, and then ripgrep lists them anew before the next search. It is spared
that only where no rule of any kind can have a say: a new file with no file of rules, no repository that lies
elsewhere and no link to either in any folder on its way, or a file that was there and is itself no such file.
A file of rules may be a link, and then any file may be one: where there is such a link, every write counts.
"""

from __future__ import annotations

import os
import stat

from sandbox_runner.guest.outcome import StepError
from sandbox_runner.guest.paths import close_parent, open_parent, read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["SearchIndex", "plain_words"]

_FILES_LIMIT = 2_000
_BYTES_LIMIT = 4 << 20
_PATTERN_LIMIT = 4_096
_SPECIAL = frozenset(b"\\.+*?()|[]{}^$")
_ESCAPE, _OR = ord("\\"), ord("|")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # ripgrep decodes a file with this mark before it searches
_RULES = (b".gitignore", b".ignore", b".rgignore", b".git/info/exclude")
_ENTRIES_LIMIT = 20_000
_MARK = "\ufeff".encode()  # ripgrep takes it from the beginning of a file


def plain_words(pattern: bytes) -> list[bytes] | None:
    """The words of which a line must hold one to match, or ``None`` for a pattern that is more than words.

    Words are joined by ``|``; a special character counts as itself after a backslash.
    """
    words, word, escaped = [], bytearray(), False
    for byte in pattern:
        if byte < 32 or byte == 127 or (escaped and byte not in _SPECIAL):
            return None
        if not escaped and byte in _SPECIAL:
            if byte == _OR:
                words.append(bytes(word))
                word.clear()
            elif byte != _ESCAPE:
                return None
            escaped = byte == _ESCAPE
        else:
            word.append(byte)
            escaped = False
    words.append(bytes(word))
    if escaped or _MARK in pattern or len(pattern) > _PATTERN_LIMIT:
        return None
    return words if all(words) else None


class SearchIndex:
    """Name and content of every file that a search looks at.

    Attributes:
        listed: whether the names are known; if not, ``fill`` wants them.
        fit: whether the workspace is small and plain enough to be kept here.
    """

    __slots__ = ("_bytes", "_contents", "_settled", "fit", "listed")

    def __init__(self) -> None:
        self._contents: dict[bytes, bytes] = {}
        self._bytes = 0
        self._settled = False  # no rule lies behind a link
        self.listed = False
        self.fit = True

    def fill(self, root: int, names: Iterable[bytes]) -> None:
        """Take in ripgrep's list of files; what is known already is not read again."""
        names = list(names)
        known, self._contents, self._bytes = self._contents, {}, 0
        # Only programs make links, and they make the guest forget the index; that .git is searched is odd.
        inside = any(b".git" in name.split(b"/") for name in names)
        self._settled = not inside and (self._settled or not _rules_by_link(root))
        self.listed = True
        for name in names:
            data = known.get(name)
            self._keep(name, _read(root, name) if data is None else data)
            if not self.fit:
                return

    def wrote(self, root: int, parts: Sequence[bytes], data: bytes, *, created: bool) -> None:
        """The guest wrote a file: keep its content if searches look at it."""
        name = b"/".join(parts)
        if name in self._contents:
            self._keep(name, data)
        if parts[-1] in _RULES or not self._settled or (created and _has_rules(root, parts)):
            self.listed = False
        elif created and not any(part.startswith(b".") for part in parts):  # no rule, no hidden file
            self._keep(name, data)

    def find(self, words: Sequence[bytes]) -> list[bytes] | None:
        """The files that hold one of some words, in byte order; ``None`` where only ripgrep knows."""
        contents = self._contents
        found = sorted(name for name, data in contents.items() if any(word in data for word in words))
        # Where a file with a NUL byte begins to be binary depends on how ripgrep reads it.
        return None if any(b"\0" in contents[name] for name in found) else found

    def _keep(self, name: bytes, data: bytes | None) -> None:
        self._bytes += len(data or b"") - len(self._contents.get(name, b""))
        room = self._bytes <= _BYTES_LIMIT and len(self._contents) < _FILES_LIMIT
        if data is None or data.startswith(_UTF_16) or not room:
            self.fit = False
        if self.fit and data is not None:
            self._contents[name] = data
        else:
            self._contents = {}


def _read(root: int, name: bytes) -> bytes | None:
    """A file's content, or ``None`` if it cannot be had or is too large."""
    parts = name.split(b"/")
    try:
        parent = open_parent(root, parts, "")
        try:
            return read_file(parent, parts[-1], "", _BYTES_LIMIT)[0]
        finally:
            close_parent(root, parent)
    except (OSError, StepError):
        return None


def _has_rules(root: int, parts: Sequence[bytes]) -> bool:
    """Whether a folder on the way to a file has a file that could keep it out of searches."""
    for depth in range(len(parts)):
        for rules in _RULES:
            try:
                os.stat(b"/".join((*parts[:depth], rules)), dir_fd=root, follow_symlinks=False)
            except FileNotFoundError:
                continue
            except OSError:  # .git is a file, say, which names rules elsewhere
                return True
            return True
    return False


def _rules_by_link(root: int) -> bool:
    """Whether a file of rules or a repository is a link, or names another place; or there is too much."""
    left, folders = _ENTRIES_LIMIT, [b"."]
    try:
        while folders:
            folder = folders.pop()
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)
            try:
                with os.scandir(fd) as entries:
                    for entry in entries:
                        left -= 1
                        name, is_folder = os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)
                        if left < 0 or (name in _RULES and entry.is_symlink()):
                            return True
                        if name == b".git":
                            if not is_folder or _linked(fd, b".git/info") or _linked(fd, _RULES[-1]):
                                return True
                        elif is_folder:
                            folders.append(folder + b"/" + name)
            finally:
                os.close(fd)
    except OSError:
        return True
    return False


def _linked(folder: int, name: bytes) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False

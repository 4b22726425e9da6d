"""One open directory beneath a root, moved from place to place; no step ever follows a link.

Holding a single descriptor keeps a 3,000-deep tree within any limit on open files and on path length. The
way down opens one name relative to the descriptor with O_NOFOLLOW; the way up opens ``..`` and insists that
it is the very directory the cursor came from, so moving directories about under the cursor ends in an error
and not outside the root.

Standard library only, Python 3.8 and later.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Cursor", "split_path"]

_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def split_path(path: bytes) -> list[bytes]:
    """Components of a path in normal form.

    Raises:
        ValueError: empty, absolute, NUL, or a component that is empty, ``.`` or ``..``.
    """
    parts = path.split(b"/")
    if b"\0" in path or any(part in (b"", b".", b"..") for part in parts):
        raise ValueError(f"not a path in normal form below the workspace: {path!r}")
    return parts


class Cursor:
    """A place in a tree. ``fd`` is the open directory; ``lifted`` counts modes changed to get in.

    With ``lift`` a directory or file that its owner may not read is made readable by its owner first: right
    for a sandbox about to be thrown away in which nothing else runs, wrong for a user's own directory.
    """

    def __init__(self, root: int, *, lift: bool = False) -> None:
        self._root = root
        self._lift = lift
        self.lifted = 0
        self._names: list[bytes] = []
        self._identities: list[tuple[int, int]] = []
        self.fd = self._top()
        found = os.fstat(self.fd)
        if lift and found.st_mode & 0o700 != 0o700:
            os.fchmod(self.fd, 0o700)  # foreign code may have closed the root itself
            self.lifted += 1
        self._identities.append((found.st_dev, found.st_ino))

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)

    def move(self, parts: Sequence[bytes]) -> int:
        """Go to the directory with these components below the root; returns its descriptor.

        Raises:
            OSError: a component is missing, no directory (a link is none), closed to us, or was moved
            meanwhile.
        """
        common = 0
        for name, part in zip(self._names, parts):  # noqa: B905 - the guest's Python may lack strict=
            if name != part:
                break
            common += 1
        if len(self._names) - common > common:
            self._replace(self._top())
            del self._names[:], self._identities[1:]
            common = 0
        while len(self._names) > common:
            self.ascend()
        for part in parts[common:]:
            self.descend(part)
        return self.fd

    def descend(self, name: bytes) -> os.stat_result:
        """Enter a child directory; returns its stat."""
        try:
            fd = self._open_child(name)
        except PermissionError:
            self._make_readable(name, 0o700)
            fd = self._open_child(name)
        found = os.fstat(fd)
        if self._lift and found.st_mode & 0o700 != 0o700:
            os.fchmod(fd, 0o700)  # readable yet not searchable, or closed to writing
            self.lifted += 1
        self._replace(fd)
        self._names.append(name)
        self._identities.append((found.st_dev, found.st_ino))
        return found

    def ascend(self) -> None:
        """Return to the parent."""
        fd = os.open(b"..", _DIRECTORY_FLAGS, dir_fd=self.fd)
        found = os.fstat(fd)
        if (found.st_dev, found.st_ino) != self._identities[-2]:
            os.close(fd)
            raise OSError(errno.ESTALE, "a directory was moved during the walk", b"/".join(self._names))
        self._replace(fd)
        del self._names[-1], self._identities[-1]

    def open_file(self, name: bytes) -> int:
        """Open a file of this directory for reading; never blocks, never follows a link."""
        try:
            return os.open(name, _FILE_FLAGS, dir_fd=self.fd)
        except PermissionError:
            self._make_readable(name, 0o600)
            return os.open(name, _FILE_FLAGS, dir_fd=self.fd)

    def _top(self) -> int:
        """The root once more; a sandbox's is open for reading, and needs no right and no file server."""
        if self._lift:
            return fcntl.fcntl(self._root, fcntl.F_DUPFD_CLOEXEC, 0)
        return os.open(b".", _DIRECTORY_FLAGS, dir_fd=self._root)

    def _open_child(self, name: bytes) -> int:
        """In two steps, because older gVisor ignores O_NOFOLLOW beside O_DIRECTORY unless O_PATH is there."""
        place = os.open(name, _DIRECTORY_FLAGS | os.O_PATH, dir_fd=self.fd)
        try:
            return os.open(b".", _DIRECTORY_FLAGS, dir_fd=place)
        finally:
            os.close(place)

    def _make_readable(self, name: bytes, mode: int) -> None:
        found = os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        if not self._lift or stat.S_ISLNK(found.st_mode):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
        os.chmod(name, found.st_mode & 0o777 | mode, dir_fd=self.fd)
        self.lifted += 1

    def _replace(self, fd: int) -> None:
        os.close(self.fd)
        self.fd = fd

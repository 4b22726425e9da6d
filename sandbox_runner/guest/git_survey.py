"""What git would open in a working tree, looked at before git does.

Git opens more than it is told: ignore and attribute files in every directory, and in every nested repository
the files that say where its HEAD is. It opens them for reading and waits: in a pipe that nobody writes it
stays for ever, and a device may never end. So a working tree is walked once before git sees it, by type
alone. The rule goes by place and not by a list of git's files:

* below a directory named ``.git`` there are files and directories; a link leads to a file, or to a directory
  that this same walk has seen below a ``.git``. Where ``gitdir:`` and ``commondir`` lead holds the same.
  ``hooks`` is left out: nothing in it is opened, and links in it are usual;
* a file that configures git elsewhere (``.gitignore`` and its like) is a file, or leads to one.

Nothing foreign is alive between this walk and git, and neither this guest nor git makes a pipe or a link
where git looks: what was found holds until a program of the workspace runs.
"""

from __future__ import annotations

import errno
import os
import stat

from sandbox_runner.guest.outcome import StepError, step_error
from sandbox_runner.guest.tree_cursor import Cursor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["survey"]

_ENTRIES_LIMIT = 1_000_000
_POINTER_LIMIT = 1 << 16  # of a file that names another repository
_SHOWN = 300
_CONFIGURING = (".gitignore", ".gitattributes", ".gitmodules")
_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.ENAMETOOLONG)
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def survey(tree: int) -> int:
    """Look at everything below an open working tree; says how many entries there are.

    Raises:
        StepError: git would wait for ever, or be led out of the repository; or there are more than a million
            entries.
    """
    walk = _Survey(tree)
    try:
        return walk.run()
    except OSError as error:
        raise step_error(error, walk.shown("")) from None
    finally:
        walk.cursor.close()


class _Survey:
    """The state of one walk.

    Attributes:
        cursor: where it is.
    """

    def __init__(self, tree: int) -> None:
        self.cursor = Cursor(tree)
        self._device = os.fstat(tree).st_dev
        self._parts: list[str] = []
        self._entries = 0
        self._git: set[tuple[int, int]] = set()  # the directories named .git, and those below
        self._targets: list[tuple[tuple[int, int], str]] = []  # where links and pointers lead, and from where

    def run(self) -> int:
        """The whole walk, without recursion: a tree may be deeper than the interpreter's stack."""
        pending: list[tuple[Iterator[str], int]] = [(iter(self._look(inside=0)), 0)]
        while pending:
            names, inside = pending[-1]
            name = next(names, None)
            if name is None:
                pending.pop()
                if pending:
                    self.cursor.ascend()
                    self._parts.pop()
                continue
            try:
                found = self.cursor.descend(os.fsencode(name))
            except PermissionError:
                continue  # closed to git as well
            self._parts.append(name)
            if inside or name == ".git":
                inside += 1
                self._git.add((found.st_dev, found.st_ino))
            pending.append((iter(self._look(inside=inside)), inside))
        for place, shown in self._targets:
            if place not in self._git:
                raise StepError("unsupported repository: a part of it is elsewhere: " + shown)
        return self._entries

    def shown(self, name: str) -> str:
        """A path of the working tree, for a sentence."""
        path = os.fsencode("/".join([*self._parts, name])).decode("utf-8", "backslashreplace")
        return path if len(path) <= _SHOWN else "..." + path[-_SHOWN:]

    def _look(self, *, inside: int) -> list[str]:
        """Look at every entry of the directory; says into which to go."""
        below: list[str] = []
        with os.scandir(self.cursor.fd) as listing:
            for entry in listing:
                self._entries += 1
                if self._entries > _ENTRIES_LIMIT:
                    raise StepError(f"more than {_ENTRIES_LIMIT} entries in the working tree")
                name = entry.name
                if inside and name == "hooks":
                    continue
                if entry.is_dir(follow_symlinks=False):
                    below.append(name)
                elif entry.is_symlink():
                    if inside or name in _CONFIGURING or name == ".git":
                        self._link(name, inside=inside)
                elif not entry.is_file(follow_symlinks=False):
                    if inside or name in _CONFIGURING:
                        self._special(name)
                elif name == ".git" or (inside and name == "commondir"):
                    self._pointer(name)
        return below

    def _special(self, name: str) -> None:
        mode = os.stat(name, dir_fd=self.cursor.fd, follow_symlinks=False).st_mode
        if not stat.S_ISSOCK(mode):  # which cannot be opened at all
            raise StepError("unsupported repository: not a regular file: " + self.shown(name))

    def _link(self, name: str, *, inside: int) -> None:
        found = self._followed(name)
        if found is None or stat.S_ISSOCK(found.st_mode):
            return
        if stat.S_ISDIR(found.st_mode):
            if inside or name == ".git":
                self._targets.append(((found.st_dev, found.st_ino), self.shown(name)))
        elif not stat.S_ISREG(found.st_mode) or found.st_dev != self._device:
            raise StepError("unsupported repository: a link to no regular file: " + self.shown(name))
        elif name in {".git", "commondir"}:
            self._pointer(name)

    def _pointer(self, name: str) -> None:
        """Where a file leads that names another repository; read as git reads it, in C."""
        try:
            fd = os.open(name, _READ, dir_fd=self.cursor.fd)
        except PermissionError:
            return
        try:
            data = os.read(fd, _POINTER_LIMIT + 1)
        finally:
            os.close(fd)
        if len(data) > _POINTER_LIMIT:
            raise StepError("unsupported repository: too long a file: " + self.shown(name))
        text = data.split(b"\0")[0].rstrip(b"\r\n")
        if name == ".git":
            if not text.startswith(b"gitdir: "):
                return
            text = text[len(b"gitdir: ") :]
        found = self._followed(text) if text else None
        if found is not None and stat.S_ISDIR(found.st_mode):
            self._targets.append(((found.st_dev, found.st_ino), self.shown(name)))

    def _followed(self, name: str | bytes) -> os.stat_result | None:
        """What a name leads to; ``None`` if it leads nowhere, for git as for us."""
        try:
            return os.stat(name, dir_fd=self.cursor.fd)
        except OSError as error:
            if error.errno in _NOWHERE:
                return None
            raise

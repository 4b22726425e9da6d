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
from sandbox_runner.guest.paths import PATH_LIMIT

__all__ = ["survey"]

_ENTRIES_LIMIT = 1_000_000
_POINTER_LIMIT = 1 << 16  # of a file that names another repository
_SHOWN = 300
_CONFIGURING = (".gitignore", ".gitattributes", ".gitmodules")
_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.ENAMETOOLONG)
_REACH = PATH_LIMIT - len(".gitignore")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def survey(tree: int, place: str) -> int:
    """Look at everything in a working tree; says how many entries there are.

    Args:
        tree: it, open.
        place: its path.

    Raises:
        StepError: git would wait for ever, or be led out of the repository; or there are more than a million
            entries.
    """
    walk = _Survey(tree, place)
    try:
        return walk.run()
    except OSError as error:
        raise step_error(error, walk.shown("")) from None


class _Survey:
    """The state of one walk. ``below`` is the path of the directory at hand, with a slash at its end."""

    def __init__(self, tree: int, place: str) -> None:
        self.below = ""
        self._tree = tree
        self._place = place + "/"
        self._device = os.fstat(tree).st_dev
        self._entries = 0
        self._git: list[str] = []  # the directories named .git, and those below
        self._targets: list[tuple[tuple[int, int], str]] = []  # where links and pointers lead, and from where

    def run(self) -> int:
        """The whole walk: as git walks, by paths, so what is too deep for a path is out of its reach."""
        waiting = [("", False)]
        while waiting:
            self.below, inside = waiting.pop()
            if inside:
                self._git.append(self.below)
            for name in self._look(inside=inside):
                path = self.below + name + "/"
                if len(os.fsencode(path)) < _REACH:
                    waiting.append((path, inside or name == ".git"))
        if self._targets:
            known = {self._identity(os.stat(path, dir_fd=self._tree)) for path in self._git}
            for place, shown in self._targets:
                if place not in known:
                    raise StepError("unsupported repository: a part of it is elsewhere: " + shown)
        return self._entries

    def shown(self, name: str) -> str:
        """A path of the working tree, for a sentence."""
        path = os.fsencode(self.below + name).decode("utf-8", "backslashreplace")
        return path if len(path) <= _SHOWN else "..." + path[-_SHOWN:]

    def _look(self, *, inside: bool) -> list[str]:
        """Look at every entry of the directory; says into which to go."""
        below: list[str] = []
        try:
            listing = self._listing()
        except PermissionError:
            found = self._followed(b".")
            if found is not None and found.st_mode & 0o111:  # git would open by name what nobody can list
                shown = self.shown("")
                raise StepError(
                    "unsupported repository: a directory that cannot be listed: " + shown
                ) from None
            return below
        with listing:
            for entry in listing:
                self._entries += 1
                if self._entries > _ENTRIES_LIMIT:
                    raise StepError(f"more than {_ENTRIES_LIMIT} entries in the working tree")
                if inside and entry.name == "hooks":
                    continue
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.name)
                else:
                    self._entry(entry, inside=inside)
        return below

    def _listing(self) -> os._ScandirIterator[str]:
        place = self._place + self.below
        if len(os.fsencode(place)) < PATH_LIMIT:
            return os.scandir(place)
        fd = os.open(self.below, _DIRECTORY, dir_fd=self._tree)
        try:
            return os.scandir(fd)  # which keeps a descriptor of its own
        finally:
            os.close(fd)

    def _entry(self, entry: os.DirEntry[str], *, inside: bool) -> None:
        """Look at what is no directory."""
        name = entry.name
        if entry.is_symlink():
            if inside or name in _CONFIGURING or name == ".git":
                self._link(name, inside=inside)
        elif not entry.is_file(follow_symlinks=False):
            if inside or name in _CONFIGURING:
                self._special(name)
        elif name == ".git" or (inside and name == "commondir"):
            self._pointer(name)

    @staticmethod
    def _identity(found: os.stat_result) -> tuple[int, int]:
        return found.st_dev, found.st_ino

    def _special(self, name: str) -> None:
        mode = os.stat(self.below + name, dir_fd=self._tree, follow_symlinks=False).st_mode
        if not stat.S_ISSOCK(mode):  # which cannot be opened at all
            raise StepError("unsupported repository: not a regular file: " + self.shown(name))

    def _link(self, name: str, *, inside: bool) -> None:
        found = self._followed(os.fsencode(name))
        if found is None or stat.S_ISSOCK(found.st_mode):
            return
        if stat.S_ISDIR(found.st_mode):
            if inside or name == ".git":
                self._targets.append((self._identity(found), self.shown(name)))
        elif not stat.S_ISREG(found.st_mode) or found.st_dev != self._device:
            raise StepError("unsupported repository: a link to no regular file: " + self.shown(name))
        elif name in {".git", "commondir"}:
            self._pointer(name)

    def _pointer(self, name: str) -> None:
        """Where a file leads that names another repository; read as git reads it, in C."""
        try:
            fd = os.open(self.below + name, _READ, dir_fd=self._tree)
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
            self._targets.append((self._identity(found), self.shown(name)))

    def _followed(self, path: bytes) -> os.stat_result | None:
        """What a path leads to, seen from the directory at hand; ``None``: nowhere, for git as for us."""
        try:
            return os.stat(os.path.join(os.fsencode(self.below), path), dir_fd=self._tree)
        except OSError as error:
            if error.errno in _NOWHERE:
                return None
            raise

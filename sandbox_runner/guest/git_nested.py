"""Repositories within a repository: whether the run made, removed or moved one.

Of another repository a commit holds the commit that its HEAD is at, and no file. Git would say which by
running in there, where that repository's own configuration is believed. So it is told by what says where a
HEAD is, its references, compared with those that the run's work began with (``origin``).
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat

from sandbox_runner.guest.origin import REFERENCES, Origin, content_of
from sandbox_runner.guest.outcome import StepError
from sandbox_runner.guest.paths import close_parent, open_directory
from sandbox_runner.guest.tree_records import DIRECTORY, EXCLUDED, FILE, LINK, read_scan
from sandbox_runner.guest.tree_walk import Limits, walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox_runner.guest.context import Guest

__all__ = ["mode_at", "moved"]

_POINTER_LIMIT = 4096
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def mode_at(tree: int, path: bytes) -> int:
    """The mode of what is at a path; 0 where there is nothing.

    Raises:
        OSError: nobody can tell.
    """
    try:
        return os.stat(path, dir_fd=tree, follow_symlinks=False).st_mode
    except OSError as error:
        if error.errno in _NOT_THERE:
            return 0
        raise


def moved(guest: Guest, origin: Origin, tree: int, prefix: bytes, path: bytes) -> bool:
    """Whether this run made or removed another repository at a path, or moved its HEAD.

    Args:
        guest: the sandbox.
        origin: what the run's work began with.
        tree: the repository's directory, open.
        prefix: its path in the workspace, with a slash at its end unless it is the workspace.
        path: where the other repository is, below ``tree``.
    """
    place = prefix + path
    pointer = place + b"/.git"
    with guest.identity:
        mode = mode_at(tree, path + b"/.git")
        if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
            gone = mode_at(tree, path) == 0
            return gone and origin.kind(place) == DIRECTORY
        if not origin.kind(pointer):
            return True
        if origin.kind(pointer) != (DIRECTORY if stat.S_ISDIR(mode) else FILE):
            return True
        inside = pointer
        if stat.S_ISREG(mode):
            target = _led_to(tree, path)
            if target is None:
                return False
            inside = posixpath.normpath(place + b"/" + target)
        now = _references(guest.root, inside)
    above = inside + b"/"
    before = {
        path: content
        for path, content in origin.references.items()
        if path.startswith(above) and _refers(path[len(above) :]) and content[0] != DIRECTORY
    }
    return now is not None and now != before


def _references(root: int, place: bytes) -> dict[bytes, bytes] | None:
    """What says where the HEAD of a repository of the workspace is; ``None`` where it is elsewhere."""
    parts = place.split(b"/")
    if b".." in parts or place.startswith(b"/"):
        return None
    try:
        fd = open_directory(root, parts, "")
    except StepError:
        return None
    try:
        found = {}
        top = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
        try:
            for record in walk(top, Limits(), leave_out=_but_references):
                for entry in read_scan(record):
                    if entry.kind in {FILE, LINK}:
                        found[place + b"/" + entry.path] = content_of(entry)
        finally:
            os.close(top)
    finally:
        close_parent(root, fd)
    return found


def _but_references(path: bytes, _is_directory: bool) -> int:
    """What a walk of a ``.git`` leaves out that looks for references alone."""
    return 0 if path == b"refs" or _refers(path) else EXCLUDED


def _refers(path: bytes) -> bool:
    """Whether what is at a path below a repository's own directory says where its HEAD is."""
    return path in REFERENCES or path.startswith(b"refs/")


def _led_to(tree: int, path: bytes) -> bytes | None:
    """Where the file ``.git`` of a directory leads, relative to that; ``None`` for a place elsewhere."""
    try:
        fd = os.open(path + b"/.git", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=tree)
    except OSError:
        return None
    try:
        text = os.read(fd, _POINTER_LIMIT).rstrip(b"\r\n")
    finally:
        os.close(fd)
    target = text[len(b"gitdir: ") :]
    return target if text.startswith(b"gitdir: ") and not target.startswith(b"/") else None

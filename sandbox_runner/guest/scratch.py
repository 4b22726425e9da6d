"""Emptying the scratch directories: foreign code leaves nothing to the next call but the workspace."""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox_runner.guest.context import Guest

__all__ = ["clear_scratch", "remove_tree"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def clear_scratch(guest: Guest) -> None:
    """Remove everything of the sandbox uid from the scratch directories. What is not its own stays."""
    with guest.identity:
        for path in guest.config.scratch:
            try:
                top = os.open(path, _DIRECTORY)
            except OSError:
                continue  # this image has no such directory
            try:
                _empty(top)
            finally:
                os.close(top)


def remove_tree(parent: int, name: str) -> None:
    """Remove what is there of that name, whatever it is, as far as its modes and owners allow."""
    if not _removed(parent, name):
        _empty_below(parent, name)
        _removed(parent, name)


def _empty_below(parent: int, name: str) -> None:
    try:
        os.chmod(name, 0o700, dir_fd=parent)
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
    except OSError:
        return  # not its own, or not there: it stays
    try:
        _empty(fd)
    finally:
        os.close(fd)


def _empty(top: int) -> None:
    """Two descriptors, no recursion, however deep it goes: a directory in a directory is moved up first."""
    waiting = os.listdir(top)
    while waiting:
        name = waiting.pop()
        if _removed(top, name):
            continue
        try:
            os.chmod(name, 0o700, dir_fd=top)
            fd = os.open(name, _DIRECTORY, dir_fd=top)
        except OSError:
            continue  # not its own: it stays
        try:
            for inner in os.listdir(fd):
                if not _removed(fd, inner):
                    waiting.append(_move_up(fd, inner, top))
        finally:
            os.close(fd)
        _removed(top, name)


def _removed(parent: int, name: str) -> bool:
    """Unlink a file or an empty directory; false for a directory that holds something."""
    try:
        if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            os.rmdir(name, dir_fd=parent)
        else:
            os.unlink(name, dir_fd=parent)
    except OSError:
        return False
    return True


def _move_up(parent: int, name: str, top: int) -> str:
    moved = ".emptying-" + os.urandom(8).hex()  # no name that somebody could have taken before
    try:
        os.chmod(name, 0o700, dir_fd=parent)  # a directory changes its parent only where it may be written
        os.rename(name, moved, src_dir_fd=parent, dst_dir_fd=top)
    except OSError:
        return name
    return moved

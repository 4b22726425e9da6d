"""Directories and files that nobody else on this machine may read or change, whatever the umask.

``mkdir(parents=True, mode=...)`` gives its mode to the last directory alone; of those on the way the umask
decides, and under 000 anybody may then put something else in the place of what lies below. ``open`` asks the
umask as well. So every directory and file that is made for keeping is made here: 0700 and 0600.

What was there before is another matter: who can write a directory can swap all that lies in it, however
private that is by itself. ``check_private`` walks from the state directory down to what is about to be
trusted. It does not look above the state directory: whoever swaps that one as a whole cannot make a
directory or a key that belongs to us, and what belongs to others is refused.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from sandbox_runner.errors import ConfigurationError

__all__ = ["check_private", "create_private", "make_private", "open_private"]

_DIRECTORY: Final = 0o700
_FILE: Final = 0o600
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def make_private(folder: Path) -> None:
    """Make a directory and every one that is missing on the way to it, each 0700; what is there stays.

    Raises:
        OSError: one cannot be made, or something else has its name.
    """
    missing = [folder]
    while not missing[-1].is_dir() and missing[-1].parent != missing[-1]:
        missing.append(missing[-1].parent)
    for path in reversed(missing):
        try:
            path.mkdir(_DIRECTORY)
        except FileExistsError:
            if not path.is_dir():  # made by another process a moment ago, or no directory
                raise
            continue
        if stat.S_IMODE(path.stat().st_mode) != _DIRECTORY:  # a umask may also take the owner's rights
            path.chmod(_DIRECTORY)


def open_private(path: str | os.PathLike[str], flags: int) -> int:
    """The ``opener`` of ``open`` for a file of ours: one that it creates is 0600; no link is followed.

    Raises:
        OSError: as ``os.open``.
    """
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, _FILE)
    if flags & os.O_CREAT and os.fstat(descriptor).st_mode & _FILE != _FILE:  # the umask took them
        os.fchmod(descriptor, _FILE)
    return descriptor


def create_private(path: Path) -> None:
    """An empty file, 0600, without opening it: whoever closes a file lets go of what its process has locked.

    Raises:
        OSError: it cannot be made; FileExistsError where there is one.
    """
    os.mknod(path, stat.S_IFREG | _FILE)
    if stat.S_IMODE(path.stat().st_mode) != _FILE:
        path.chmod(_FILE)


def check_private(path: Path, *, below: Path) -> None:
    """Refuse a file or directory of the state directory that others could have changed or swapped.

    Args:
        path: what is about to be trusted; it exists.
        below: where to begin; this directory and every one down to ``path`` is looked at.

    Raises:
        ConfigurationError: one of them belongs to another user, or others may write it (in a directory with
            the sticky bit they cannot touch what is ours).
        OSError: one of them cannot be looked at.
    """
    way = [path, *path.parents]
    for place in reversed(way[: way.index(below) + 1]):
        facts = place.stat()
        if facts.st_uid not in {os.geteuid(), 0}:
            raise ConfigurationError(
                f"{place} belongs to another user (uid {facts.st_uid}), who can change what is kept there; "
                "it is not used",
                hint=f"move it away, or point SANDBOX_RUNNER_HOME at a directory of your own; "
                f"if the other user is you as well: chown {os.geteuid()} {place}",
            )
        if facts.st_mode & _OTHERS_WRITE and not (
            stat.S_ISDIR(facts.st_mode) and facts.st_mode & stat.S_ISVTX
        ):
            raise ConfigurationError(
                f"{place} can be written by others (mode {stat.S_IMODE(facts.st_mode):04o}), who could have "
                "changed what is kept there; it is not used",
                hint=f"look at what it holds, then: chmod go-w {place}; "
                "if others may have been there, make a new key: sandbox-runner keys new",
            )

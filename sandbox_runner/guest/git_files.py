"""The files of a ``.git`` that this guest reads and writes itself: HEAD, references, reflogs and the like.

Git follows links here, waits in pipes and takes a name like ``refs/heads/../../x`` for a place to write to.
None of that happens in these functions: every component is opened without following a link, nothing but a
regular file is read or written, and a branch has a name as ``git check-ref-format`` wants it.
"""

from __future__ import annotations

import os
import stat

from sandbox_runner.guest.outcome import StepError, step_error
from sandbox_runner.guest.paths import MissingError, close_parent, not_regular, open_directory, read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    Result = TypeVar("Result")

__all__ = [
    "append",
    "branch_of",
    "exists",
    "loose",
    "must_be_file",
    "names",
    "object_name",
    "packed",
    "read",
    "remove",
    "replace",
    "write_new",
]

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_END = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_REF_LIMIT = 4096
_BRANCHES = b"refs/heads/"
_FORBIDDEN = frozenset(b" ~^:?*[\\\x7f") | frozenset(range(32))


def branch_of(head: bytes) -> bytes | None:
    """The branch that the text of a HEAD names, ``refs/heads/`` and all; ``None`` if it names a commit.

    Raises:
        StepError: it names something that cannot be a branch.
    """
    if not head.startswith(b"ref:"):
        return None
    name = head[4:].strip()
    parts = name.split(b"/")
    proper = (
        name.startswith(_BRANCHES)
        and not any(part.startswith(b".") or part.endswith((b".lock", b".")) or not part for part in parts)
        and b".." not in name
        and b"@{" not in name
        and _FORBIDDEN.isdisjoint(name)
    )
    if not proper:
        shown = name.decode("utf-8", "backslashreplace")[:200]
        raise StepError("unsupported repository: HEAD names no branch: " + shown)
    return name


def object_name(text: bytes | None) -> str | None:
    """The object that a text names in full, and nothing else."""
    name = (text or b"").strip().decode("ascii", "replace")
    return name if len(name) in {40, 64} and all(c in "0123456789abcdef" for c in name) else None


def loose(git: int, ref: bytes) -> str | None:
    """The object of a reference in a file of its own; ``None`` if it has none.

    Raises:
        StepError: the file is something else, or names no object.
    """

    def look(parent: int, name: bytes, shown: str) -> str | None:
        if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            return None  # what is left of branches below it
        found = object_name(read_file(parent, name, shown, _REF_LIMIT)[0])
        if found is None:
            raise StepError("unsupported repository: it names no object: " + shown)
        return found

    return _beneath(git, ref, look)


def packed(text: bytes, ref: bytes) -> str | None:
    """The object of a reference in ``packed-refs``.

    Raises:
        StepError: a reference there has a name that leaves no place for this one.
    """
    found = None
    for line in text.split(b"\n"):
        name, _, target = line.partition(b" ")
        if target == ref:
            found = object_name(name)
        elif (target.startswith(ref + b"/") or ref.startswith(target + b"/")) and object_name(name):
            shown = target.decode("utf-8", "backslashreplace")[:200]
            raise StepError("unsupported repository: HEAD's branch is in the way of " + shown)
    return found


def exists(parent: int, name: bytes) -> bool:
    """Whether there is anything of that name in an open directory."""
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def read(git: int, path: bytes, limit: int) -> bytes | None:
    """A regular file below an open ``.git``; ``None`` if it is missing.

    Raises:
        StepError: it is something else, or longer than ``limit`` bytes.
    """
    return _beneath(git, path, lambda parent, name, shown: read_file(parent, name, shown, limit)[0])


def must_be_file(git: int, path: bytes) -> bool:
    """See that a path below ``.git`` is a regular file, or nothing yet; whether it is there.

    Raises:
        StepError: it is something else, or lies behind a link.
    """

    def look(parent: int, name: bytes, shown: str) -> bool:
        mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        if not stat.S_ISREG(mode):
            raise not_regular(mode, shown)
        return True

    return bool(_beneath(git, path, look))


def names(git: int, path: bytes) -> list[bytes]:
    """What is in a directory below ``.git``; nothing where it is missing."""

    def look(parent: int, name: bytes, _shown: str) -> list[bytes]:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            return [os.fsencode(found) for found in os.listdir(fd)]
        finally:
            os.close(fd)

    return _beneath(git, path, look) or []


def write_new(git: int, path: bytes, data: bytes) -> None:
    """Create a file that must not be there; what could not be written whole is gone again.

    Raises:
        StepError: it is there, or cannot be written.
    """

    def create(parent: int, name: bytes, _shown: str) -> None:
        _fill(os.open(name, _NEW, 0o644, dir_fd=parent), parent, name, data)

    _beneath(git, path, create, create=True)


def replace(git: int, path: bytes, data: bytes, meanwhile: Callable[[], None]) -> None:
    """Write a reference as git does: under a lock that is its new content, renamed over the old.

    Args:
        git: an open ``.git``.
        path: the reference.
        data: its new content.
        meanwhile: done while we hold the lock, just before the rename; where it raises nothing is replaced.

    Raises:
        StepError: somebody holds the lock, or it cannot be written.
    """

    def rename(parent: int, name: bytes, _shown: str) -> None:
        lock = name + b".lock"
        try:
            os.rename(lock, name, src_dir_fd=parent, dst_dir_fd=parent)
        except IsADirectoryError:  # what packing references leaves: git too removes it while it is empty
            os.rmdir(name, dir_fd=parent)
            os.rename(lock, name, src_dir_fd=parent, dst_dir_fd=parent)

    lock = path + b".lock"
    write_new(git, lock, data)
    try:
        meanwhile()
        _beneath(git, path, rename)
    except BaseException:
        remove(git, lock)
        raise


def append(git: int, path: bytes, data: bytes) -> None:
    """Add to a regular file, which is made where it is missing.

    Raises:
        StepError: it is something else, or cannot be written.
    """

    def add(parent: int, name: bytes, shown: str) -> None:
        fd = os.open(name, _END, 0o644, dir_fd=parent)
        try:
            mode = os.fstat(fd).st_mode
            if not stat.S_ISREG(mode):
                raise not_regular(mode, shown)
            _write(fd, data)
        finally:
            os.close(fd)

    _beneath(git, path, add, create=True)


def remove(git: int, path: bytes) -> None:
    """Remove a file, if it is there and can be."""

    def unlink(parent: int, name: bytes, _shown: str) -> None:
        os.unlink(name, dir_fd=parent)

    try:
        _beneath(git, path, unlink)
    except StepError:
        return


def _beneath(
    git: int, path: bytes, act: Callable[[int, bytes, str], Result], *, create: bool = False
) -> Result | None:
    """Do something to the last component of a path, in its open directory; ``None`` where one is missing."""
    *parts, name = path.split(b"/")
    shown = _shown(path)
    parent = git
    try:
        parent = open_directory(git, parts, shown, create=create)
        return act(parent, name, shown)
    except (MissingError, FileNotFoundError):
        if create:
            raise StepError("file not found: " + shown) from None
        return None
    except OSError as error:
        raise step_error(error, shown) from None
    finally:
        close_parent(git, parent)


def _shown(path: bytes) -> str:
    return ".git/" + path.decode("utf-8", "backslashreplace")


def _fill(fd: int, parent: int, name: bytes, data: bytes) -> None:
    try:
        _write(fd, data)
    except BaseException:
        os.unlink(name, dir_fd=parent)
        raise
    finally:
        os.close(fd)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]

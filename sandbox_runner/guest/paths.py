"""From a path in a trail to an open descriptor below the workspace, following no link on the way.

Every component is opened relative to the descriptor of the one before with O_NOFOLLOW, so a path that is
swapped for a link during the call leads nowhere: there is no moment between a check and its use.
"""

from __future__ import annotations

import errno
import os
import stat

from sandbox_runner.guest.outcome import StepError, refusal, step_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "TARGET_LIMIT",
    "MissingError",
    "close_parent",
    "normal",
    "open_directory",
    "open_parent",
    "read_file",
    "split_target",
]

PATH_LIMIT = 4096
"""Longest path in bytes; the kernel's own PATH_MAX."""
TARGET_LIMIT = 8192
"""Longest target of a test run in bytes of UTF-8; no longer node id is in a report either."""

# Without O_PATH older gVisor ignores O_NOFOLLOW beside O_DIRECTORY and goes where a link leads.
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_CHUNK = 1 << 20
_MODE_BITS = 0o777
_GIT_FILES = (b".gitmodules", b".gitattributes")


class MissingError(StepError):
    """There is nothing of that name."""


def normal(path: str, *, write: bool = False) -> list[bytes]:
    """The components of a path relative to the workspace, ``.`` and inner ``..`` resolved by name.

    Args:
        path: as the trail gives it; every character but ``/`` and NUL is an ordinary one.
        write: also refuse the files by which a tree can configure git.

    Raises:
        StepError: absolute, above the workspace, unusable as a path, or inside a ``.git`` directory
            (refused).
    """
    parts: list[bytes] = []
    for part in _raw(path).split(b"/"):
        if part == b"..":
            if not parts:
                raise StepError("path outside workspace: " + path)
            parts.pop()
        elif part not in {b"", b"."}:
            parts.append(part)
    if any(part.lower() == b".git" for part in parts):
        raise refusal("the inside of .git is closed to file operations: " + path)
    if write and parts and parts[-1].lower() in _GIT_FILES:
        raise refusal("a file that configures git is closed to writing: " + path)
    return parts


def split_target(target: str) -> tuple[str, str]:
    """What a test run names: its file part, a path, and the rest from the first ``::`` on (or nothing).

    pytest splits a target there too, whatever stands in the rest: a node id holds slashes, backslashes,
    ``..`` and blanks as it likes. So the file part is all that there is to judge. It is a path like any
    other, and a spelling of it that pytest splits elsewhere is refused: what is judged is what is run.

    Raises:
        StepError: over-long, no UTF-8 text, a control character in the rest, or a file part that pytest
            would read as another.
    """
    file, mark, node = target.partition("::")
    try:
        size = len(target.encode())
    except UnicodeEncodeError:
        raise StepError("the test target is not UTF-8 text") from None
    if size > TARGET_LIMIT:
        raise StepError(f"the test target is longer than {TARGET_LIMIT} bytes")
    if any(character < " " or character == "\x7f" for character in node):
        raise StepError("the node id of the test target holds a control character")
    if "[" in file:
        raise StepError("the file part of the test target holds a '[': some pytest drop all that follows it")
    if mark and ":/" in file:  # `a:/::b` is the file `a:`; written without the slash, pytest runs `a`
        raise StepError("a name in the file part of the test target ends with ':', so '::' has two meanings")
    return file, mark + node


def _raw(path: str) -> bytes:
    try:
        raw = path.encode()
    except UnicodeEncodeError:
        raise StepError("path is not UTF-8 text") from None
    if b"\0" in raw:
        raise StepError("path holds a NUL byte")
    if len(raw) > PATH_LIMIT:
        raise StepError(f"path longer than {PATH_LIMIT} bytes")
    if raw.startswith(b"/"):
        raise StepError("path outside workspace: " + path)
    return raw


def open_parent(root: int, parts: Sequence[bytes], path: str, *, create: bool = False) -> int:
    """The directory that holds the last of ``parts``; give it back with ``close_parent``.

    Raises:
        StepError: a component is missing (and not to be created), a link, or no directory.
    """
    fd = root
    try:
        for part in parts[:-1]:
            try:
                below = os.open(part, _DIRECTORY, dir_fd=fd)
            except FileNotFoundError:
                if not create:
                    raise
                os.mkdir(part, 0o755, dir_fd=fd)
                below = os.open(part, _DIRECTORY, dir_fd=fd)
            close_parent(root, fd)
            fd = below
    except OSError as error:
        reason = _explain(error, fd, part, path)
        close_parent(root, fd)
        raise reason from None
    return fd


def open_directory(root: int, parts: Sequence[bytes], path: str, *, create: bool = False) -> int:
    """A directory below ``root`` (or itself, without parts); give it back with ``close_parent``.

    Raises:
        StepError: a component is missing, a link, or no directory.
    """
    return open_parent(root, [*parts, b""], path, create=create)


def close_parent(root: int, fd: int) -> None:
    """Close a directory that ``open_parent`` opened, which for a path of one component is the root itself."""
    if fd != root:
        os.close(fd)


def read_file(parent: int, name: bytes, path: str, limit: int) -> tuple[bytes, int]:
    """The whole of a regular file and its permission bits; never a link, a FIFO, a device or a directory.

    Raises:
        StepError: it is something else, is missing, is not permitted, or is longer than ``limit`` bytes.
    """
    try:
        fd = os.open(name, _FILE, dir_fd=parent)
    except OSError as error:
        raise _explain(error, parent, name, path) from None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise not_regular(found.st_mode, path)
        size = found.st_size
        if size > limit:
            raise StepError(f"file of {size} bytes is over the limit of {limit}", {"bytes": size})
        data = os.read(fd, min(size + 1, _CHUNK))
        if len(data) != size:  # the ordinary case is one read, and it is all
            data = _rest(fd, data, limit)
    except OSError as error:
        raise step_error(error, path) from None
    finally:
        os.close(fd)
    return data, found.st_mode & _MODE_BITS


def _rest(fd: int, data: bytes, limit: int) -> bytes:
    parts = [data]
    while parts[-1] and sum(map(len, parts)) <= limit:
        parts.append(os.read(fd, _CHUNK))
    return b"".join(parts)


def not_regular(mode: int, path: str) -> StepError:
    """Why something that is no regular file cannot be used as one."""
    if stat.S_ISDIR(mode):
        return StepError("is a directory: " + path)
    if stat.S_ISLNK(mode):
        return StepError("symbolic link in path: " + path)
    return StepError("not a regular file: " + path)


def _explain(error: OSError, parent: int, name: bytes, path: str) -> StepError:
    """Tell a missing file, a link and a wrong kind apart, which one errno does not."""
    if error.errno == errno.ENOENT:
        return MissingError("file not found: " + path)
    if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EISDIR):
        try:
            mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        except OSError:
            return step_error(error, path)
        if stat.S_ISLNK(mode):
            return StepError("symbolic link in path: " + path)
        if error.errno == errno.ENOTDIR:
            return StepError("not a directory: " + path)
        return not_regular(mode, path)
    return step_error(error, path)

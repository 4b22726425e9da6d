"""The one normal form of a workspace path, and what of git no file operation may touch. Lexical only.

Links are not seen here: the guest opens every path beneath the workspace without following any. What this
module guarantees is that two spellings of one path are judged alike and that a spelling which somebody might
read differently is refused instead of guessed. Comparison is exact, code point by code point, which for UTF-8
is byte by byte: twins in another normalisation form and look-alike slashes are other names.
"""

from __future__ import annotations

import re
from typing import Final

from sandbox_runner.guest.outcome import StepError
from sandbox_runner.guest.paths import split_target

__all__ = [
    "COMPONENT_BYTES",
    "PATH_BYTES",
    "UnusablePathError",
    "folded",
    "is_git_control_file",
    "is_git_internal",
    "normal_form",
    "target_file",
]

PATH_BYTES: Final = 1024
"""Longest path, in bytes of UTF-8. Bounds what the slowest permitted pattern can cost."""

COMPONENT_BYTES: Final = 255
"""Longest name between two slashes: the limit of Linux file systems."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
# Code points that HFS+ leaves out when it compares names; git guards `.git` against the same list.
_IGNORED_BY_HFS: Final = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
_GIT_CONTROL_FILES: Final = frozenset({".gitattributes", ".gitmodules"})


class UnusablePathError(ValueError):
    """A path without a normal form; the text says why and names no path."""


def normal_form(path: str) -> str:
    """The path relative to the workspace root, without ``.``, ``..``, doubled or trailing slashes.

    The root itself is the empty string.

    Raises:
        UnusablePathError: absolute, above the root, over-long, or with a control character, a backslash, a
        blank
            at the end of a name, or text that UTF-8 cannot hold.
    """
    _check_text(path)
    kept: list[str] = []
    for name in path.split("/"):
        if name in {"", "."}:
            continue
        if name == "..":
            if not kept:
                raise UnusablePathError("it leads out of the workspace")
            kept.pop()
            continue
        kept.append(name)
    if any(name[-1].isspace() for name in kept):
        raise UnusablePathError("a name in it ends with a blank")
    if any(_bytes(name) > COMPONENT_BYTES for name in kept):
        raise UnusablePathError(f"a name in it is longer than {COMPONENT_BYTES} bytes")
    return "/".join(kept)


def target_file(target: str) -> str:
    """The normal form of the file or directory that a test run's target names.

    Raises:
        UnusablePathError: it has none, or pytest might read the target otherwise.
    """
    try:
        file, _ = split_target(target)
    except StepError as error:
        raise UnusablePathError(error.reason) from None
    return normal_form(file)


def _check_text(path: str) -> None:
    if path.startswith("/"):
        raise UnusablePathError("it is absolute")
    if "\\" in path:
        raise UnusablePathError("it contains a backslash")
    if _CONTROL.search(path):
        raise UnusablePathError("it contains a control character")
    if len(path) > PATH_BYTES or _bytes(path) > PATH_BYTES:
        raise UnusablePathError(f"it is longer than {PATH_BYTES} bytes")


def is_git_internal(path: str) -> bool:
    """Whether a normal form lies at or below a ``.git``, in any spelling some file system takes for it."""
    return any(folded(name) in {".git", "git~1"} for name in path.split("/"))


def is_git_control_file(path: str) -> bool:
    """Whether a normal form names a file that changes what git does: attributes, submodules."""
    return folded(path.rpartition("/")[2]) in _GIT_CONTROL_FILES


def folded(name: str) -> str:
    """A name as the most forgiving file system compares it: case, trailing dots, streams, ignored marks."""
    return _IGNORED_BY_HFS.sub("", name).partition(":")[0].rstrip(". ").casefold()


def _bytes(text: str) -> int:
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise UnusablePathError("it contains a lone surrogate") from error

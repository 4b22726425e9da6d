"""Which paths of a user's directory are left out on request: by ``--exclude`` and, if asked for, .gitignore.

Patterns have the form and meaning of gitignore(5). A pattern given by the user is relative to the root and
beats every file; among files the one nearest to the path decides. What is in an excluded directory is not
looked at. What is left out is an omission of the snapshot, with its reason.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from pathspec import GitIgnoreSpec

from sandbox_runner.errors import InputError
from sandbox_runner.guest.tree_cursor import Cursor
from sandbox_runner.guest.tree_records import EXCLUDED, IGNORED

__all__ = ["Ignore"]

_MAX_IGNORE_BYTES = 1 << 20


class Ignore:
    """The rules for one walk. False when there are none."""

    def __init__(self, root: int, exclude: Sequence[str], *, gitignore: bool) -> None:
        """Read no file yet.

        Raises:
            InputError: a pattern has no meaning.
        """
        try:
            self._own = GitIgnoreSpec.from_lines(exclude)
        except ValueError as error:
            raise InputError(f"An --exclude pattern cannot be used: {error}.") from error
        self._root = root
        self._active = bool(exclude) or gitignore
        self._gitignore = gitignore
        self._files: list[tuple[bytes, GitIgnoreSpec | None]] = []  # of the directories from the root down

    def __bool__(self) -> bool:
        return self._active

    def reason(self, path: bytes, is_directory: bool) -> int:
        """Why a path is left out, as a key of ``REASONS``, or 0 where it stays in; asked in walk order."""
        verdict = _verdict(self._own, path, is_directory)
        if verdict is not None:
            return EXCLUDED if verdict else 0
        return IGNORED if self._gitignore and self._verdict_of_files(path, is_directory) else 0

    def _verdict_of_files(self, path: bytes, is_directory: bool) -> bool | None:
        parent = path.rpartition(b"/")[0]
        while self._files and not _is_within(parent, self._files[-1][0]):
            self._files.pop()
        if not self._files or self._files[-1][0] != parent:
            self._files.append((parent, self._read(parent)))
        for directory, spec in reversed(self._files):
            if spec is not None:
                verdict = _verdict(spec, path[len(directory) + 1 if directory else 0 :], is_directory)
                if verdict is not None:
                    return verdict
        return None

    def _read(self, directory: bytes) -> GitIgnoreSpec | None:
        cursor = Cursor(self._root)
        try:
            cursor.move(directory.split(b"/") if directory else [])
            fd = cursor.open_file(b".gitignore")
        except OSError:
            return None
        finally:
            cursor.close()
        try:
            text = os.read(fd, _MAX_IGNORE_BYTES).decode("utf-8", "surrogateescape")
        except IsADirectoryError:
            return None
        finally:
            os.close(fd)
        try:
            return GitIgnoreSpec.from_lines(text.splitlines())
        except ValueError:
            return None  # git as well passes over a pattern it cannot read; leaving in is the safe side


def _verdict(spec: GitIgnoreSpec, path: bytes, is_directory: bool) -> bool | None:
    text = path.decode("utf-8", "surrogateescape")
    return spec.check_file(text + "/" if is_directory else text).include


def _is_within(path: bytes, directory: bytes) -> bool:
    return not directory or path == directory or path.startswith(directory + b"/")

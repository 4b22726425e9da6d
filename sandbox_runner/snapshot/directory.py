"""A directory of the host as a source or a sink; only descriptors and names are used, no link is followed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from sandbox_runner.errors import SandboxRunnerError, WorkspaceError
from sandbox_runner.guest import tree
from sandbox_runner.guest.tree_fill import put
from sandbox_runner.guest.tree_records import BODY_BYTES
from sandbox_runner.guest.tree_walk import Limits, walk
from sandbox_runner.snapshot.ignore import Ignore
from sandbox_runner.snapshot.linked import Linked

__all__ = ["DirectorySink", "DirectorySource", "open_directory"]

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class DirectorySource:
    """A user's directory, read and never written. ``exclude`` are patterns in the form of gitignore.

    With ``gitignore`` the ``.gitignore`` files of the tree count too, each for the directory it is in. What
    they leave out is an omission like what cannot be read. ``linked`` is what the directory's ``.git`` file
    leads to, where that is to be taken along; the caller closes it.
    """

    tree_fault: type[SandboxRunnerError] = WorkspaceError

    def __init__(
        self,
        path: str | Path,
        *,
        exclude: Iterable[str] = (),
        gitignore: bool = False,
        linked: Linked | None = None,
    ) -> None:
        self.path = Path(path)
        self._exclude = tuple(exclude)
        self._gitignore = gitignore
        self._linked = linked

    def scan(self, options: Mapping[str, int]) -> Iterator[bytes]:
        """See ``TreeSource.scan``.

        Raises:
            WorkspaceError: the directory is missing, no directory, or closed to us.
        """
        with open_directory(self.path) as root:
            body = bytearray()
            with _workspace_errors(self.path):
                for record in self._records(root, Limits(**options)):
                    body += record
                    if len(body) >= BODY_BYTES:
                        yield bytes(body)
                        body.clear()
            yield bytes(body)

    def fetch(self, wants: bytes) -> Iterator[bytes]:
        """See ``TreeSource.fetch``."""
        with open_directory(self.path) as root, _workspace_errors(self.path):
            if self._linked is not None:
                yield from self._linked.fetch(root, wants)
                return
            for _, body in tree.fetch(root, {}, wants):
                yield body

    def leaves_out(self, root: int, path: bytes) -> bool:
        """Whether a directory below the open root is left out on request, or one that it is in."""
        parts = path.split(b"/")
        ignore = Ignore(root, self._exclude, gitignore=self._gitignore)
        return any(ignore.reason(b"/".join(parts[: end + 1]), True) for end in range(len(parts)))

    def _records(self, root: int, limits: Limits) -> Iterator[bytes]:
        ignore = Ignore(root, self._exclude, gitignore=self._gitignore)
        if self._linked is None:
            return walk(root, limits, leave_out=ignore.reason if ignore else None)
        ours = Ignore(root, self._exclude, gitignore=self._gitignore)
        return self._linked.spliced(root, limits, ignore, ours)


class DirectorySink:
    """An empty directory of the host."""

    def __init__(self, root: int) -> None:
        self._root = root

    def put(self, bodies: Iterable[bytes]) -> Iterator[bytes]:
        """See ``TreeSink.put``."""
        for body in bodies:
            for _, answer in put(self._root, {}, body):
                yield answer


@contextlib.contextmanager
def open_directory(path: Path) -> Iterator[int]:
    """A descriptor of a directory the user named; its own name may be a link, nothing below it is followed.

    Raises:
        WorkspaceError: it is missing, no directory, or closed to us.
    """
    try:
        fd = os.open(path, _FLAGS)
    except OSError as error:
        raise WorkspaceError(f"The directory {path} cannot be opened: {error.strerror}.") from error
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _workspace_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WorkspaceError(f"The directory {path} cannot be read: {error.strerror or error}.") from error

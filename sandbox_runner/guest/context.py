"""What every method of the guest works with."""

from __future__ import annotations

import os

from sandbox_runner.guest.children import Children
from sandbox_runner.guest.identity import Identity
from sandbox_runner.guest.ledger import Ledger
from sandbox_runner.guest.paths import close_parent, open_parent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from sandbox_runner.guest.config import Config
    from sandbox_runner.guest.host import HostStream
    from sandbox_runner.guest.origin import Origin
    from sandbox_runner.guest.search_index import SearchIndex

__all__ = ["Guest"]

_WORKSPACE = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Guest:
    """One sandbox's state: configuration, identity, the open workspace, and what is kept for the run.

    Attributes:
        root: descriptor of the workspace, opened as the sandbox uid.
        bundles: push bundles by repository and branch, in memory that foreign code cannot reach.
        server: the pre-loaded test server, once started.
        index: what searches remember of the workspace; ``None`` after anything that may have changed it.
        believed: which of the kernel's answers tell whether foreign code is left (see ``foreign``); none
            before the first foreign code.
        output: what the programs of the call under way print, where the host is to have it.
        memory_reached: until when the Engine's news of a reached memory limit are about programs that have
            ended, in nanoseconds of the kernel's clock, which is the Engine's as well; 0 once it is answered.
        turn: niceness and processors that every program begins with, as they were before the first foreign
            code.
        edited: what commits left alone of the tracked files that the user had edited, by the repository's
            name; empty after anything that may have changed files without a trace.
        origin: the tree that the run's work began with; ``None`` where it began empty.
        settled: a time, in nanoseconds since 1970, and the contents of files that were not changed since, by
            path (see ``origin``); ``None`` after anything that may have changed files without a trace.
        surveyed: entries of the repositories that hold nothing in which git would get stuck, by name; empty
            after anything that may have changed that.
    """

    __slots__ = (
        "_folder",
        "_folder_names",
        "believed",
        "bundles",
        "children",
        "config",
        "edited",
        "host",
        "identity",
        "index",
        "ledger",
        "memory_reached",
        "origin",
        "output",
        "root",
        "server",
        "settled",
        "surveyed",
        "turn",
    )

    def __init__(self, config: Config, host: HostStream) -> None:
        self.config = config
        self.host = host
        self.children = Children()
        self.identity = Identity(config.uid)
        with self.identity:
            self.root = os.open(config.workspace, _WORKSPACE)
        self.ledger = Ledger(config)
        self.bundles: dict[tuple[str, str], Any] = {}
        self.server: Any = None
        self.believed: tuple[Callable[[int], bool], ...] = ()
        self.index: SearchIndex | None = None
        self.memory_reached = 0
        self.output: Any = None
        self.turn: tuple[int, Sequence[int]] = (0, ())
        self.origin: Origin | None = None
        self.settled: tuple[int, dict[bytes, bytes]] | None = None
        self.surveyed: dict[str, int] = {}
        self.edited: dict[str, dict[bytes, bytes]] = {}
        self._folder = self.root
        self._folder_names: Sequence[bytes] = []

    def parent(self, parts: Sequence[bytes], path: str, *, create: bool = False) -> int:
        """The directory that holds the last of ``parts``: its descriptor, good until the next call of this.

        Files are often used in the same directory one after the other, so the last one stays open. Nothing
        moves it meanwhile: only programs do, and they make the guest forget.

        Raises:
            StepError: see ``paths.open_parent``.
        """
        names = parts[:-1]
        if names != self._folder_names or self.config.shared:  # in a shared workspace the host's user may
            found = open_parent(self.root, parts, path, create=create)
            close_parent(self.root, self._folder)
            self._folder, self._folder_names = found, names
        return self._folder

    def forget(self) -> None:
        """Something may have changed the workspace: nothing that is remembered of it holds."""
        self.index = self.settled = None
        self.surveyed = {}
        self.edited = {}
        close_parent(self.root, self._folder)
        self._folder, self._folder_names = self.root, []

    def full(self) -> str:
        """Which limit of the workspace's file system a lack of space means: ``inodes`` or ``disk``."""
        found = os.fstatvfs(self.root)
        return "inodes" if found.f_files and found.f_favail == 0 else "disk"

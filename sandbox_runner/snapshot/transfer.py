"""The seam between snapshots and whatever holds a tree: a directory of the host, or a sandbox.

Both sides speak the three requests of ``guest/tree.py``; only bodies of records cross the seam, so a sandbox
has nothing to do but carry them. What comes back from a sandbox is hostile until ``snapshot`` has checked it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from sandbox_runner.errors import SandboxRunnerError
from sandbox_runner.guest.tree_walk import Limits

__all__ = ["NAMES_BYTES", "OMISSIONS_BYTES", "Limits", "TreeSink", "TreeSource"]

NAMES_BYTES = 128 << 20
"""All paths of an imported tree together, bytes; 200,000 files may have 670 each."""
OMISSIONS_BYTES = 16 << 20
"""The paths of all that a snapshot leaves out together, bytes: whoever looks at a snapshot holds them."""


class TreeSource(Protocol):
    """A tree that can be captured."""

    @property
    def tree_fault(self) -> type[SandboxRunnerError]:
        """The error to raise when what this source says does not hold together.

        ``GuestError`` for a sandbox, ``WorkspaceError`` for a directory of the host.
        """

    def scan(self, options: Mapping[str, int]) -> Iterator[bytes]:
        """The bodies of the answers to one do=scan request whose header carries ``options``, in order.

        ``options`` are the fields of ``Limits``, all integers. A sandbox adds ``"lift": True`` of its own.
        """

    def fetch(self, wants: bytes) -> Iterator[bytes]:
        """The bodies of the answers to one do=fetch request with the body ``wants``, in order."""


class TreeSink(Protocol):
    """An empty place that can be filled."""

    def put(self, bodies: Iterable[bytes]) -> Iterator[bytes]:
        """Send each body as one do=put request; yields the body of each answer, in order.

        May send several ahead of the answers. The caller stops pulling at the first answer that is a refusal;
        what was sent after it fails as well and does no harm.
        """

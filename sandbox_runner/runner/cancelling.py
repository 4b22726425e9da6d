"""Stopping runs from another thread: their sandboxes hang up, their records close as interrupted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sandbox_runner.sandbox import Sandbox

__all__ = ["Cancellation"]


class Cancellation:
    """One switch for any number of runs; once thrown it stays thrown."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sandboxes: set[Sandbox] = set()
        self._cancelled = False

    @property
    def cancelled(self) -> bool:
        """Whether the switch was thrown."""
        return self._cancelled

    def cancel(self) -> None:
        """Stop every run that has this switch; whoever waits for a sandbox stops waiting at once."""
        with self._lock:
            self._cancelled = True
            for sandbox in self._sandboxes:
                sandbox.abort()

    @contextmanager
    def covering(self, sandbox: Sandbox) -> Iterator[None]:
        """While the block runs, the switch ends this sandbox; where it was thrown before, at once."""
        with self._lock:
            self._sandboxes.add(sandbox)
            if self._cancelled:
                sandbox.abort()
        try:
            yield
        finally:
            with self._lock:
                self._sandboxes.discard(sandbox)

"""A sandbox that starts in the background while the host does something else, and never outlives its run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from sandbox_runner.errors import SandboxRunnerError
from sandbox_runner.sandbox import CleanupReceipt, Sandbox, SandboxSpec

__all__ = ["StartSandbox", "StartingSandbox"]

StartSandbox = Callable[[SandboxSpec], Sandbox]


class StartingSandbox:
    """Begins to start at once; ``sandbox`` waits for it, leaving the block removes it however far it came."""

    def __init__(self, start: StartSandbox, spec: SandboxSpec) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="start-sandbox")
        self._future: Future[Sandbox] = self._thread.submit(start, spec)

    def sandbox(self) -> Sandbox:
        """The started sandbox.

        Raises:
            SandboxError: it could not be started.
        """
        return self._future.result()

    def close(self) -> CleanupReceipt | None:
        """Remove the sandbox; None where there never was one. May be called again."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        try:
            return self._future.result().close()
        except (SandboxRunnerError, CancelledError):
            return None  # a start that fails leaves nothing behind, and whoever waits for it is told

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

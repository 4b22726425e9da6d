"""Sandboxes started ahead of need: each waits empty and without an identity, is used once, and is destroyed.

A prepared sandbox has a booted guest that knows no run yet; taking it costs one request. Keepers refill the
pool in the background and wait longer after each failure, so a hiccup of Docker's is survived and an outage
not hammered at. Removal happens in the background too. When the process ends, however it ends, the prepared
ones end with it.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from sandbox_runner.errors import ImageError, InputError, SandboxError, SandboxRunnerError
from sandbox_runner.sandbox.engine import Engine
from sandbox_runner.sandbox.receipt import CleanupReceipt
from sandbox_runner.sandbox.sandbox import Sandbox
from sandbox_runner.sandbox.spec import SandboxSpec

__all__ = ["SandboxPool"]

_KEEPERS = 3  # a start is mostly waiting for others; yet more at once only fight for the processors
_UNDERTAKERS = 4
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 15.0


class SandboxPool:
    """A bounded store of prepared sandboxes. Use it as a context manager; any thread may take and retire.

    Args:
        size: how many wait at most.
        spec: what each of them is.
        engine: the Docker Engine; by default the one of the environment.
        uses: how many will be taken altogether, where that is known: towards the end none is started that
            nobody will take. Whoever takes more waits for a start each time.
    """

    def __init__(
        self,
        size: int,
        spec: SandboxSpec | None = None,
        *,
        engine: Engine | None = None,
        uses: int | None = None,
    ) -> None:
        if size < 1:
            raise ValueError("a pool holds at least one sandbox")
        self._size = size
        self._uses = math.inf if uses is None else uses  # how many more will be taken
        self._spec = spec or SandboxSpec()
        self._engine = engine or Engine.connect()
        self._ready: deque[tuple[Sandbox, float]] = deque()
        self._starting = 0
        self._error: SandboxRunnerError | None = None
        self._closed = threading.Event()
        self._changed = threading.Condition()
        self._undertakers = ThreadPoolExecutor(_UNDERTAKERS, thread_name_prefix="sandbox-undertaker")
        self._keepers = [
            threading.Thread(target=self._keep, name=f"sandbox-keeper-{number}", daemon=True)
            for number in range(min(size, _KEEPERS))
        ]
        for keeper in self._keepers:
            keeper.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def ready(self) -> int:
        """How many sandboxes wait."""
        return len(self._ready)

    def take(self, run_id: str, guest: Mapping[str, Any], *, deadline_s: float = 120.0) -> Sandbox:
        """A sandbox that nobody used before, set up for this run. The caller retires or closes it.

        Raises:
            ImageError: no sandbox of this kind can ever start; ``ConfigurationError`` likewise. SandboxError:
            none was ready within ``deadline_s``, because of what the last attempt to start one said.
        """
        end = time.monotonic() + deadline_s
        while True:
            sandbox = self._next(end)
            began = time.monotonic()
            try:
                sandbox.set_up(run_id, guest)
            except SandboxError:
                self.retire(sandbox)
                with self._changed:
                    self._uses += 1
                # One that died while it waited is made good by another; a refusal would only repeat itself.
                if not sandbox.channel.ended or time.monotonic() > end:
                    raise
                continue
            finally:  # only now the keepers: starting the next one must not hold up this one's first answer
                with self._changed:
                    self._changed.notify_all()
            sandbox.started_s = time.monotonic() - began
            return sandbox

    def retire(self, sandbox: Sandbox) -> Future[CleanupReceipt]:
        """End a sandbox that was taken; its removal goes on in the background."""
        return self._undertakers.submit(sandbox.close)

    def close(self) -> None:
        """Stop refilling and end everything that waits; returns when all of it is gone."""
        with self._changed:
            self._closed.set()
            self._changed.notify_all()
        for keeper in self._keepers:
            keeper.join()
        while self._ready:
            self.retire(self._ready.popleft()[0])
        self._undertakers.shutdown(wait=True)

    def _next(self, end: float) -> Sandbox:
        with self._changed:
            while True:
                if self._closed.is_set():
                    raise SandboxError("The pool of sandboxes is closed.")
                if self._uses < 1:
                    self._uses = 1
                    self._changed.notify_all()
                while self._ready:
                    sandbox, born = self._ready.popleft()
                    if sandbox.waiting and time.monotonic() - born < self._spec.deadlines.lifetime / 2:
                        self._uses -= 1
                        return sandbox
                    self.retire(sandbox)
                    self._changed.notify_all()
                if isinstance(self._error, ImageError | InputError):
                    raise self._error
                if not self._changed.wait(max(0.0, end - time.monotonic())):
                    why = f": {self._error}" if self._error else ""
                    raise SandboxError(f"No sandbox was ready in time{why}") from self._error

    def _keep(self) -> None:
        """Start sandboxes while some are missing, until the pool is closed."""
        pause = _FIRST_PAUSE_S
        while self._claim():
            sandbox = None
            error: SandboxRunnerError | None = None
            try:
                sandbox = Sandbox.prepare(self._spec, engine=self._engine)
            except SandboxRunnerError as caught:
                error = caught
            self._deliver(sandbox, error)
            if error is None:
                pause = _FIRST_PAUSE_S
            else:
                self._closed.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _claim(self) -> bool:
        """Wait until one is missing and promise to start it; false when the pool is closed."""
        with self._changed:
            while not self._closed.is_set() and not self._missing():
                self._changed.wait()
            if self._closed.is_set():
                return False
            self._starting += 1
            return True

    def _missing(self) -> bool:
        """Whether fewer wait, or are being started, than may wait and will be taken."""
        return len(self._ready) + self._starting < min(self._size, self._uses)

    def _deliver(self, sandbox: Sandbox | None, error: SandboxRunnerError | None) -> None:
        with self._changed:
            self._starting -= 1
            self._error = error
            if sandbox is not None:
                self._ready.append((sandbox, time.monotonic()))
            self._changed.notify_all()

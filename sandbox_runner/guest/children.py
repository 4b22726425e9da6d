"""This process's children: every dead one is collected, and the statuses asked for are kept."""

from __future__ import annotations

import os

from sandbox_runner.guest.lean import signal

__all__ = ["Children"]


class Children:
    """Made once per guest.

    Attributes:
        news: descriptor that becomes readable whenever a child changes; ``heed`` empties it.
    """

    __slots__ = ("_expected", "_statuses", "news")

    def __init__(self) -> None:
        self.news, kernels = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)  # only with a handler is the pipe written
        signal.set_wakeup_fd(kernels, warn_on_full_buffer=False)
        self._expected: set[int] = set()
        self._statuses: dict[int, int] = {}

    def expect(self, pid: int) -> None:
        """Keep the status of this child until it is asked for."""
        self._expected.add(pid)

    def reap(self) -> int:
        """Collect the dead and say how many; process 1 gets orphans too, and uncollected they use up pids."""
        collected = 0
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return collected
            if not pid:
                return collected
            collected += 1
            if pid in self._expected:
                self._expected.remove(pid)
                self._statuses[pid] = status

    def status(self, pid: int) -> int | None:
        """The wait status of an expected child, once it is dead; only the first answer holds it."""
        self.reap()
        return self._statuses.pop(pid, None)

    def heed(self) -> None:
        """Forget the news so far."""
        try:
            os.read(self.news, 4096)
        except BlockingIOError:
            return

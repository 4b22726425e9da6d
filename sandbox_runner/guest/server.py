"""The guest's side of the test server: a process that has pytest loaded and forks a session per request.

It is root like this process, has no descriptor of ours but four pipes and the workspace, and runs the image's
code only. What it forks becomes the sandbox uid before a line of the workspace runs. The output pipes are
the same for every session: when one is over, every other writer is dead, so what is in them belongs to it.
Its first four descriptors are what a session's are, so that Python's streams are as in a new process.
"""

from __future__ import annotations

import fcntl
import os

from sandbox_runner.guest.confine import default_signals
from sandbox_runner.guest.foreign import prove
from sandbox_runner.guest.lean import json_encoder, signal
from sandbox_runner.guest.process import Ended, Pipes, child_limits, environment, supervise
from sandbox_runner.guest.texts import python_command, source_of
from sandbox_runner.guest.tools import find_tool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox_runner.guest.context import Guest
    from sandbox_runner.guest.process import Sink

__all__ = ["TestServer", "start_server"]

_DEAD = b"dead"
_KILLED = 128 + signal.SIGKILL
_encode = json_encoder()
_OUT_OF_THE_WAY = 64  # above every descriptor that is placed for the server


class TestServer:
    """A running server; ``run`` has one session done."""

    __test__ = False
    __slots__ = ("_answers", "_heard", "_output", "_report", "_requests")

    def __init__(self, requests: int, answers: int, output: int, report: int) -> None:
        self._requests = requests
        self._answers = answers
        self._output = output
        self._report = report
        self._heard = b""

    def run(
        self, guest: Guest, settings: dict[str, Any], output: Sink, report: Sink, seconds: float
    ) -> Ended:
        """One session. A server that died counts as a killed session, and the next one has a new server.

        But where the memory ran out, the kernel chose between the server and this process, and would choose
        otherwise next time: it comes to the same only if this process goes as well. The host knows how to
        tell that end.
        """
        prove(guest)
        request = {
            "settings": settings,
            "uid": guest.identity.uid,
            "limits": child_limits(guest, seconds),
            "turn": guest.turn,
        }
        try:
            os.write(self._requests, _encode(request).encode() + b"\n")
        except BrokenPipeError:
            self._heard = _DEAD
        pipes = Pipes.around({self._output: output, self._report: report})
        ended = supervise(guest, pipes, seconds, self._status, self._answers)
        if self._heard == _DEAD:
            if "memory" in ended.exhausted:
                os._exit(_KILLED)
            for fd in (self._requests, self._answers, self._output, self._report):
                os.close(fd)
            start_server(guest)
        return ended

    def _status(self) -> int | None:
        if self._heard == _DEAD:
            return signal.SIGKILL
        try:
            data = os.read(self._answers, 64)
        except BlockingIOError:
            return None
        self._heard = self._heard + data if data else _DEAD
        if not self._heard.endswith(b"\n"):
            return None if data else signal.SIGKILL
        status, self._heard = int(self._heard), b""
        return status


def start_server(guest: Guest) -> None:
    """Start a server and make it the guest's (none where the image has no Python); do not wait for it."""
    guest.server = None
    python = find_tool("python3")
    if python is None:
        return
    argv = python_command(python, "pytest_session", "null", source_of("confine"))
    theirs_requests, requests = os.pipe2(os.O_CLOEXEC)
    answers, theirs_answers = os.pipe2(os.O_CLOEXEC)
    output, theirs_output = os.pipe2(os.O_CLOEXEC)
    report, theirs_report = os.pipe2(os.O_CLOEXEC)
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    theirs = [nothing, theirs_output, theirs_report, theirs_requests, theirs_answers]
    places = [nothing, theirs_output, theirs_output, theirs_report, theirs_requests, theirs_answers]
    if os.fork() == 0:
        try:
            _become_server(argv, environment(guest), [*places, guest.root])
        finally:
            os._exit(127)
    for fd in theirs:
        os.close(fd)
    os.set_blocking(answers, False)
    guest.server = TestServer(requests, answers, output, report)


def _become_server(argv: list[str], settings: dict[str, str], places: list[int]) -> None:
    os.setsid()
    default_signals()
    copies = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _OUT_OF_THE_WAY) for fd in places]
    for place, fd in enumerate(copies):
        os.dup2(fd, place)
    os.execve(argv[0], argv, settings)

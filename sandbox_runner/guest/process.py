"""Programs as the sandbox uid: started with nothing of ours, watched, and ended with all they left behind.

A program gets its own session, no capabilities, no descriptor but those named, an environment made here, and
limits. While it runs this process watches its output, its deadline and the host's end of the stream at once;
when it is over everything of the sandbox uid is killed before a byte of its report is believed.
"""

from __future__ import annotations

import fcntl
import os
import resource
import select
import time

from sandbox_runner.guest.confine import confine, default_signals
from sandbox_runner.guest.counters import LimitCounters
from sandbox_runner.guest.foreign import PATIENCE_S, end_foreign, prove
from sandbox_runner.guest.identity import HOME, USER
from sandbox_runner.guest.tools import PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Protocol

    from sandbox_runner.guest.context import Guest

    class Sink(Protocol):
        @property
        def cut(self) -> bool: ...

        def take(self, data: bytes) -> None: ...


__all__ = ["Ended", "Pipes", "Program", "author", "child_limits", "environment", "run", "supervise"]

_READ = 1 << 16
_TICK_MS = 1000  # the longest sleep without looking at the clock
_SOON_MS = 50  # between two looks for what is due any moment
_TOLD_S = 0.5  # by when the Engine has noticed a memory limit that was reached; its news come a moment later
_SPARE_PROCESSES = 6  # of the container's process limit, for this process, the test server and the killer
_OUT_OF_THE_WAY = 100  # above every descriptor that is placed for a program
_NOT_STARTED = 127
_EMAIL = "agent@sandbox.invalid"


class Ended:
    """How a program ended.

    Attributes:
        code: exit code, or ``None`` if a signal ended it.
        signal: number of that signal, or ``None``.
        timed_out: the deadline passed and it was killed here.
        exhausted: which limits were hit, sorted: ``disk``, ``inodes``, ``memory``, ``output``, ``pids``,
            ``time``. left: processes that were still alive at its end.
    """

    __slots__ = ("code", "exhausted", "left", "signal", "timed_out")

    def __init__(self, status: int, *, timed_out: bool, exhausted: list[str], left: int) -> None:
        self.code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        self.signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        self.timed_out = timed_out
        self.exhausted = exhausted
        self.left = left

    def manner(self) -> str:
        """The end in a few words, for a sentence."""
        if self.timed_out:
            return "timeout"
        if self.signal is not None:
            why = " (out of memory)" if "memory" in self.exhausted else ""
            return f"killed by signal {self.signal}{why}"
        return f"exit={self.code}"


class Pipes:
    """The pipes between this process and a program: what it writes to which descriptors, and who takes it.

    Args:
        sinks: pairs of the program's descriptors and the sink of what is written there.
        stdin: what the program reads; empty means nothing at all.
    """

    __slots__ = ("_closing", "child_ends", "feed", "sinks", "stdin")

    def __init__(self, sinks: Sequence[tuple[tuple[int, ...], Sink]], stdin: bytes = b"") -> None:
        self.sinks: dict[int, Sink] = {}
        self.child_ends: dict[int, int] = {}
        self._closing: list[int] = []
        self.feed = -1
        self.stdin = memoryview(stdin)
        try:
            self._open(sinks)
        except OSError:
            self.close()
            raise

    def _open(self, sinks: Sequence[tuple[tuple[int, ...], Sink]]) -> None:
        for numbers, sink in sinks:
            ours, theirs = os.pipe2(os.O_CLOEXEC)
            self.sinks[ours] = sink
            self._closing.append(theirs)
            for number in numbers:
                self.child_ends[number] = theirs
        if self.stdin:
            theirs, self.feed = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self.feed, False)
        else:
            theirs = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self._closing.append(theirs)
        self.child_ends[0] = theirs

    @classmethod
    def around(cls, sinks: dict[int, Sink]) -> Pipes:
        """Pipes that exist already and outlive the program."""
        pipes = cls(())
        pipes.close_child_ends()
        pipes.sinks = sinks
        return pipes

    def close_child_ends(self) -> None:
        """Let go of the program's ends, so that the end of its output can be seen."""
        for fd in self._closing:
            os.close(fd)
        self._closing = []

    def close(self) -> None:
        """Let go of everything."""
        self.close_child_ends()
        self.stop_feeding()
        for fd in self.sinks:
            os.close(fd)
        self.sinks = {}

    def stop_feeding(self) -> None:
        """The program has all of its input, or does not want it."""
        if self.feed >= 0:
            os.close(self.feed)
            self.feed = -1

    def write_some(self) -> bool:
        """Feed the program; whether there is more to come."""
        try:
            self.stdin = self.stdin[os.write(self.feed, self.stdin[:_READ]) :]
        except BlockingIOError:
            return True
        except BrokenPipeError:
            return False
        return len(self.stdin) > 0

    def drain(self) -> None:
        """Read what is left after every writer is dead; that is at most what the pipes hold."""
        for fd, sink in self.sinks.items():
            os.set_blocking(fd, False)
            try:
                data = os.read(fd, _READ)
                while data:
                    sink.take(data)
                    data = os.read(fd, _READ)
            except BlockingIOError:
                continue


class Program:
    """What to run.

    Attributes:
        argv: the absolute path and the arguments.
        cwd: descriptor of the working directory.
        sinks: see ``Pipes``.
        stdin: what it reads.
        extra: environment beyond the fixed one.
        only_reads: it is the image's own and changes nothing, so what is remembered of the workspace holds.
    """

    __slots__ = ("argv", "cwd", "extra", "only_reads", "sinks", "stdin")

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: int,
        sinks: Sequence[tuple[tuple[int, ...], Sink]],
        stdin: bytes = b"",
        extra: Mapping[str, str] | None = None,
        only_reads: bool = False,
    ) -> None:
        self.only_reads = only_reads
        self.argv = argv
        self.cwd = cwd
        self.sinks = sinks
        self.stdin = stdin
        self.extra = extra or {}


def run(guest: Guest, program: Program, seconds: float) -> Ended:
    """Run a program as the sandbox uid to its end, or to its deadline; ``limits.call_s`` bounds that.

    Raises:
        HostGoneError: the host went away meanwhile.
        OSError: it could not be started.
    """
    prove(guest)
    seconds = min(seconds, guest.config.limits.call_s)
    index, settled = (guest.index, guest.settled) if program.only_reads else (None, None)
    pipes = Pipes(program.sinks, program.stdin)
    try:
        pid, failure = _start(guest, program, pipes, seconds)
        try:
            guest.children.expect(pid)
            pipes.close_child_ends()
            ended = supervise(guest, pipes, seconds, lambda: guest.children.status(pid), guest.children.news)
            number = os.read(failure, 8)
        finally:
            os.close(failure)
    finally:
        pipes.close()
    guest.index, guest.settled = index, settled
    if number:
        raise OSError(int(number), os.strerror(int(number)), program.argv[0])
    return ended


def supervise(
    guest: Guest, pipes: Pipes, seconds: float, status: Callable[[], int | None], news: int
) -> Ended:
    """Watch a started program until it ends or its time is over, then end everything it left.

    Args:
        guest: the sandbox.
        pipes: its pipes, the program's ends closed.
        seconds: its time.
        status: its wait status, or ``None`` while it runs.
        news: descriptor that becomes readable when ``status`` may have changed.

    Raises:
        HostGoneError: the host went away.
        RuntimeError: the kernel or the server does not say that it is over.
    """
    guest.forget()  # whatever runs may change every file; what only reads is let off by ``run``
    guest.host.flush()  # it may take long; answers that are ready do not wait for it
    counters = LimitCounters()
    deadline = time.monotonic() + seconds
    poller = select.poll()
    for fd in (news, guest.children.news):
        poller.register(fd, select.POLLIN)
    for fd in pipes.sinks:
        poller.register(fd, select.POLLIN)
    if pipes.feed >= 0:
        poller.register(pipes.feed, select.POLLOUT)
    found = status()
    while found is None:
        left = deadline - time.monotonic()
        if left <= 0:
            break
        poller.register(guest.host.source, guest.host.events)
        for fd, event in poller.poll(min(_TICK_MS, left * 1000 + 1)):
            if fd != news or news == guest.children.news:  # a server's news are asked for below
                _attend(guest, pipes, poller, fd, event)
        found = status()
    timed_out = found is None
    left_over = end_foreign(guest)
    if found is None:
        found, left_over = _told(guest, poller, status, left_over)
    pipes.drain()
    return Ended(
        found,
        timed_out=timed_out,
        exhausted=_exhausted(guest, pipes, counters, left_over, timed_out=timed_out),
        left=left_over,
    )


def _told(
    guest: Guest, poller: select.poll, status: Callable[[], int | None], left_over: int
) -> tuple[int, int]:
    """How a program ended that is dead now, once its parent says so; and the most that was left of it."""
    told_by = time.monotonic() + PATIENCE_S
    found = status()
    while found is None:
        if time.monotonic() > told_by:
            raise RuntimeError(
                f"how a program ended was not told for {PATIENCE_S:g} s after everything was killed"
            )
        poller.poll(_SOON_MS)
        guest.children.heed()
        left_over = max(left_over, end_foreign(guest))  # a server may have started it only now
        found = status()
    return found, left_over


def _attend(guest: Guest, pipes: Pipes, poller: select.poll, fd: int, event: int) -> None:
    if fd == guest.host.source:
        guest.host.notice(event)
    elif fd == guest.children.news:
        guest.children.heed()
        guest.children.reap()  # orphans, uncollected, would use up the program's process limit
    elif fd == pipes.feed:
        if event & ~select.POLLOUT or not pipes.write_some():
            poller.unregister(fd)
            pipes.stop_feeding()
    else:
        data = os.read(fd, _READ)
        pipes.sinks[fd].take(data)
        if not data:
            poller.unregister(fd)


def _exhausted(
    guest: Guest, pipes: Pipes, counters: LimitCounters, left: int, *, timed_out: bool
) -> list[str]:
    found = set(counters.raised())
    if "memory" in found:
        time.sleep(_TOLD_S)
        guest.memory_reached = time.time_ns()
    if timed_out:
        found.add("time")
    if any(sink.cut for sink in pipes.sinks.values()):
        found.add("output")
    if left >= _process_limit(guest) - 1:
        found.add("pids")
    space = os.fstatvfs(guest.root)
    if space.f_blocks and space.f_bavail == 0:
        found.add("disk")
    if space.f_files and space.f_favail == 0:
        found.add("inodes")
    return sorted(found)


def environment(guest: Guest) -> dict[str, str]:
    """The whole environment of a program: nothing of ours, and nothing that differs between two runs."""
    config = guest.config
    name, date = author(config.principal), f"@{config.clock} +0000"
    return {
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_AUTHOR_DATE": date,
        "GIT_AUTHOR_EMAIL": _EMAIL,
        "GIT_AUTHOR_NAME": name,
        "GIT_COMMITTER_DATE": date,
        "GIT_COMMITTER_EMAIL": _EMAIL,
        "GIT_COMMITTER_NAME": name,
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "HOME": HOME,
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "LOGNAME": USER,
        "PATH": PATH,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "TERM": "dumb",
        "TMPDIR": "/tmp",
        "TZ": "UTC",
        "USER": USER,
    }


def author(principal: str) -> str:
    """A name that git accepts: what it would strip or refuse is gone, and something is left."""
    name = " ".join("".join(c if c.isprintable() and c not in "<>" else " " for c in principal).split())
    return name if name.strip(" .,:;\"'\\") else "executor"


def child_limits(guest: Guest, seconds: float) -> list[tuple[int, int]]:
    """The resource limits of a program that may run for some seconds."""
    limits = guest.config.limits
    return [
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_NPROC, _process_limit(guest)),
        (resource.RLIMIT_CPU, int(seconds * (os.cpu_count() or 1)) + 2),  # the deadline's backstop
    ]


def _process_limit(guest: Guest) -> int:
    return max(2, guest.config.limits.processes - _SPARE_PROCESSES)


def _start(guest: Guest, program: Program, pipes: Pipes, seconds: float) -> tuple[int, int]:
    """Fork and exec; the process id, and a descriptor that tells in the end why it could not start."""
    failure, failing = os.pipe2(os.O_CLOEXEC)
    settings = {**environment(guest), **program.extra}
    try:
        pid = os.fork()
    except OSError:
        os.close(failure)
        os.close(failing)
        raise
    if pid:
        os.close(failing)
        return pid, failure
    try:
        report = fcntl.fcntl(failing, fcntl.F_DUPFD_CLOEXEC, _OUT_OF_THE_WAY)
        confine(guest.identity.uid, pipes.child_ends, program.cwd, child_limits(guest, seconds), guest.turn)
        default_signals()  # only now: where writing is forbidden, a refused write of ours would be our end
        os.execve(program.argv[0], list(program.argv), settings)
    except OSError as error:
        os.write(report, str(error.errno).encode())
    finally:
        os._exit(_NOT_STARTED)

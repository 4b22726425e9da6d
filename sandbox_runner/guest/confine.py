"""Turning a fresh child into a program of the sandbox uid. There is no way back.

Standalone: the test server, which is another process, runs this same source.
"""

from __future__ import annotations

import fcntl
import os
import resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping, Sequence
else:
    try:
        import _signal as signal  # without ``enum`` and all that it brings
    except ImportError:
        import signal

__all__ = ["confine", "default_signals", "forbid_writing", "turn_of"]

_OUT_OF_THE_WAY = 64  # descriptors are first copied to here, so that none is overwritten before its turn
_HANDLED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ)


def confine(
    uid: int,
    ends: Mapping[int, int],
    cwd: int,
    limits: Sequence[tuple[int, int]],
    turn: tuple[int, Sequence[int]],
) -> None:
    """Own session, only the given descriptors, limits, all ids the uid's, no groups.

    Capabilities go with the last id that was 0. Descriptors that are not in ``ends`` close on exec; who
    does not exec closes them itself. Signals are left alone: who execs resets them with ``default_signals``,
    who does not is a Python that has those of every new one.

    Args:
        uid: becomes real, effective and saved uid and gid.
        ends: from the descriptor the program shall have to the one that is here.
        cwd: descriptor of the working directory, entered as that uid.
        limits: pairs of a ``resource.RLIMIT_*`` and its value; a lower hard limit that is in force stays.
        turn: niceness and processors, see ``turn_of``.
    """
    os.setsid()
    _go_first_when_memory_runs_out()
    _take_turn(*turn)
    for kind, wanted in limits:
        hard = resource.getrlimit(kind)[1]
        value = int(wanted if hard == resource.RLIM_INFINITY else min(wanted, hard))
        resource.setrlimit(kind, (value, value))
    copies = {number: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _OUT_OF_THE_WAY) for number, fd in ends.items()}
    directory = fcntl.fcntl(cwd, fcntl.F_DUPFD_CLOEXEC, _OUT_OF_THE_WAY)
    for place, fd in copies.items():
        os.dup2(fd, place)
        os.close(fd)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    os.fchdir(directory)
    os.close(directory)


def default_signals() -> None:
    """Give back what this Python handles or ignores, just before an exec: what is ignored stays ignored."""
    signal.set_wakeup_fd(-1)
    for number in _HANDLED:
        signal.signal(number, signal.SIG_DFL)


def turn_of(pid: int) -> tuple[int, list[int]]:
    """Niceness and processors of a process: what the kernel lets a child have from its parent."""
    return os.getpriority(os.PRIO_PROCESS, pid), sorted(os.sched_getaffinity(pid))


def forbid_writing() -> None:
    """No byte goes into a file any more, from here or from any child; no capability here can undo it.

    The kernel does not count what is written to pipes. A read-only mount would also keep names from
    changing, but the container's mounts are made before its workspace is filled.
    """
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _take_turn(niceness: int, processors: Sequence[int]) -> None:
    """Have what the guest began with: under gVisor anybody may change it for any process, the guest too."""
    if (niceness, list(processors)) == turn_of(0):
        return
    try:
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
        os.sched_setaffinity(0, processors)
    except OSError:
        return  # Linux keeps it from others, and may have changed it itself, with the group's processors


def _go_first_when_memory_runs_out() -> None:
    """Ask the kernel to take this process and spare the guest."""
    try:
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return  # some runtimes have no such file; they limit memory from outside
    try:
        os.write(fd, b"1000")
    except OSError:
        return  # gVisor takes it for a file like any other, where writing is forbidden
    finally:
        os.close(fd)

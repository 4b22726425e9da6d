"""Ending what foreign code left running."""

from __future__ import annotations

import errno
import os
import time

from sandbox_runner.guest.lean import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox_runner.guest.context import Guest
    from sandbox_runner.guest.identity import Identity

__all__ = ["end_foreign"]

_PATIENCE_S = 10.0  # after a SIGKILL only the kernel's own work remains
_PAUSE_S = 0.001


def end_foreign(guest: Guest) -> int:
    """Kill every process of the sandbox uid, again and again until none is left; say how many there were.

    A child that has become that uid altogether does it, so the kernel spares everything else. Where the
    process limit leaves no room for a child, this process does it itself, with its saved uid kept at 0.

    Raises:
        RuntimeError: something survived for ten seconds; the sandbox cannot be trusted any more.
    """
    guest.identity.take_off()
    guest.children.reap()
    living = _living(guest.identity.uid)
    most = len(living)
    deadline = time.monotonic() + _PATIENCE_S
    while living:
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes of the sandbox uid survive SIGKILL: {living[:10]}")
        _kill_all(guest.identity)
        guest.children.reap()
        living = _living(guest.identity.uid)
        most = max(most, len(living))
        if living:
            time.sleep(_PAUSE_S)
    guest.children.reap()
    return most


def _kill_all(identity: Identity) -> None:
    try:
        pid = os.fork()
    except OSError as error:
        if error.errno not in {errno.EAGAIN, errno.ENOMEM}:
            raise
        _kill_all_here(identity)
        return
    if pid == 0:
        try:
            identity.become()
            os.kill(-1, signal.SIGKILL)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def _kill_all_here(identity: Identity) -> None:
    """For one system call the real uid is foreign, and foreign code may signal us: the one handler is off.

    Without a handler no signal reaches process 1 of a pid namespace, whoever in it sends one.
    """
    handler = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        os.setresuid(identity.uid, identity.uid, 0)
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            return
        finally:
            os.setresuid(0, 0, 0)
    finally:
        signal.signal(signal.SIGTERM, handler)


def _living(uid: int) -> list[int]:
    """Processes of a uid that are not dead yet."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and _owner(name) == uid]


def _owner(pid: str) -> int | None:
    """Who a living process is: its folder in /proc may be root's, its status file tells the truth."""
    try:
        fd = os.open(f"/proc/{pid}/status", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        lines = os.read(fd, 4096).split(b"\n")
    except OSError:
        return None
    finally:
        os.close(fd)
    fields = dict(line.split(b":", 1) for line in lines if b":" in line)
    dead = fields.get(b"State", b"").strip()[:1] in {b"Z", b"X"}
    return None if dead or b"Uid" not in fields else int(fields[b"Uid"].split()[0])

"""Ending what foreign code left running, and emptying what it left lying about."""

from __future__ import annotations

import errno
import os
import signal
import stat
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox_runner.guest.context import Guest
    from sandbox_runner.guest.identity import Identity

__all__ = ["clear_scratch", "end_foreign", "reap"]

_PATIENCE_S = 10.0  # after a SIGKILL only the kernel's own work remains
_PAUSE_S = 0.002


def end_foreign(guest: Guest) -> int:
    """Kill every process of the sandbox uid, again and again until none is left; say how many were seen.

    The killing is done by a child that has become that uid altogether, so the kernel spares everything
    else. If the process limit leaves no room for a child, this process does it itself, with its saved uid
    kept at 0.

    Raises:
        RuntimeError: something survived for ten seconds; the sandbox cannot be trusted any more.
    """
    seen = _living(guest.identity.uid)
    most = len(seen)
    deadline = time.monotonic() + _PATIENCE_S
    while seen:
        _kill_all(guest.identity)
        reap()
        seen = _living(guest.identity.uid)
        most = max(most, len(seen))
        if seen:
            if time.monotonic() > deadline:
                raise RuntimeError(f"processes of the sandbox uid survive SIGKILL: {seen[:10]}")
            time.sleep(_PAUSE_S)
    return most


def reap() -> None:
    """Collect every dead child, so that the dead do not use up the process limit."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
    except ChildProcessError:
        return


def _kill_all(identity: Identity) -> None:
    try:
        pid = os.fork()
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.ENOMEM):
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
    """For one system call the real uid is foreign: signals could reach us, but as process 1 only ours that have handlers."""
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
    """Processes of a uid that are not dead yet. /proc/N itself may be root's for them, its status file tells the truth."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and _owner(name) == uid:
            found.append(int(name))
    return found


def _owner(pid: str) -> int | None:
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
    state, owner = b"", None
    for line in lines:
        if line.startswith(b"State:"):
            state = line.split()[1]
        elif line.startswith(b"Uid:"):
            owner = int(line.split()[1])
    return None if state in (b"Z", b"X") else owner


def clear_scratch(guest: Guest) -> None:
    """Empty the scratch directories of everything that the sandbox uid can remove.

    Iterative, with two descriptors at most however deep the tree: a directory inside a directory is first
    moved up.
    """
    with guest.identity:
        for path in guest.config.scratch:
            try:
                top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                _empty(top)
            finally:
                os.close(top)


def _empty(top: int) -> None:
    uid = os.geteuid()
    queue: list[str] = []
    counter = 0
    for name in _names(top):
        queue.append(name)
    while queue:
        name = queue.pop()
        try:
            found = os.stat(name, dir_fd=top, follow_symlinks=False)
            if found.st_uid != uid:
                continue
            if not stat.S_ISDIR(found.st_mode):
                os.unlink(name, dir_fd=top)
                continue
            os.chmod(name, 0o700, dir_fd=top)
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
        except OSError:
            continue
        try:
            for inner in _names(fd):
                try:
                    os.unlink(inner, dir_fd=fd)
                except OSError:
                    counter += 1
                    moved = f".emptying-{counter}"
                    try:
                        os.chmod(inner, 0o700, dir_fd=fd)
                        os.rename(inner, moved, src_dir_fd=fd, dst_dir_fd=top)
                        queue.append(moved)
                    except OSError:
                        continue
        finally:
            os.close(fd)
        try:
            os.rmdir(name, dir_fd=top)
        except OSError:
            continue


def _names(fd: int) -> list[str]:
    try:
        return os.listdir(fd)
    except OSError:
        return []

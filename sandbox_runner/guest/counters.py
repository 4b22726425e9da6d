"""What the kernel counts about limits: out-of-memory kills and refused processes, under cgroup v1 and v2."""

from __future__ import annotations

import os

__all__ = ["LimitCounters"]

# Inside a container its own group is mounted; the first file that exists is the one that counts.
_FILES = (
    ("memory", "oom_kill", ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")),
    ("pids", "max", ("/sys/fs/cgroup/pids.events", "/sys/fs/cgroup/pids/pids.events")),
)


class LimitCounters:
    """The counters at one moment; ``raised`` names the limits hit since."""

    __slots__ = ("_before",)

    def __init__(self) -> None:
        self._before = _read_all()

    def raised(self) -> list[str]:
        """The limits whose counter went up: ``memory``, ``pids``. One that is not visible never rises."""
        now = _read_all()
        return [name for name in now if now[name] > self._before.get(name, now[name])]


def _read_all() -> dict[str, int]:
    found = {}
    for name, key, paths in _FILES:
        for path in paths:
            value = _read(path, key)
            if value is not None:
                found[name] = value
                break
    return found


def _read(path: str, key: str) -> int | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        lines = os.read(fd, 4096).decode("ascii", "replace").splitlines()
    except OSError:
        return None
    finally:
        os.close(fd)
    for line in lines:
        name, _, value = line.partition(" ")
        if name == key and value.isdigit():
            return int(value)
    return None

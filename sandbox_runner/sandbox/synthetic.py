"""Files that a sandbox finds in place of those that tell about the host or do not know its user.

    /etc/passwd, /etc/group     the image's own lines, before them one for the sandbox uid
    /etc/hosts                  the loopback's names, which Docker writes only where there is a network
    /proc/meminfo, stat, ...    fixed figures that follow from the limits

An empty file, as a masked path is, breaks what reads it. These say nothing of the host but how many
processors it has, and with as many and under the same limits they are the same everywhere. Times lie in the
past, and far enough apart that no process is older than its machine. The files are bound into the container,
which keeps them open: they are off the host's disk again as soon as it runs. What stands in /proc and is not
here cannot be bound there (runc allows few names), so it stays masked.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from docker.types import Mount

from sandbox_runner.errors import SandboxError
from sandbox_runner.guest.identity import HOME, USER
from sandbox_runner.policy.schema import Resources
from sandbox_runner.sandbox.confinement import Machine
from sandbox_runner.sandbox.temporary import temporary_folder

__all__ = ["GROUP", "HOSTNAME", "PASSWD", "bound", "kernel_files", "name_files"]

PASSWD, GROUP, _HOSTS = "/etc/passwd", "/etc/group", "/etc/hosts"
HOSTNAME = "sandbox"
"""A sandbox's own name: the same everywhere, because a test may print it."""
_BOOTED = 1_262_304_000  # 2010-01-01, seconds since 1970
_UPTIME = 315_360_000  # seconds, ten years: more than the age of any process of the host's kernel
_TICKS = 100  # of a clock in /proc, each second
_IN_USE = 64 << 20  # bytes of memory, about what a sandbox holds before it does anything
_NO_SWAP = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
_MEMORY = (
    *("Buffers", "Cached", "SwapCached", "Active", "Inactive", "Active(anon)", "Inactive(anon)"),
    *("Active(file)", "Inactive(file)", "Unevictable", "Mlocked", "SwapTotal", "SwapFree", "Dirty"),
    *("Writeback", "AnonPages", "Mapped", "Shmem", "KReclaimable", "Slab", "SReclaimable", "SUnreclaim"),
    *("KernelStack", "PageTables", "NFS_Unstable", "Bounce", "WritebackTmp", "CommitLimit", "Committed_AS"),
    *("VmallocTotal", "VmallocUsed", "VmallocChunk", "Percpu"),
)


def kernel_files(resources: Resources, machine: Machine) -> dict[str, bytes]:
    """What stands in files of /proc, by path, for these limits.

    The processors are the machine's, since which of them it may use is what any process can ask the kernel.
    """
    cpus = machine.cpus or math.ceil(resources.cpus)
    idle = _UPTIME * _TICKS
    figures = {
        "MemTotal": resources.memory,
        "MemFree": resources.memory - _IN_USE,
        "MemAvailable": resources.memory - _IN_USE,
        **dict.fromkeys(_MEMORY, 0),
        "CommitLimit": resources.memory,
        "Committed_AS": _IN_USE,
        "AnonPages": _IN_USE,
        "Active": _IN_USE,
        "Active(anon)": _IN_USE,
    }
    memory = [f"{name + ':':<16}{max(0, size) >> 10:>8} kB" for name, size in figures.items()]
    each = [f"cpu{number} 0 0 0 {idle} 0 0 0 0 0 0" for number in range(cpus)]
    stat = [
        *(f"cpu  0 0 0 {idle * cpus} 0 0 0 0 0 0", *each, "intr 0", "ctxt 0", f"btime {_BOOTED}"),
        *("processes 1", "procs_running 1", "procs_blocked 0", "softirq 0 0 0 0 0 0 0 0 0 0 0"),
    ]
    texts = {
        "/proc/loadavg": "0.00 0.00 0.00 1/1 1\n",
        "/proc/meminfo": "".join(f"{line}\n" for line in memory),
        "/proc/stat": "".join(f"{line}\n" for line in stat),
        "/proc/swaps": _NO_SWAP,
        "/proc/uptime": f"{_UPTIME}.00 {_UPTIME * cpus}.00\n",
    }
    return {path: text.encode() for path, text in texts.items()}


def name_files(uid: int, users: bytes, groups: bytes) -> dict[str, bytes]:
    """The files that name users, groups and hosts, by path.

    The sandbox's own line comes first, so it is the one that both its uid and its name lead to; whoever else
    has either in the image is still listed. Root, whose files the image's are, has a line in any case.

    Args:
        uid: the sandbox's, and its group's.
        users: the image's own ``/etc/passwd``; empty where it has none.
        groups: likewise its ``/etc/group``.
    """
    lines = {
        PASSWD: (users, f"{USER}:x:{uid}:{uid}::{HOME}:/bin/sh\n", "root:x:0:0:root:/root:/bin/sh\n"),
        GROUP: (groups, f"{USER}:x:{uid}:\n", "root:x:0:\n"),
    }
    files = {
        path: own.encode() + (b"" if _knows_root(listed) else root.encode()) + listed
        for path, (listed, own, root) in lines.items()
    }
    return {**files, _HOSTS: f"127.0.0.1\tlocalhost\n127.0.1.1\t{HOSTNAME}\n".encode()}


def _knows_root(listed: bytes) -> bool:
    return any(line.split(b":")[2:3] == [b"0"] for line in listed.splitlines())


@contextlib.contextmanager
def bound(files: Mapping[str, bytes]) -> Iterator[list[Mount]]:
    """Mounts that lay these files over what has their paths; once the container runs, the context may end.

    Raises:
        SandboxError: the files cannot be written.
    """
    with contextlib.ExitStack() as until:
        try:
            folder = until.enter_context(temporary_folder())
            folder.chmod(0o755)  # an Engine that maps users looks with other rights
            mounts = [_bound(folder, path, content) for path, content in files.items()]
        except OSError as error:
            raise SandboxError(
                f"The files of a sandbox cannot be written to {tempfile.gettempdir()}: {error.strerror}.",
                hint="make room there, or point TMPDIR at another directory",
            ) from error
        yield mounts


def _bound(folder: Path, path: str, content: bytes) -> Mount:
    source = folder / path.strip("/").replace("/", "-")
    source.write_bytes(content)
    source.chmod(0o444)
    return Mount(path, str(source), type="bind", propagation="rprivate", read_only=True)

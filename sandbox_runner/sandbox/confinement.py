"""What a container is allowed: one pure function from limits to Docker's HostConfig.

    root            read-only; /tmp and /dev/shm are small memory file systems, the workspace is a volume
                    in memory
    network         disabled altogether: only a loopback of its own exists
    capabilities    none but SETUID, SETGID and KILL, which the guest needs to wear and to end the sandbox uid
    privileges      no_new_privs; a random uid per sandbox, so that nothing counted per uid is shared
    system calls    the profile of ``config/seccomp.json``
    ports           free as soon as their connection is over (gVisor keeps them for a minute)
    kernel facts    /proc and /sys entries that tell about the host are masked beyond Docker's list, or
                    have fixed figures instead (``synthetic``)
    resources       memory equal to memory plus swap, cpus, processes, descriptors, no core files, inodes,
                    pseudo-terminals
    names           a cgroup namespace of its own: the container's id stands in no path

Everything that lives in memory (workspace, /tmp, /dev/shm) counts against the memory limit, so together with
a reserve for the guest it must stay below it: then what fills a file system gets ENOSPC, and nobody is
killed.

What a container on the host's kernel still takes or sees, and what only a kernel of its own (gVisor) or a
newer host shuts, is told by ``doctor``: buffers of TCP and UDP under cgroup v1, unless the runner may limit
them (``container``), and figures that are no files (sysinfo, statvfs) or that stand below /proc/PID, where
nothing can be masked.

The profile of system calls allows by name and answers the rest with EPERM; it kills nobody, since a kill is a
line in the host's log, whose name the killed one chooses. Only the 32-bit and the x32 way into a 64-bit
kernel do kill: allowing them an answer would mean allowing their calls. An error for ``sync`` is seen by
nobody, because the C library's has no result; a false success for ``syncfs`` would be a lie about what is on
the disk. ``fsync`` works. ``sysinfo`` stays: the C library believes its answer without a look at the
error.
"""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from docker.types import DriverConfig, LogConfig, Mount, Ulimit

from sandbox_runner.errors import ConfigurationError
from sandbox_runner.policy.schema import Resources
from sandbox_runner.resources import resource

__all__ = [
    "GUEST_RESERVE",
    "MASKED",
    "READ_ONLY",
    "SHARED_KERNEL",
    "SHM_SIZE",
    "SOCKET_SHARE",
    "WORKSPACE",
    "Machine",
    "clip",
    "host_config",
    "machine_of",
    "random_uid",
    "seccomp",
    "seccomp_sha256",
    "terminals",
]

WORKSPACE = "/workspace"
SHARED_KERNEL = ("runc", "crun")
"""Runtimes whose containers are processes of the host's kernel; any other has a kernel of its own."""
SHM_SIZE = 16 << 20  # enough for multiprocessing's semaphores and small shared arrays
SOCKET_SHARE = 16  # of the memory limit, what sockets may hold beyond it where it does not count them
GUEST_RESERVE = 64 << 20  # the guest, its test server and the smallest child
_OPEN = "mode=1777,nosuid,nodev"
_TMP_INODES = 20_000
_SHM_INODES = 1_000
_OOM_ADJUSTMENT = 500  # when the host itself runs out, a sandbox goes before the host's own programs
_HOST_TASK = 64 << 10  # the least memory that a thread of the host costs; half a mebibyte was seen
_KERNEL_TASKS = 1 << 22  # tasks that any Linux can have; its control group refuses a limit above
_CAPABILITIES = ("SETUID", "SETGID", "KILL")
_LEAST = 1 << 20  # bytes; no file system in memory is made smaller
_TERMINALS = 32  # of the 3,072 that all containers of a host have together
_TERMINAL_OPTIONS = f"newinstance,max={_TERMINALS},ptmxmode=0666,mode=0620,gid=5,nosuid,noexec"
# A connection that is over would keep its port from the next call's tests for a minute.
_NOTHING_WAITS = (("net.ipv4.tcp_max_tw_buckets", "0"),)
_NO_PIPE = 1  # byte; the kernel's own mark for a crash whose core pattern is a pipe: do not start it

_DOCKERS_MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
    "/sys/devices/virtual/powercap", "/sys/firmware",
)  # fmt: skip
_ALSO_MASKED = (
    "/proc/allocinfo", "/proc/bootconfig", "/proc/buddyinfo", "/proc/bus", "/proc/cgroups", "/proc/cmdline",
    "/proc/config.gz", "/proc/consoles", "/proc/crypto", "/proc/devices", "/proc/diskstats", "/proc/dma",
    "/proc/driver", "/proc/dynamic_debug", "/proc/execdomains", "/proc/fb", "/proc/fs", "/proc/iomem",
    "/proc/ioports", "/proc/irq", "/proc/kallsyms", "/proc/key-users", "/proc/kmsg", "/proc/kpagecgroup",
    "/proc/kpagecount", "/proc/kpageflags", "/proc/loadavg", "/proc/locks", "/proc/mdstat", "/proc/meminfo",
    "/proc/misc", "/proc/modules", "/proc/mtrr", "/proc/pagetypeinfo", "/proc/partitions", "/proc/pressure",
    "/proc/schedstat", "/proc/slabinfo", "/proc/softirqs", "/proc/stat", "/proc/swaps",
    "/proc/sys/fs/aio-nr", "/proc/sys/fs/dentry-state", "/proc/sys/fs/file-nr", "/proc/sys/fs/inode-nr",
    "/proc/sys/fs/inode-state", "/proc/sys/fs/quota", "/proc/sys/kernel/pty/nr",
    "/proc/sys/kernel/random/boot_id", "/proc/sys/kernel/random/entropy_avail", "/proc/tty", "/proc/uptime",
    "/proc/version", "/proc/version_signature", "/proc/vmallocinfo", "/proc/vmstat", "/proc/zoneinfo",
    "/sys/block", "/sys/bus", "/sys/class", "/sys/dev", "/sys/devices", "/sys/devices/virtual",
    "/sys/fs/9p", "/sys/fs/bcache", "/sys/fs/bpf", "/sys/fs/btrfs", "/sys/fs/cachefiles", "/sys/fs/ceph",
    "/sys/fs/cifs", "/sys/fs/dlm", "/sys/fs/ecryptfs", "/sys/fs/erofs", "/sys/fs/exfat", "/sys/fs/ext4",
    "/sys/fs/f2fs", "/sys/fs/fuse", "/sys/fs/gfs2", "/sys/fs/jfs", "/sys/fs/lockd", "/sys/fs/netfs",
    "/sys/fs/nfs", "/sys/fs/nfsd", "/sys/fs/nilfs2", "/sys/fs/ntfs3", "/sys/fs/ocfs2", "/sys/fs/orangefs",
    "/sys/fs/pstore", "/sys/fs/quota", "/sys/fs/reiserfs", "/sys/fs/resctrl", "/sys/fs/selinux",
    "/sys/fs/smackfs", "/sys/fs/squashfs", "/sys/fs/tmpfs", "/sys/fs/ubifs", "/sys/fs/virtiofs",
    "/sys/fs/xfs", "/sys/fs/zfs", "/sys/fs/zonefs",
    "/sys/hypervisor", "/sys/kernel", "/sys/module", "/sys/power",
)  # fmt: skip
MASKED = tuple(sorted({*_DOCKERS_MASKED, *_ALSO_MASKED}))
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def random_uid(security_options: Sequence[str]) -> int:
    """A uid that no other sandbox is likely to wear; an Engine that maps users has only 65,536 of them."""
    mapped = any(name in option for option in security_options for name in ("userns", "rootless"))
    first, last = (20_000, 60_000) if mapped else (1 << 20, (1 << 30) - 1)
    return random.SystemRandom().randint(first, last)


@dataclass(frozen=True, slots=True)
class Machine:
    """What the Engine's machine has, as far as a sandbox must know.

    Attributes:
        cpus: processors, ``None`` where the Engine does not say.
        memory: bytes, ``None`` likewise.
        core_limit: the limit on core files, in bytes, under which a crash in a sandbox leaves no file and
            starts no program.
    """

    cpus: int | None = None
    memory: int | None = None
    core_limit: int = _NO_PIPE


def machine_of(info: Mapping[str, Any], *, core_pattern: str | None) -> Machine:
    """The machine behind an Engine.

    Where crashes go into a pipe, a limit of 0 is not looked at, while one byte ends it; for a file one byte
    is too little as well. A pattern that is not known may be a pipe.

    Args:
        info: the Engine's facts.
        core_pattern: what its kernel has in ``kernel.core_pattern``, ``None`` where that is not known.
    """
    plain = core_pattern is not None and not core_pattern.startswith(("|", "@"))
    return Machine(_count(info.get("NCPU")), _count(info.get("MemTotal")), 0 if plain else _NO_PIPE)


def _count(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None


def clip(resources: Resources, machine: Machine) -> Resources:
    """No more than the machine has: a limit is lowered or stays.

    Where memory is lowered, what lives in it shrinks until it fits again, /tmp in proportion.

    Raises:
        ConfigurationError: the limits do not fit together, whatever the machine has.
    """
    check_memory(resources)
    lowered: dict[str, Any] = {}
    if machine.cpus is not None and resources.cpus > machine.cpus:
        lowered["cpus"] = float(machine.cpus)
    if machine.memory is not None and resources.memory > machine.memory:
        lowered["memory"] = machine.memory
        wanted = resources.workspace + resources.tmp
        room = machine.memory - SHM_SIZE - GUEST_RESERVE
        if room < wanted:
            share = resources.tmp * max(room, 0) // wanted
            lowered["tmp"] = max(_LEAST, min(share, room - _LEAST))
            lowered["workspace"] = max(_LEAST, room - lowered["tmp"])
    return resources.model_copy(update=lowered)


def host_config(
    resources: Resources,
    *,
    runtime: str,
    uid: int,
    labels: Mapping[str, str],
    bind: Path | None = None,
    writes: bool = True,
    core_limit: int = 0,
) -> dict[str, Any]:
    """Docker's HostConfig for one sandbox.

    Args:
        resources: the limits.
        runtime: a runtime that the Engine knows.
        uid: the uid that the guest will wear; it owns the workspace.
        labels: put on the workspace's volume.
        bind: a directory of the host mounted as the workspace instead of a volume (trusted use only).
        writes: whether that directory may be written.
        core_limit: see ``Machine``.

    Raises:
        ConfigurationError: the file systems in memory do not fit into the memory limit.
    """
    check_memory(resources)
    return {
        "AutoRemove": True,
        "CapAdd": list(_CAPABILITIES),
        "CapDrop": ["ALL"],
        "CgroupnsMode": "private",
        "Init": False,
        "IpcMode": "private",
        "LogConfig": LogConfig(type="none"),
        "MaskedPaths": list(MASKED),
        "Memory": resources.memory,
        "MemorySwap": resources.memory,
        "Mounts": [_workspace(resources, uid, labels) if bind is None else _bound(bind, writes=writes)],
        "NanoCpus": round(resources.cpus * 1_000_000_000),
        "OomScoreAdj": _OOM_ADJUSTMENT,
        "PidsLimit": _tasks(resources, runtime),
        "Privileged": False,
        "ReadonlyPaths": list(READ_ONLY),
        "ReadonlyRootfs": True,
        "RestartPolicy": {"Name": "no"},
        "Runtime": runtime,
        "SecurityOpt": ["no-new-privileges", f"seccomp={seccomp()}"],
        "Sysctls": dict(_NOTHING_WAITS) if runtime in SHARED_KERNEL else {},
        "Tmpfs": {
            "/tmp": f"size={resources.tmp},nr_inodes={_TMP_INODES},{_OPEN},exec",  # noqa: S108
            "/dev/shm": f"size={SHM_SIZE},nr_inodes={_SHM_INODES},{_OPEN},noexec",  # noqa: S108
        },
        "Ulimits": [
            Ulimit(name="core", soft=core_limit, hard=core_limit),
            Ulimit(name="memlock", soft=65_536, hard=65_536),
            Ulimit(name="msgqueue", soft=0, hard=0),
            Ulimit(name="nofile", soft=resources.open_files, hard=resources.open_files),
            Ulimit(name="sigpending", soft=1_024, hard=1_024),
        ],
    }


def check_memory(resources: Resources) -> None:
    """Refuse limits under which filling a file system would kill the guest."""
    needed = resources.workspace + resources.tmp + SHM_SIZE + GUEST_RESERVE
    if needed > resources.memory:
        raise ConfigurationError(
            f"The memory limit of {resources.memory >> 20} MiB is too small: workspace, /tmp, /dev/shm and "
            f"the guest's reserve need {-(-needed >> 20)} MiB, all of it memory.",
            hint="raise resources.memory, or lower resources.workspace or resources.tmp in the policy",
        )


def _tasks(resources: Resources, runtime: str) -> int:
    """How many tasks of the host a sandbox may have.

    A runtime with a kernel of its own limits processes itself. It runs each as several threads of the host,
    and ends as a whole where it may have no more; so the memory limit must always be reached first.
    """
    own_kernel = runtime not in SHARED_KERNEL
    tasks = resources.pids + (resources.memory // _HOST_TASK if own_kernel else 0)
    return min(tasks, _KERNEL_TASKS)


def terminals(runtime: str, labels: Mapping[str, str]) -> list[Mount]:
    """Pseudo-terminals of its own, and few: those of all containers together are counted by the host.

    A runtime with a kernel of its own has its own ones.
    """
    if runtime not in SHARED_KERNEL:
        return []
    driver = DriverConfig("local", {"type": "devpts", "device": "devpts", "o": _TERMINAL_OPTIONS})
    mount = Mount("/dev/pts", None, type="volume", no_copy=True, labels=dict(labels), driver_config=driver)
    return [mount]


def _workspace(resources: Resources, uid: int, labels: Mapping[str, str]) -> Mount:
    limits = f"size={resources.workspace},nr_inodes={resources.workspace_inodes}"
    options = {
        "type": "tmpfs",
        "device": "tmpfs",
        "o": f"{limits},uid={uid},gid={uid},mode=0750,nosuid,nodev",
    }
    driver = DriverConfig("local", options)
    return Mount(WORKSPACE, None, type="volume", no_copy=True, labels=dict(labels), driver_config=driver)


def _bound(directory: Path, *, writes: bool) -> Mount:
    return Mount(WORKSPACE, str(directory), type="bind", propagation="rprivate", read_only=not writes)


def seccomp_sha256() -> str:
    """Digest of the seccomp profile in force, as it is handed to Docker."""
    return sha256(seccomp().encode()).hexdigest()


@functools.lru_cache(maxsize=1)
def seccomp() -> str:
    """The seccomp profile on one line; Docker takes its text, not its path."""
    return json.dumps(json.loads(resource("config", "seccomp.json").read_bytes()), separators=(",", ":"))

"""What a container is allowed: one pure function from limits to Docker's HostConfig.

    root            read-only; /tmp and /dev/shm are small memory file systems, the workspace is a volume
                    in memory
    network         disabled altogether: only a loopback of its own exists
    capabilities    none but SETUID, SETGID and KILL, which the guest needs to wear and to end the sandbox uid
    privileges      no_new_privs; a random uid per sandbox, so that nothing counted per uid is shared
    system calls    the profile of ``config/seccomp.json``
    kernel facts    /proc and /sys entries that tell about the host are masked beyond Docker's list
    resources       memory equal to memory plus swap, cpus, processes, descriptors, no core files, inodes

Everything that lives in memory (workspace, /tmp, /dev/shm) counts against the memory limit, so together with
a reserve for the guest it must stay below it: then what fills a file system gets ENOSPC, and nobody is
killed.
"""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Mapping, Sequence
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
    "WORKSPACE",
    "host_config",
    "random_uid",
    "seccomp_sha256",
]

WORKSPACE = "/workspace"
SHARED_KERNEL = ("runc", "crun")
"""Runtimes whose containers are processes of the host's kernel; any other has a kernel of its own."""
SHM_SIZE = 16 << 20  # enough for multiprocessing's semaphores and small shared arrays
GUEST_RESERVE = 64 << 20  # the guest, its test server and the smallest child
_OPEN = "mode=1777,nosuid,nodev"
_TMP_INODES = 20_000
_SHM_INODES = 1_000
_OOM_ADJUSTMENT = 500  # when the host itself runs out, a sandbox goes before the host's own programs
_HOST_TASK = (
    64 << 10
)  # the least memory that a thread of the host costs; under gVisor half a mebibyte was seen
_CAPABILITIES = ("SETUID", "SETGID", "KILL")

_DOCKERS_MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
    "/sys/devices/virtual/powercap", "/sys/firmware",
)  # fmt: skip
_ALSO_MASKED = (
    "/proc/buddyinfo", "/proc/cmdline", "/proc/config.gz", "/proc/consoles", "/proc/crypto", "/proc/devices",
    "/proc/diskstats", "/proc/driver", "/proc/execdomains", "/proc/iomem", "/proc/ioports", "/proc/kallsyms",
    "/proc/key-users", "/proc/kmsg", "/proc/kpagecgroup", "/proc/kpagecount", "/proc/kpageflags",
    "/proc/loadavg", "/proc/locks", "/proc/mdstat", "/proc/meminfo", "/proc/misc", "/proc/modules",
    "/proc/pagetypeinfo", "/proc/partitions", "/proc/pressure", "/proc/schedstat", "/proc/slabinfo",
    "/proc/softirqs", "/proc/stat", "/proc/swaps", "/proc/sys/kernel/random/boot_id", "/proc/uptime",
    "/proc/version", "/proc/vmallocinfo", "/proc/vmstat", "/proc/zoneinfo", "/sys/block", "/sys/bus",
    "/sys/class", "/sys/dev", "/sys/devices/virtual", "/sys/hypervisor", "/sys/kernel", "/sys/module",
    "/sys/power",
)  # fmt: skip
MASKED = tuple(sorted({*_DOCKERS_MASKED, *_ALSO_MASKED}))
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def random_uid(security_options: Sequence[str]) -> int:
    """A uid that no other sandbox is likely to wear; an Engine that maps users has only 65,536 of them."""
    mapped = any(name in option for option in security_options for name in ("userns", "rootless"))
    first, last = (20_000, 60_000) if mapped else (1 << 20, (1 << 30) - 1)
    return random.SystemRandom().randint(first, last)


def host_config(
    resources: Resources,
    *,
    runtime: str,
    uid: int,
    labels: Mapping[str, str],
    bind: Path | None = None,
    writes: bool = True,
) -> dict[str, Any]:
    """Docker's HostConfig for one sandbox.

    Args:
        resources: the limits.
        runtime: a runtime that the Engine knows.
        uid: the uid that the guest will wear; it owns the workspace.
        labels: put on the workspace's volume.
        bind: a directory of the host mounted as the workspace instead of a volume (trusted use only).
        writes: whether that directory may be written.

    Raises:
        ConfigurationError: the file systems in memory do not fit into the memory limit.
    """
    check_memory(resources)
    return {
        "AutoRemove": True,
        "CapAdd": list(_CAPABILITIES),
        "CapDrop": ["ALL"],
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
        "SecurityOpt": ["no-new-privileges", f"seccomp={_seccomp()}"],
        "Tmpfs": {
            "/tmp": f"size={resources.tmp},nr_inodes={_TMP_INODES},{_OPEN},exec",  # noqa: S108
            "/dev/shm": f"size={SHM_SIZE},nr_inodes={_SHM_INODES},{_OPEN},noexec",  # noqa: S108
        },
        "Ulimits": [
            Ulimit(name="core", soft=0, hard=0),
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
    return resources.pids + (resources.memory // _HOST_TASK if own_kernel else 0)


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
    return sha256(_seccomp().encode()).hexdigest()


@functools.lru_cache(maxsize=1)
def _seccomp() -> str:
    """The profile on one line; Docker takes its text, not its path."""
    return json.dumps(json.loads(resource("config", "seccomp.json").read_bytes()), separators=(",", ":"))

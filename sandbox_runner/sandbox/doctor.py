"""Facts about this machine's Docker: whether a sandbox can run here, and how safely."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sandbox_runner.errors import SandboxRunnerError
from sandbox_runner.sandbox.confinement import MASKED, machine_of
from sandbox_runner.sandbox.engine import Engine
from sandbox_runner.sandbox.images import Image, default_tag, find_image
from sandbox_runner.sandbox.isolation import look_inside
from sandbox_runner.sandbox.janitor import find_leftovers
from sandbox_runner.sandbox.runtimes import STRONGEST_FIRST

__all__ = ["Check", "Health", "judge_host", "open_advisories", "probe"]

_OLDEST_API = (1, 41)  # Engine 20.10
_CGROUP_2 = "systemd.unified_cgroup_hierarchy=1"
_UNLIMITED = 1 << 62  # bytes; what the kernel shows where nobody set a limit is a little less than 2**63
_GVISOR = "use gVisor (runsc), whose kernel is the sandbox's own"

# Advisories of runc that concern who runs foreign code or images, and the first release of each line without
# the fault; a line that is older than all of them was never mended, a newer one always.
_RUNC_ADVISORIES: Mapping[str, tuple[tuple[int, int, int], ...]] = {
    "CVE-2022-29162": ((1, 1, 2),),
    "CVE-2024-21626": ((1, 1, 12),),
    "CVE-2025-31133, CVE-2025-52565, CVE-2025-52881": ((1, 2, 8), (1, 3, 3), (1, 4, 0)),
}
# By number. A text, because nothing but this is ever done with it.
_CAPABILITIES = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
    NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT
    SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE
    AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ
    PERFMON BPF CHECKPOINT_RESTORE
"""


class Health(StrEnum):
    """How a check came out."""

    GOOD = "good"
    NOTE = "note"  # works, but a person should know
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Check:
    """One fact.

    Attributes:
        name: what was looked at, for example ``docker`` or ``runtime runsc``.
        health: how it came out.
        detail: one sentence.
        hint: the way out, where there is a problem.
    """

    name: str
    health: Health
    detail: str
    hint: str | None = None


def probe(connect: Callable[[], Engine] = Engine.connect, *, image: str | None = None) -> Iterator[Check]:
    """Look at everything a sandbox needs, one check after the other; starts a container for each runtime.

    Never raises for what it finds; a problem is a check with a way out.
    """
    try:
        engine = connect()
        version, info = engine.version(), engine.info()
    except SandboxRunnerError as error:
        yield Check("docker", Health.BAD, str(error), error.hint)
        return
    yield _docker(version)
    yield _cgroup(info)
    yield _machine(info)
    found = find_image(engine, image or default_tag())
    if found is None:
        hint = "`sandbox-runner image build` makes it, and so does the first run" if image is None else None
        yield Check("image", Health.NOTE, f"There is no image {image or default_tag()}.", hint)
    else:
        yield Check("image", Health.GOOD, f"{found.name}, {found.size >> 20} MiB, {found.id[7:19]}.")
    inside: Mapping[str, Any] | None = None
    for name in dict.fromkeys((*STRONGEST_FIRST, *sorted(info.get("Runtimes") or ()))):
        if name == "io.containerd.runc.v2":
            continue  # Docker's other name for runc
        check, facts = _runtime(engine, info, name, found)
        inside = facts if name == "runc" else inside
        yield check
    yield from judge_host(version, info, inside, engine.daemon_capabilities())
    yield _leftovers(engine)


def _docker(version: Mapping[str, Any]) -> Check:
    told = "Engine {Version}, API {ApiVersion}, {Arch}".format_map({"Arch": "?", **version})
    parts = str(version.get("ApiVersion", "0")).split(".")
    if all(part.isdigit() for part in parts) and tuple(map(int, parts)) < _OLDEST_API:
        return Check("docker", Health.BAD, f"{told} is too old.", "install Docker Engine 20.10 or newer")
    return Check("docker", Health.GOOD, f"{told}.")


def _cgroup(info: Mapping[str, Any]) -> Check:
    version = str(info.get("CgroupVersion", "1"))
    missing = [
        name
        for name, key in (("memory", "MemoryLimit"), ("processes", "PidsLimit"), ("cpus", "CpuCfsQuota"))
        if info.get(key) is False
    ]
    if missing:
        return Check(
            "cgroups",
            Health.BAD,
            f"Version {version} without limits for {', '.join(missing)}.",
            "delegate these controllers to Docker (rootless Docker needs cgroup v2 and systemd)",
        )
    told = "memory, processes and cpus can be limited"
    if version == "1":
        return Check(
            "cgroups",
            Health.NOTE,
            f"Version 1; {told}, but the memory limit does not count what sockets hold (see socket memory).",
            f"boot the host with cgroup v2 ({_CGROUP_2})",
        )
    return Check("cgroups", Health.GOOD, f"Version {version}; {told}.")


def _machine(info: Mapping[str, Any]) -> Check:
    machine = machine_of(info, core_pattern=None)
    if machine.cpus is None or machine.memory is None:
        return Check("machine", Health.NOTE, "The Engine does not say what it has; no limit is clipped.")
    has = f"{machine.cpus} cpus, {machine.memory >> 20} MiB"
    return Check(
        "machine", Health.GOOD, f"{has}; limits above that are clipped to it, and the record says so."
    )


def _runtime(
    engine: Engine, info: Mapping[str, Any], name: str, image: Image | None
) -> tuple[Check, Mapping[str, Any] | None]:
    """The check, and what was seen inside a container where one started."""
    title = f"runtime {name}"
    if name not in (info.get("Runtimes") or {}):
        detail = "Not registered with Docker; sandboxes share the host's kernel."
        hint = "install gVisor and register runsc in Docker's daemon.json"
        return Check(title, Health.NOTE, detail, hint), None
    if image is None:
        return Check(title, Health.NOTE, "Registered; not tried, because there is no image yet."), None
    try:
        isolation = look_inside(engine, image=image, runtime=name)
    except SandboxRunnerError as error:
        return Check(title, Health.BAD, f"Cannot start a sandbox: {error}", error.hint), None
    if not isolation.ok:
        hint = "do not run untrusted trails with it; see Docker's security options"
        return Check(title, Health.BAD, f"{'; '.join(isolation.problems)}.", hint), isolation.facts
    told = ["only a loopback, three capabilities, read-only root"]
    if isolation.facts["seccomp"] == "2":
        told += ["system calls filtered", f"{len(MASKED)} paths with facts of the host masked"]
    if isolation.facts["no_new_privs"] == "1":
        told.append("no new privileges")
    told += isolation.notes
    detail = f"Starts; {'; '.join(told)}; kernel {isolation.facts['kernel']}."
    return Check(title, Health.GOOD, detail), isolation.facts


def judge_host(
    version: Mapping[str, Any],
    info: Mapping[str, Any],
    inside: Mapping[str, Any] | None,
    daemon: int | None,
) -> tuple[Check, ...]:
    """What depends on the host rather than on us, row by row; pure.

    Args:
        version: the Engine's version document.
        info: the Engine's facts.
        inside: what was seen in a container under runc, ``None`` where none was looked into.
        daemon: the daemon's capabilities, ``None`` where they are not known.
    """
    checks = [_runc_release(version), _daemon(info, daemon)]
    if inside is not None:
        checks += [_module(inside), _core(inside), _huge(inside), _sockets(inside, info)]
        checks += [_log(inside), _figures(inside, info)]
    return tuple(checks)


def open_advisories(release: str) -> tuple[str, ...] | None:
    """The advisories that a release of runc has not mended, ``None`` where its number makes no sense."""
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)(-rc)?", release)
    if found is None:
        return None
    number = tuple(map(int, found.groups()[:3]))
    if found[4]:  # before the release of its number
        number = (*number[:2], number[2] - 1)
    return tuple(
        name
        for name, mended in _RUNC_ADVISORIES.items()
        if number[:2] <= mended[-1][:2]
        and not any(number[:2] == first[:2] and number >= first for first in mended)
    )


def _runc_release(version: Mapping[str, Any]) -> Check:
    components = {part.get("Name"): part for part in version.get("Components") or ()}
    release = str((components.get("runc") or {}).get("Version") or "")
    advisories = open_advisories(release)
    if advisories is None:
        return Check(
            "runc release",
            Health.NOTE,
            f"The Engine does not tell runc's release ({release or 'nothing'}).",
            "see that `runc --version` is 1.2.8, 1.3.3, 1.4 or newer",
        )
    if advisories:
        return Check(
            "runc release",
            Health.NOTE,
            f"{release} is older than the releases that mend {', '.join(advisories)}; a distribution may "
            "have mended it under this number.",
            f"see your distribution's advisories and update runc, or {_GVISOR}",
        )
    return Check("runc release", Health.GOOD, f"{release}; no advisory that we know of is open.")


def _daemon(info: Mapping[str, Any], capabilities: int | None) -> Check:
    options = " ".join(map(str, info.get("SecurityOptions") or ()))
    if "rootless" in options or "userns" in options:
        return Check("daemon", Health.GOOD, "Root of a container is nobody on the host.")
    missing = [
        name
        for bit, name in enumerate(_CAPABILITIES.split())
        if capabilities is not None and not capabilities >> bit & 1
    ]
    told = "the Engine does not tell which" if capabilities is None else "all"
    if missing:
        told = f"all but {', '.join(missing)}"
    return Check(
        "daemon",
        Health.NOTE,
        f"Runs as root of the host, and root of a container is that root; its own capabilities: {told}.",
        f"run Docker rootless or with userns-remap, or {_GVISOR}",
    )


def _module(inside: Mapping[str, Any]) -> Check:
    told = str(inside.get("security_module") or "")
    if told and "unconfined" not in told and not told.startswith(("No such", "Invalid")):
        return Check("confinement", Health.GOOD, f"A container runs under {told:.80} (AppArmor or SELinux).")
    return Check(
        "confinement",
        Health.NOTE,
        "No profile of AppArmor or SELinux is in force in a container; the other walls stand alone.",
        "enable AppArmor or SELinux on the host and for Docker",
    )


def _core(inside: Mapping[str, Any]) -> Check:
    pattern, limit = str(inside.get("core_pattern")), inside.get("core_limit")
    named = f"{pattern:.60} (limit {limit})"
    if pattern.startswith("|"):
        if limit == 1:
            return Check("core files", Health.GOOD, f"A limit of 1 byte keeps shut the pipe {named}.")
        told = f"A crash in a sandbox starts a program of the host on its memory: {named}."
    elif pattern.startswith("@"):
        told = f"A crash in a sandbox may hand its memory to a service of the host: {named}."
    elif limit in (0, 1):
        return Check("core files", Health.GOOD, f"The limit forbids the file {named}.")
    else:
        told = f"A crash in a sandbox may write a file: {named}."
    return Check("core files", Health.NOTE, told, "set kernel.core_pattern to a file name")


def _huge(inside: Mapping[str, Any]) -> Check:
    reserved = str(inside.get("huge_pages"))
    if inside.get("huge") == errno.EPERM:
        return Check(
            "huge pages", Health.GOOD, f"The host reserves {reserved}; a sandbox cannot ask for any."
        )
    return Check(
        "huge pages",
        Health.NOTE if reserved == "0" else Health.BAD,
        f"The host reserves {reserved}, which no memory limit counts, and a sandbox may ask for them.",
        "set vm.nr_hugepages to 0, or see why the profile of system calls is not in force",
    )


def _sockets(inside: Mapping[str, Any], info: Mapping[str, Any]) -> Check:
    if str(info.get("CgroupVersion", "1")) != "1":
        return Check("socket memory", Health.GOOD, "Counted against the memory limit by cgroup v2.")
    told = str(inside.get("socket_limit"))
    if told.isdigit() and int(told) < _UNLIMITED:
        return Check(
            "socket memory",
            Health.GOOD,
            f"Limited to {int(told) >> 20} MiB beyond the memory limit of a sandbox of the default size.",
        )
    return Check(
        "socket memory",
        Health.NOTE,
        "Under runc the buffers of TCP and UDP are outside the memory limit: one sandbox can take all that "
        "the host's kernel allows for sockets.",
        f"boot with cgroup v2 ({_CGROUP_2}), run as one who may write the containers' groups, or {_GVISOR}",
    )


def _log(inside: Mapping[str, Any]) -> Check:
    killed = any(word.startswith("kill") for word in inside.get("killed_lines") or ())
    crashed = inside.get("crash_lines") == "1"
    if not killed and not crashed:
        return Check("kernel log", Health.GOOD, "Crashes and kills in a sandbox write no line into it.")
    ways = ["debug.exception-trace=0"] * crashed + ["kernel.seccomp.actions_logged without kill_*"] * killed
    return Check(
        "kernel log",
        Health.NOTE,
        "A program that crashes or is killed in a sandbox writes a line with a name of its choice into it.",
        f"set {' and '.join(ways)}, or {_GVISOR}",
    )


def _figures(inside: Mapping[str, Any], info: Mapping[str, Any]) -> Check:
    told = []
    if inside.get("memory") == info.get("MemTotal"):
        told.append("its memory, uptime and load (sysinfo)")
    if inside.get("sockets"):
        told.append("its sockets in use (/proc/net/sockstat)")
    if inside.get("disk"):
        told.append("the disk under / (statvfs)")
    if inside.get("places"):
        told.append("the container's id, where Docker keeps it and where temporary files are (mountinfo)")
    if inside.get("groups") not in (["/"], []):
        told.append("the container's id (/proc/self/cgroup)")
    if not told:
        return Check(
            "host figures", Health.GOOD, "Neither sysinfo, statvfs, sockstat nor mountinfo tells of the host."
        )
    return Check(
        "host figures",
        Health.NOTE,
        f"Under runc a sandbox can still see {', '.join(told)}; no path leads there that could be masked.",
        _GVISOR,
    )


def _leftovers(engine: Engine) -> Check:
    try:
        found = find_leftovers(engine)
    except SandboxRunnerError as error:
        return Check("leftovers", Health.BAD, str(error), error.hint)
    if found:
        return Check(
            "leftovers",
            Health.NOTE,
            f"{len(found)} without a living owner.",
            "`sandbox-runner clean` removes them",
        )
    return Check("leftovers", Health.GOOD, "None.")

"""What isolation is really in effect, asked of the kernel from inside a confined container.

The questions run in place of the guest, as process 1, and only print facts. The judgement is a pure function.
"""

from __future__ import annotations

import json
import posixpath
import select
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox_runner.errors import ChannelError
from sandbox_runner.sandbox.confinement import MASKED, clip
from sandbox_runner.sandbox.container import launch
from sandbox_runner.sandbox.engine import Attachment, Engine
from sandbox_runner.sandbox.images import Image
from sandbox_runner.sandbox.multiplex import STDOUT, Demultiplexer
from sandbox_runner.sandbox.receipt import remove
from sandbox_runner.sandbox.spec import SandboxSpec
from sandbox_runner.sandbox.synthetic import kernel_files

__all__ = ["Isolation", "ask_inside", "judge", "look_inside"]

# What programs need of /proc and /sys, what is the container's own, and what only tells what every program
# can ask the kernel or the processor anyway.
_NEEDED = ("cgroup", "cpuinfo", "filesystems", "fs", "mounts", "net", "self", "sys", "sysvipc", "thread-self")
_LOOK_S = 60.0
_ANSWER_BYTES = 1 << 16

_QUESTIONS = """
import json, mmap, os, resource, sys
def read(path):
    try:
        with open(path) as file:
            return file.read(65536)
    except OSError as error:
        return error.strerror
def writable(path):
    try:
        os.close(os.open(path + "/.probe", os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600))
        os.unlink(path + "/.probe")
        return True
    except OSError:
        return False
status = dict(line.split(":", 1) for line in read("/proc/self/status").splitlines() if ":" in line)
def told(path):
    try:
        if os.path.isdir(path):
            return bool(os.listdir(path))
        with open(path) as file:
            return bool(file.read(1))
    except (OSError, UnicodeDecodeError):
        return False
def also(top):
    names = (name for name in os.listdir(top) if not name.isdigit() and name not in known)
    return [path for path in (top + "/" + name for name in sorted(names)) if told(path)]
known, given = json.loads(sys.argv[2]), json.loads(sys.argv[3])
def huge():
    try:
        mmap.mmap(-1, 1 << 21, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000).close()
        return "mapped"
    except OSError as error:
        return error.errno
print(json.dumps({
    "capabilities": int(status.get("CapBnd", "-1"), 16),
    "no_new_privs": status.get("NoNewPrivs", "").strip(),
    "seccomp": status.get("Seccomp", "").strip(),
    "interfaces": sorted(x.split(":")[0].strip() for x in read("/proc/net/dev").splitlines()[2:]),
    "routes": len(read("/proc/net/route").splitlines()) - 1,
    "writable": [path for path in ("/", "/etc", "/usr", "/root", "/proc/sys", "/sys") if writable(path)],
    "unmasked": [path for path in json.loads(sys.argv[1]) if read(path) not in ("", given.get(path))
                 if told(path)],
    "given": all(read(path) == text for path, text in given.items()),
    "also": also("/proc") + also("/sys") + also("/sys/fs"),
    "core_limit": resource.getrlimit(resource.RLIMIT_CORE)[0],
    "core_pattern": read("/proc/sys/kernel/core_pattern").strip(),
    "crash_lines": read("/proc/sys/debug/exception-trace").strip(),
    "killed_lines": read("/proc/sys/kernel/seccomp/actions_logged").split(),
    "groups": sorted({line.split(":", 2)[-1] for line in read("/proc/self/cgroup").splitlines()}),
    "huge": huge(),
    "socket_limit": read("/sys/fs/cgroup/memory/memory.kmem.tcp.limit_in_bytes").strip(),
    "huge_pages": read("/proc/sys/vm/nr_hugepages").strip(),
    "security_module": read("/proc/self/attr/current").strip(chr(0)).strip(),
    "sockets": told("/proc/net/sockstat"),
    "disk": os.statvfs("/").f_blocks > 0,
    "places": "/containers/" in read("/proc/self/mountinfo"),
    "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
    "kernel": os.uname().release,
    "python": sys.version.split()[0],
}))
"""


@dataclass(frozen=True, slots=True)
class Isolation:
    """What holds inside a container.

    Attributes:
        ok: everything that must hold does.
        problems: what does not, one sentence each.
        notes: what holds in another way than usual, one sentence each.
        facts: the kernel's answers.
    """

    ok: bool
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    facts: Mapping[str, Any]


def look_inside(engine: Engine, *, image: Image, runtime: str) -> Isolation:
    """Start a confined container with the questions in place of the guest, and judge the answers.

    Raises:
        SandboxError: the container cannot be started, or did not answer.
    """
    machine = engine.machine()
    given = kernel_files(clip(SandboxSpec().resources, machine), machine)
    texts = {path: content.decode() for path, content in given.items()}
    lists = json.dumps(MASKED), json.dumps([*_NEEDED, *map(posixpath.basename, given)]), json.dumps(texts)
    answer = ask_inside(engine, _QUESTIONS, *lists, image=image, runtime=runtime)
    try:
        return judge(json.loads(answer), runtime)
    except (ValueError, LookupError, TypeError) as error:
        raise ChannelError(f"A container started with {runtime} gave no usable answer.") from error


def ask_inside(engine: Engine, program: str, *arguments: str, image: Image, runtime: str) -> bytes:
    """What a Python program prints that runs in place of the guest, confined and privileged as it is.

    Raises:
        SandboxError: the container cannot be started, or did not answer.
    """
    command = ("python3", "-I", "-S", "-c", program, *arguments)
    container = launch(engine, SandboxSpec(), image=image, runtime=runtime, uid=1 << 20, command=command)
    try:
        return _read_all(container.attachment)
    finally:
        container.attachment.close()
        remove(engine, container.id, (), patience_s=3.0)


def judge(facts: Mapping[str, Any], runtime: str) -> Isolation:
    """Compare the kernel's answers with what confinement asks for."""
    gvisor = runtime.startswith("runsc")
    problems: list[str] = []
    notes: list[str] = []
    if facts["capabilities"] != _CAPABILITIES:
        problems.append(f"the capabilities are {facts['capabilities']:#x} instead of {_CAPABILITIES:#x}")
    if facts["interfaces"] not in (["lo"], []) or facts["routes"] > 0:
        problems.append(f"there is a network: {', '.join(facts['interfaces'])}")
    problems += [f"{path} can be written" for path in facts["writable"]]
    if facts["no_new_privs"] != "1":
        (notes if gvisor else problems).append("no_new_privs is not shown as set")
    if facts["seccomp"] != "2":
        told = "system calls are not filtered by our profile"
        (notes if gvisor else problems).append(f"{told}; gVisor's own kernel serves them" if gvisor else told)
    if facts["unmasked"]:
        told = f"{len(facts['unmasked'])} masked paths can be read"
        (notes if gvisor else problems).append(f"{told}, of gVisor's own kernel" if gvisor else told)
    if not facts.get("given", True):
        told = "the Engine does not see this machine's files, so the sandbox's user has no name"
        notes.append(f"{told}, and /proc/meminfo, stat, loadavg, uptime and swaps are not given")
    if also := () if gvisor else facts.get("also", ()):
        notes.append(f"no mask covers {', '.join(also[:8])}{' and more' if len(also) > 8 else ''}")
    return Isolation(not problems, tuple(problems), tuple(notes), facts)


_CAPABILITIES = 1 << 5 | 1 << 6 | 1 << 7  # CAP_KILL, CAP_SETGID, CAP_SETUID


def _read_all(attachment: Attachment) -> bytes:
    """A container's whole, short output."""
    demultiplexer, answer = Demultiplexer(), bytearray()
    poll = select.poll()
    poll.register(attachment.connection, select.POLLIN)
    end = time.monotonic() + _LOOK_S
    while time.monotonic() < end and len(answer) < _ANSWER_BYTES:
        if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
            break
        data = attachment.connection.recv(_ANSWER_BYTES)
        if not data:
            return bytes(answer)
        for stream, piece in demultiplexer.feed(memoryview(data)):
            answer += piece if stream == STDOUT else b""
    raise ChannelError("A container that was asked about its isolation did not answer in time.")

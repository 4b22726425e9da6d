"""Whole ranges instead of examples: every system call number, every kind of socket, every fact of the host's.

What answers is held against a committed list, so that a new kernel's calls and doors show up.
"""

import errno
import json
from pathlib import Path

import pytest

from sandbox_runner.policy import Resources
from sandbox_runner.resources import resource
from sandbox_runner.sandbox.confinement import Machine, machine_of
from sandbox_runner.sandbox.doctor import Health, judge_host
from sandbox_runner.sandbox.engine import Engine
from sandbox_runner.sandbox.isolation import ask_inside, look_inside
from sandbox_runner.sandbox.synthetic import kernel_files
from sandbox_runner.trail.operations import METHODS
from sandbox_runner.world import Call, Status

pytestmark = pytest.mark.docker

COMMITTED = json.loads((Path(__file__).parent.parent / "data" / "system_calls.json").read_bytes())
LAST = 600  # the kernel's tables end below 480
SHUT = {errno.EPERM, errno.ENOSYS, errno.ENOTSUP}

# One child makes one call after the other; where a call ends it, the next child goes on behind that one.
SWEEP = """
import ctypes, json, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
first, last = int(sys.argv[1]), int(sys.argv[2])
arguments = [ctypes.c_long(-1)] * 6
answers = {}
def sweep(out):
    for number in range(first, last):
        os.write(out, b"%d " % number)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        worker = os.getpid()
        result = libc.syscall(ctypes.c_long(number), *arguments)
        if os.getpid() != worker: os._exit(0)
        os.write(out, b"%d\\n" % (ctypes.get_errno() if result == -1 else 200))
while first < last:
    source, out = os.pipe()
    child = os.fork()
    if not child:
        os.close(source)
        try: sweep(out)
        finally: os._exit(0)
    os.close(out)
    with os.fdopen(source, "rb") as file:
        lines = [line.split() for line in file.read().splitlines()]
    status = os.waitpid(child, 0)[1]
    for line in lines:
        answers[int(line[0])] = int(line[1]) if len(line) == 2 else 200
    first = max(answers, default=first) + 1
print(json.dumps(answers))
"""

SOCKETS = """
import ctypes, json, os, random
libc = ctypes.CDLL(None, use_errno=True)
NUMBER = {"x86_64": (41, 53), "aarch64": (198, 199)}[os.uname().machine]
PROTOCOLS = [0, 1, 2, 4, 6, 17, 33, 41, 47, 50, 58, 103, 108, 115, 132, 136, 137, 255, 256, 262, 0x300]
def ask(pair, *arguments):
    descriptors = (ctypes.c_int * 2)(-1, -1)
    given = [ctypes.c_long(value) for value in arguments]
    if pair: given.append(ctypes.byref(descriptors))
    result = libc.syscall(ctypes.c_long(NUMBER[pair]), *given)
    if result < 0: return ctypes.get_errno()
    for fd in (descriptors if pair else [result]): os.close(fd)
    return 0
found = {"opened": [], "reached": [], "high": [], "pairs": []}
for family in range(64):
    for kind in range(16):
        for protocol in PROTOCOLS:
            answer = ask(0, family, kind, protocol)
            if answer == 0: found["opened"].append((family, kind, protocol))
            elif answer != 1: found["reached"].append((family, kind, protocol))
        if ask(1, family, kind, 0) == 0: found["pairs"].append((family, kind))
random.seed(7)
allowed = set(found["opened"])
for _ in range(3000):  # the kernel looks at the lower half of an argument only
    family, kind = random.choice([1, 2, 10, 16, 17]), random.choice([1, 2, 3, 5, 10])
    protocol = random.choice(PROTOCOLS)
    high = [random.choice([0, 1, 1 << 31, random.getrandbits(31)]) << 32 for _ in range(3)]
    flags = random.choice([0, 0o4000, 0o2000000, 0o2004000, 0o10000, 0x10])
    plain = (family, kind, protocol) in allowed and flags & ~0o2004000 == 0
    if (ask(0, high[0] | family, high[1] | flags | kind, high[2] | protocol) == 0) != plain:
        found["high"].append((high, flags, family, kind, protocol))
del found["reached"][20:]
print(json.dumps(found))
"""

UNIX = [(1, kind, 0) for kind in (1, 2, 5)]
INET = [(family, *rest) for family in (2, 10) for rest in ((1, 0), (1, 6), (2, 0), (2, 17))]
# gVisor's own: UNIX by number and raw, a netlink, ICMP without privilege; no packet of them leaves it.
OWN_OF_GVISOR = {
    *((1, kind, protocol) for kind in (1, 2, 3, 5) for protocol in (0, 1)),
    *((2, 2, 1), (10, 2, 58), (16, 2, 0), (16, 3, 0)),
}

OTHER_WAYS = """
import ctypes, json, mmap, os
libc = ctypes.CDLL(None, use_errno=True)
def by_int80():
    code = mmap.mmap(-1, 4096, prot=7)
    code.write(bytes.fromhex("b814000000cd80c3"))  # getpid of the 32-bit table
    return ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
def by_x32():
    return libc.syscall(ctypes.c_long(0x40000000 | 39))
found = {}
for way in (by_int80, by_x32):
    child = os.fork()
    if not child:
        os._exit(77 if way() == os.getpid() else 1)
    found[way.__name__] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps(found))
"""

TERMINALS = """
import os, pty
kept = []
try:
    while True: kept.append(os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY))
except OSError:
    print(len(kept))
for fd in kept: os.close(fd)
pty.openpty()
"""

FIGURES = """
import json, os
def tells(path):
    try:
        if os.path.isdir(path): return bool(os.listdir(path))
        with open(path, "rb") as file: return bool(file.read(1))
    except OSError: return False
def of(top):
    return sorted(name for name in os.listdir(top) if not name.isdigit() and tells(top + "/" + name))
print(json.dumps({
    "proc": of("/proc"), "sys": of("/sys"), "fs": of("/sys/fs"),
    "counts": [name for name in COUNTS if tells("/proc/sys/" + name)],
    "group": open("/proc/self/cgroup").read(), "cpus": os.cpu_count(),
    "counters": [name for name in COUNTERS if tells("/sys/fs/cgroup/" + name)],
}))
"""
COUNTS = ["fs/aio-nr", "fs/dentry-state", "fs/file-nr", "fs/inode-nr", "fs/inode-state", "kernel/pty/nr"]
COUNTERS = ["memory.events", "memory/memory.oom_control"]
# What programs need, what is the container's own, and what only tells what uname(2) and cpuid tell.
MAY_TELL = {"cpuinfo", "filesystems", "mounts", "net", "self", "sys", "sysvipc", "thread-self"}

LIMITS = """
import ctypes, os, resource
import pytest
def test_it():
    assert resource.getrlimit(resource.RLIMIT_CORE) == (1, 1)
    for limits in ((0, 1), (0, 0), (1, 1)):
        with pytest.raises((OSError, ValueError)): resource.setrlimit(resource.RLIMIT_CORE, limits)
        with pytest.raises((OSError, ValueError)): resource.prlimit(0, resource.RLIMIT_CORE, limits)
    child = os.fork()
    if not child:
        ctypes.string_at(0)
    status = os.waitpid(child, 0)[1]
    assert os.WTERMSIG(status) == 11 and not os.WCOREDUMP(status)
"""


SOCKET_MEMORY = """
import json, os, socket, time
def pages():
    lines = open("/proc/net/sockstat").read().splitlines()
    return sum(int(line.split()[-1]) for line in lines if line.startswith(("TCP:", "UDP:")))
def fill():
    kept = []
    server = socket.create_server(("127.0.0.1", 0), backlog=400)
    for _ in range(200):
        one = socket.create_connection(server.getsockname()); kept += [one, server.accept()[0]]
        one.setblocking(False); one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 24)
        try:
            while True: one.send(bytes(1 << 16))
        except BlockingIOError: pass
        other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); kept.append(other)
        other.bind(("127.0.0.1", 0)); other.setblocking(False)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        for _ in range(20):
            try: other.sendto(bytes(60000), other.getsockname())
            except OSError: break
    return kept
before = pages()
source, out = os.pipe()
for _ in range(4):
    if not os.fork():
        try: kept = fill()
        finally: os.write(out, b".")
        time.sleep(60)
done = b""
while len(done) < 4: done += os.read(source, 4)
try: limit = open("/sys/fs/cgroup/memory/memory.kmem.tcp.limit_in_bytes").read().strip()
except OSError: limit = ""
print(json.dumps({"bytes": (pages() - before) * os.sysconf("SC_PAGE_SIZE"), "limit": limit}))
"""


def test_the_committed_list_is_the_profile() -> None:
    rules = json.loads(resource("config", "seccomp.json").read_bytes())["syscalls"]
    plain = {name for rule in rules for name in rule["names"] if rule["action"] == "SCMP_ACT_ALLOW"}
    conditional = {name for rule in rules for name in rule["names"] if rule.get("args")}
    assert set(COMMITTED["conditional"]) == conditional
    assert set(COMMITTED["allowed"]) == plain - conditional - {"_llseek"}  # of 32-bit kernels


def test_no_system_call_answers_but_those_of_the_list(engine, image, runtime) -> None:
    if engine.info()["Architecture"] != "x86_64":
        return  # the numbers are those of x86_64; what is allowed by name is the same everywhere
    found = json.loads(ask_inside(engine, SWEEP, "0", str(LAST), image=image, runtime=runtime))
    answers = {int(number): answer for number, answer in found.items()}
    assert answers.keys() == set(range(LAST))
    known = [COMMITTED["allowed"], COMMITTED["conditional"], COMMITTED["passed by the kernel itself"]]
    if runtime == "runsc":
        known.append(COMMITTED["answered by gVisor as well"])
    listed = {number for names in known for number in names.values()}
    assert [number for number, answer in answers.items() if answer not in SHUT and number not in listed] == []
    if runtime == "runc":
        denied = [name for name, number in COMMITTED["allowed"].items() if answers[number] == errno.EPERM]
        assert denied == []


ACCESS_LISTS = """
import errno, json, os, struct
def access_list(names):
    entries = [(1, 7, -1), *((2, 7, 1000 + n) for n in range(names)), (4, 7, -1), (16, 7, -1), (32, 7, -1)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
answers = []
os.mkdir("/tmp/directory")
for name in ("access", "default"):
    for names in (0, 1, 8000):
        try: os.setxattr("/tmp/directory", "system.posix_acl_" + name, access_list(names))
        except OSError as error: answers.append(errno.errorcode[error.errno])
        else: answers.append("set")
print(json.dumps(answers))
"""


def test_no_access_list_takes_memory_of_the_host_that_nothing_counts(engine, image, runtime) -> None:
    answers = json.loads(ask_inside(engine, ACCESS_LISTS, image=image, runtime=runtime))
    assert set(answers) == {"ENOTSUP"}  # which programs know from file systems that have none


def test_no_kind_of_socket_can_be_made_but_those_of_the_list(engine, image, runtime) -> None:
    found = json.loads(ask_inside(engine, SOCKETS, image=image, runtime=runtime))
    opened = {tuple(kind) for kind in found["opened"]}
    pairs = {tuple(kind) for kind in found["pairs"]}
    assert opened >= {*UNIX, *INET}  # and these honest programs need
    assert pairs >= {(1, 1), (1, 2), (1, 5)}
    if runtime == "runsc":
        assert opened - {*UNIX, *INET} <= OWN_OF_GVISOR
        assert pairs <= {(1, 1), (1, 2), (1, 3), (1, 5)}
        return
    assert opened == {*UNIX, *INET}
    assert pairs == {(1, 1), (1, 2), (1, 5)}
    assert found["reached"] == []  # every other one is denied before the kernel looks for a module
    assert found["high"] == []


def test_the_other_ways_into_a_kernel_are_shut(engine, image, runtime) -> None:
    if engine.info()["Architecture"] != "x86_64":
        return  # has one way
    found = json.loads(ask_inside(engine, OTHER_WAYS, image=image, runtime=runtime))
    assert found.keys() == {"by_int80", "by_x32"}
    assert 77 not in found.values()


def test_a_sandbox_gets_few_pseudo_terminals_and_those_work(engine, image, runtime) -> None:
    count = int(ask_inside(engine, TERMINALS, image=image, runtime=runtime))
    assert count > 0
    if runtime == "runc":
        assert count <= 32


def test_live_figures_of_the_host_are_masked_and_the_sandboxs_own_counters_are_not(
    engine, image, runtime
) -> None:
    source = FIGURES.replace("COUNTS", json.dumps(COUNTS)).replace("COUNTERS", json.dumps(COUNTERS))
    found = json.loads(ask_inside(engine, source, image=image, runtime=runtime))
    assert found["cpus"] >= 1
    if runtime == "runsc":
        return  # all of it is its own
    given = {path.rpartition("/")[2] for path in kernel_files(Resources(), Machine())}
    assert set(found["proc"]) <= MAY_TELL | given
    assert found["sys"] == ["fs"]
    assert found["fs"] == ["cgroup"]
    assert found["counts"] == []
    assert found["counters"]
    assert {line.split(":", 2)[2] for line in found["group"].splitlines()} == {"/"}


def test_where_crashes_go_into_a_pipe_no_program_of_the_host_is_started(
    start_world, monkeypatch, engine, runtime
) -> None:
    piped = machine_of(engine.info(), core_pattern="|/usr/lib/systemd/systemd-coredump %P")
    monkeypatch.setattr(Engine, "machine", lambda _engine: piped)
    for isolation in ("fresh", "server"):
        world = start_world(runtime=runtime, guest={"tests": {"isolation": isolation}})
        world.file_write("test_it.py", LIMITS)
        arguments = {"test_path": "test_it.py", "expected": 0}
        outcome = world.perform(Call(METHODS["test_run"].opcode, "test_run", arguments))
        if runtime == "runc":
            assert outcome.status is Status.OK, outcome.meta["output"]
        # gVisor writes no core files and starts nothing of the host's.


def test_buffers_of_sockets_stay_inside_the_memory_limit_or_doctor_says_that_they_do_not(
    engine, image
) -> None:
    found = json.loads(ask_inside(engine, SOCKET_MEMORY, image=image, runtime="runc"))
    checks = judge_host({}, engine.info(), look_inside(engine, image=image, runtime="runc").facts, None)
    (told,) = (check for check in checks if check.name == "socket memory")
    if told.health is Health.GOOD:
        assert found["bytes"] < Resources().memory // 4
    else:
        assert engine.info().get("CgroupVersion", "1") == "1"
        assert found["limit"]  # nobody could set it; the row says so

"""What code from a workspace can do against the guest, the container and the host: attacks, one per defence.

Each attack is a test that runs inside the sandbox as the workspace's code and passes when it was denied.
"""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox_runner.sandbox import ContainerWorld
from sandbox_runner.trail.operations import METHODS
from sandbox_runner.world import Call, Outcome, Status

pytestmark = pytest.mark.docker

COMMON = """
import ctypes, errno, os, resource, signal, socket, stat, subprocess
import pytest
GVISOR = os.uname().release.startswith("4.4.0")
libc = ctypes.CDLL(None, use_errno=True)
def denied(call, *arguments):
    with pytest.raises(OSError) as caught:
        call(*arguments)
    assert caught.value.errno in (errno.EPERM, errno.EACCES, errno.EROFS), caught.value
"""

GUEST = (
    COMMON
    + """
@pytest.mark.parametrize("number", [0, signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, signal.SIGUSR1])
def test_signal(number):
    denied(os.kill, 1, number)

def test_trace():
    for request in (16, 0x4206):  # ATTACH, SEIZE
        assert libc.ptrace(request, 1, 0, 0) == -1

def test_read_and_write_memory():
    buffer = ctypes.create_string_buffer(8)
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
    remote = (ctypes.c_void_p * 2)(0x400000, 8)
    assert libc.process_vm_readv(1, vector, 1, remote, 1, 0) == -1
    assert libc.process_vm_writev(1, vector, 1, remote, 1, 0) == -1

@pytest.mark.parametrize("limit", [resource.RLIMIT_NOFILE, resource.RLIMIT_CPU])
def test_limit(limit):
    denied(resource.prlimit, 1, limit, (0, 0))

@pytest.mark.skipif(GVISOR, reason="gVisor allows renice; a nice guest is only slower")
def test_priority():
    denied(os.setpriority, os.PRIO_PROCESS, 1, 19)

@pytest.mark.parametrize("name", ["mem", "fd/0", "fd/1", "cwd", "root", "exe", "map_files", "task/1/mem"])
def test_proc(name):
    path = "/proc/1/" + name
    with pytest.raises(OSError):
        os.listdir(path) if name == "map_files" else os.close(os.open(path, os.O_RDWR))

@pytest.mark.skipif(GVISOR, reason="old gVisor shows these; nothing secret is in them")
@pytest.mark.parametrize("name", ["environ", "maps", "auxv", "stack", "syscall", "io", "fd/"])
def test_proc_of_the_kernel(name):
    with pytest.raises(OSError):
        os.listdir("/proc/1/fd") if name == "fd/" else open("/proc/1/" + name).read(1)

def test_environment_of_the_guest_holds_nothing_secret():
    try:
        told = open("/proc/1/environ", "rb").read()
    except OSError:
        return
    names = {part.split(b"=")[0].decode() for part in told.split(bytes(1)) if part}
    assert names <= {"PATH", "HOSTNAME", "HOME", "LC_ALL", "TERM"}, names
"""
)

SELF = (
    COMMON
    + """
def test_become_root():
    for call in (os.setuid, os.setgid, os.seteuid, os.setegid):
        denied(call, 0)
    denied(os.setresuid, 0, 0, 0)
    denied(os.setresgid, 0, 0, 0)
    denied(os.setgroups, [0])
    assert 0 not in os.getresuid() + os.getresgid()
    assert os.getgroups() in ([], [os.getgid()])

def test_capabilities():
    status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status.get(name, "0"), 16) == 0, name

def test_descriptors():
    # Beside the three streams only what the test's own pytest opened: capture files and the listing.
    harmless = ("/workspace", "/proc/", "/tmp", "/dev/null", "pipe:", "anon_inode", "/memfd", "memfd")
    for name in os.listdir("/proc/self/fd"):
        path = "/proc/self/fd/" + name
        if int(name) > 2 and os.path.islink(path):
            assert os.readlink(path).startswith(harmless), os.readlink(path)

def test_environment():
    allowed = {"PATH", "HOME", "LC_ALL", "LANG", "TZ", "USER", "LOGNAME", "TMPDIR", "PWD", "SHELL", "TERM",
               "NO_COLOR", "COLUMNS", "LINES"}
    own = ("PYTHON", "PYTEST", "GIT_")
    assert {name for name in os.environ if not name.startswith(own)} <= allowed

def test_set_uid_programs():
    find = ["find", "/", "-xdev", "-perm", "/6000", "-type", "f"]
    assert subprocess.run(find, capture_output=True).stdout == b""
    assert subprocess.run(["su", "-c", "id"], input="", text=True, capture_output=True).returncode != 0

def test_set_uid_file_of_its_own():
    with open("id.sh", "w") as file:
        file.write("#!/bin/sh\\nid -u\\n")
    os.chmod("id.sh", 0o6755)
    assert subprocess.run(["./id.sh"], capture_output=True, text=True).stdout.strip() == str(os.getuid())

@pytest.mark.skipif(GVISOR, reason="a namespace of gVisor's own kernel reaches nothing outside")
def test_namespaces():
    for flag in (0x10000000, 0x20000, 0x40000000, 0x20000000):
        assert libc.unshare(flag) == -1

def test_devices():
    denied(os.mknod, "device", stat.S_IFCHR | 0o666, os.makedev(1, 1))
    denied(os.mknod, "disk", stat.S_IFBLK | 0o666, os.makedev(254, 0))
    gvisors_own = () if GVISOR else ("fuse",)
    for name in ("mem", "kmsg", "kvm", "vda", "loop-control", "vsock", "vhost-vsock", *gvisors_own):
        with pytest.raises(OSError):
            os.close(os.open("/dev/" + name, os.O_RDONLY))

def test_core_files():
    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
    with pytest.raises(ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))
"""
)

PLACES = (
    COMMON
    + """
def test_writable_places():
    allowed = ("/workspace", "/tmp", "/dev/shm", "/dev/mqueue", "/proc")
    found = []
    for folder, folders, files in os.walk("/"):
        folders[:] = [name for name in folders if not os.path.join(folder, name).startswith(allowed)]
        if os.access(folder, os.W_OK):
            found.append(folder)
        for name in files:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path) and os.access(path, os.W_OK):
                found.append(path)
    assert not found, found

def test_queues_hold_nothing():
    try:
        os.close(os.open("/dev/mqueue/q", os.O_CREAT | os.O_RDWR))
    except OSError:
        return
    assert GVISOR

@pytest.mark.parametrize("path", [
    "/etc/passwd", "/etc/shadow", "/usr/bin/python3", "/proc/sys/kernel/core_pattern",
    "/proc/sysrq-trigger", "/proc/self/loginuid", "/sys/kernel/uevent_helper",
])
def test_write(path):
    with pytest.raises(OSError):
        with open(path, "r+") as file:
            file.write("x")

def test_remount():
    assert libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == -1
    assert libc.umount(b"/proc/kcore") == -1

@pytest.mark.skipif(GVISOR, reason="gVisor's own kernel tells of itself")
@pytest.mark.parametrize("name", [
    "cmdline", "config.gz", "kallsyms", "diskstats", "version", "vmstat", "zoneinfo", "softirqs",
    "sys/kernel/random/boot_id", "modules", "interrupts", "keys", "schedstat", "slabinfo",
])
def test_facts_of_the_host_in_files(name):
    try:
        assert open("/proc/" + name, "rb").read(64) == b""
    except OSError:
        pass

@pytest.mark.skipif(GVISOR, reason="gVisor's own kernel tells of itself")
@pytest.mark.parametrize("name", ["block", "class", "devices/virtual", "kernel", "module", "firmware"])
def test_facts_of_the_host_in_directories(name):
    try:
        assert os.listdir("/sys/" + name) == []
    except OSError:
        pass

def test_flag_of_the_host():
    for root in ("", "/proc/1/root", "/proc/self/root"):
        with pytest.raises(OSError):
            open(root + "@FLAG@").read()
"""
)

NETWORK = (
    COMMON
    + """
def test_interfaces():
    names = [line.split(":")[0].strip() for line in open("/proc/net/dev").read().splitlines()[2:]]
    assert names == ["lo"]

@pytest.mark.parametrize("address", @ADDRESSES@)
def test_connect(address):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        probe = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
        probe.settimeout(2)
        with probe, pytest.raises(OSError):
            probe.connect((address, @PORT@))
            probe.send(b"x")
            probe.recv(1)

@pytest.mark.parametrize("name", ["docker.sock", "containerd/containerd.sock", "dbus/system_bus_socket"])
def test_sockets_of_the_host(name):
    for folder in ("/run/", "/var/run/"):
        with pytest.raises(OSError):
            socket.socket(socket.AF_UNIX).connect(folder + name)

def test_abstract_sockets_of_the_host():
    assert "@/" not in open("/proc/net/unix").read().replace("@sandbox", "")

def test_names():
    with pytest.raises(OSError):
        socket.getaddrinfo("example.org", 80)
    assert socket.gethostbyname("localhost") == "127.0.0.1"

def test_raw_sockets():
    with pytest.raises(OSError):
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with pytest.raises(OSError):
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
"""
)

FORGING = (
    COMMON
    + """
import json, struct
def frame(header):
    text = json.dumps(header).encode()
    return struct.pack(">II", len(text), 0) + text
LIE = {"ok": True, "status": "ok", "text": "forged", "details": {}, "ns": 1}
LIES = b"".join(frame({"id": number, **LIE}) for number in range(40))

@pytest.mark.parametrize("stream", [1, 2])
def test_frames_on_its_own_streams(stream):
    os.write(stream, LIES)

@pytest.mark.parametrize("path", ["/proc/1/fd/0", "/proc/1/fd/1", "/proc/1/fd/2"])
def test_frames_on_the_guests_streams(path):
    with pytest.raises(OSError):
        os.close(os.open(path, os.O_WRONLY))
"""
)

NOISE = """
import os
def test_loud():
    os.write(1, b"\\x1b]0;pwned\\x07\\x1b[2J\\r\\n{\\"id\\": 1}\\n" * 3)
    assert False
"""


@pytest.fixture
def attack(start_world, runtime):
    """Run a test file inside and give its outcome; what it printed explains a failure."""
    world = start_world(runtime=runtime, guest={"tests": {"timeout_s": 100, "isolation": "fresh"}})

    def run(source: str) -> tuple[ContainerWorld, Outcome]:
        world.file_write("test_attack.py", source)
        arguments = {"test_path": "test_attack.py", "expected": 0}
        return world, world.perform(Call(METHODS["test_run"].opcode, "test_run", arguments))

    return run


def assert_denied(outcome) -> None:
    assert outcome.status is Status.OK, f"{outcome.text}\n{outcome.meta.get('output', '')}"
    assert outcome.details["passed"] >= 1


def test_the_guest_cannot_be_signalled_traced_limited_or_read(attack) -> None:
    _, outcome = attack(GUEST)
    assert_denied(outcome)


def test_a_child_has_no_privilege_descriptor_or_variable_of_ours(attack) -> None:
    _, outcome = attack(SELF)
    assert_denied(outcome)


def test_only_the_workspace_and_scratch_can_be_written_and_the_host_is_hidden(attack, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    flag.write_text("secret")
    flag.chmod(0o644)
    _, outcome = attack(PLACES.replace("@FLAG@", str(flag)))
    assert_denied(outcome)


@pytest.fixture
def listener() -> Iterator[tuple[int, list[object]]]:
    """A port of this machine that takes connections and datagrams, and what came to it."""
    seen: list[object] = []
    done = threading.Event()
    with socket.create_server(("0.0.0.0", 0)) as streams, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        port = streams.getsockname()[1]
        datagrams.bind(("0.0.0.0", port))
        streams.settimeout(0.1)
        datagrams.settimeout(0.1)

        def listen() -> None:
            while not done.is_set():
                for take in (streams.accept, lambda: datagrams.recvfrom(1)):
                    with contextlib.suppress(TimeoutError):
                        seen.append(take())

        thread = threading.Thread(target=listen)
        thread.start()
        yield port, seen
        done.set()
        thread.join()


def test_nothing_beyond_its_own_loopback_can_be_reached(attack, listener) -> None:
    port, seen = listener
    addresses = ["127.0.0.1", "172.17.0.1", "10.0.0.1", "169.254.169.254", "1.1.1.1", own_address(), "::1"]
    source = NETWORK.replace("@PORT@", str(port)).replace("@ADDRESSES@", json.dumps(addresses))
    _, outcome = attack(source)
    assert_denied(outcome)
    assert seen == []


def own_address() -> str:
    """The address by which this machine would leave; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return probe.getsockname()[0]


def test_forged_frames_are_plain_output(attack) -> None:
    world, outcome = attack(FORGING)
    assert_denied(outcome)
    assert "forged" not in outcome.text
    assert world.file_read("test_attack.py").startswith("file_read: test_attack.py")


def test_terminal_escapes_in_output_stay_out_of_texts(attack) -> None:
    _, outcome = attack(NOISE)
    assert outcome.status is Status.FAILED
    assert "\x1b" not in outcome.text
    assert "\n" not in outcome.text

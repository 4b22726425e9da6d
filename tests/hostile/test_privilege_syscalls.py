"""System calls that must fail even for process 1 with its three capabilities, and work that must go on.

The arguments are such that the kernel itself would let most calls succeed or complain about them (EFAULT);
EPERM is the profile's answer.
"""

import errno
import json

import pytest

from sandbox_runner.sandbox.isolation import ask_inside

pytestmark = pytest.mark.docker

# name: (number on x86_64, number on aarch64 or None where it does not exist, arguments)
TABLE = {
    "ptrace(PTRACE_TRACEME)": (101, 117, [0, 0, 0, 0]),
    "process_vm_readv": (310, 270, [1, 0, 0, 0, 0, 0]),
    "process_vm_writev": (311, 271, [1, 0, 0, 0, 0, 0]),
    "kcmp": (312, 272, [1, 1, 0, 0, 0]),
    "pidfd_getfd": (438, 438, [-1, 0, 0]),
    "process_madvise": (440, 440, [-1, 0, 0, 0, 0]),
    "io_uring_setup": (425, 425, [1, 0]),
    "io_uring_enter": (426, 426, [-1, 0, 0, 0, 0, 0]),
    "io_uring_register": (427, 427, [-1, 0, 0, 0]),
    "bpf": (321, 280, [0, 0, 0]),
    "perf_event_open": (298, 241, [0, 0, -1, -1, 0]),
    "userfaultfd": (323, 282, [1]),
    "add_key": (248, 217, [0, 0, 0, 0, 0]),
    "request_key": (249, 218, [0, 0, 0, 0]),
    "keyctl(GET_KEYRING_ID)": (250, 219, [0, -3, 0, 0, 0]),
    "unshare(CLONE_NEWUSER)": (272, 97, [0x10000000]),
    "setns": (308, 268, [-1, 0]),
    "clone(CLONE_NEWUSER)": (56, 220, [0x10000011, 0, 0, 0, 0]),
    "clone(CLONE_NEWNET)": (56, 220, [0x40000011, 0, 0, 0, 0]),
    "mount": (165, 40, [0, 0, 0, 0, 0]),
    "umount2": (166, 39, [0, 0]),
    "pivot_root": (155, 41, [0, 0]),
    "chroot": (161, 51, [0]),
    "fsopen": (430, 430, [0, 0]),
    "fsmount": (432, 432, [-1, 0, 0]),
    "open_tree": (428, 428, [-1, 0, 0]),
    "move_mount": (429, 429, [-1, 0, -1, 0, 0]),
    "mount_setattr": (442, 442, [-1, 0, 0, 0, 0]),
    "name_to_handle_at": (303, 264, [-1, 0, 0, 0, 0]),
    "open_by_handle_at": (304, 265, [-1, 0, 0]),
    "fanotify_init": (300, 262, [0, 0]),
    "quotactl": (179, 60, [0, 0, 0, 0]),
    "acct": (163, 89, [0]),
    "syslog": (103, 116, [10, 0, 0]),
    "init_module": (175, 105, [0, 0, 0]),
    "finit_module": (313, 273, [-1, 0, 0]),
    "kexec_load": (246, 104, [0, 0, 0, 0]),
    "reboot": (169, 142, [0, 0, 0, 0]),
    "swapon": (167, 224, [0, 0]),
    "settimeofday": (164, 170, [0, 0]),
    "clock_settime": (227, 112, [0, 0]),
    "sethostname": (170, 161, [0, 0]),
    "personality(ADDR_NO_RANDOMIZE)": (135, 92, [0x0040000]),
    "memfd_secret": (447, 447, [0]),
    "vmsplice": (278, 75, [-1, 0, 0, 0]),
    "remap_file_pages": (216, 234, [0, 0, 0, 0, 0]),
    "mbind": (237, 235, [0, 0, 0, 0, 0, 0]),
    "move_pages": (279, 239, [0, 0, 0, 0, 0, 0]),
    "migrate_pages": (256, 238, [0, 0, 0, 0]),
    "shmget": (29, 194, [0, 4096, 0o1600]),
    "semget": (64, 190, [0, 1, 0o1600]),
    "msgget": (68, 186, [0, 0o1600]),
    "mq_open": (240, 180, [0, 0, 0, 0]),
    "modify_ldt": (154, None, [0, 0, 0]),
    "iopl": (172, None, [0]),
    "ioperm": (173, None, [0, 0, 0]),
    "seccomp": (317, 277, [9, 0, 0]),
    "socket(AF_NETLINK)": (41, 198, [16, 3, 0]),
    "socket(AF_PACKET)": (41, 198, [17, 3, 0]),
    "socket(AF_VSOCK)": (41, 198, [40, 1, 0]),
    "socket(AF_ALG)": (41, 198, [38, 5, 0]),
    "socket(AF_BLUETOOTH)": (41, 198, [31, 3, 1]),
    "socket(AF_XDP)": (41, 198, [44, 3, 0]),
    "sync": (162, 81, []),
    "syncfs": (306, 267, [-1]),
    "splice": (275, 76, [-1, 0, -1, 0, 0, 0]),
    "tee": (276, 77, [-1, -1, 0, 0]),
    "sendfile": (40, 71, [-1, -1, 0, 0]),
    "io_setup": (206, 0, [1, 0]),
    "io_destroy": (207, 1, [0]),
    "io_submit": (209, 2, [0, 0, 0]),
    "io_getevents": (208, 4, [0, 0, 0, 0, 0]),
    "io_pgetevents": (333, 292, [0, 0, 0, 0, 0, 0]),
    "futex_waitv": (449, 449, [0, 0, 0, 0, 0]),
    "futex_wake": (454, 454, [0, 0, 0, 0]),
    "futex_wait": (455, 455, [0, 0, 0, 0, 0, 0]),
    "futex_requeue": (456, 456, [0, 0, 0, 0]),
    "futex(WAIT_REQUEUE_PI)": (202, 98, [0, 11, 0, 0, 0, 0]),
    "futex(CMP_REQUEUE_PI | PRIVATE)": (202, 98, [0, 140, 0, 0, 0, 0]),
    "mmap(HUGETLB)": (9, 222, [0, 2 << 20, 3, 0x40022, -1, 0]),
    "mmap(HUGETLB | HUGE_1GB)": (9, 222, [0, 1 << 30, 3, 0x78040022, -1, 0]),
    "memfd_create(HUGETLB)": (319, 279, [0, 4]),
    "memfd_create(HUGETLB | HUGE_2MB | CLOEXEC)": (319, 279, [0, 0x54000005]),
    "sendto(OOB)": (44, 206, [-1, 0, 0, 1, 0, 0]),
    "sendto(ZEROCOPY)": (44, 206, [-1, 0, 0, 0x4000000, 0, 0]),
    "sendmsg(OOB | DONTWAIT)": (46, 211, [-1, 0, 0x41]),
    "sendmmsg(OOB)": (307, 269, [-1, 0, 0, 1]),
    "setsockopt(ATTACH_FILTER)": (54, 208, [-1, 1, 26, 0, 0]),
    "setsockopt(ATTACH_FILTER), its level with a high half": (54, 208, [-1, 1 << 40 | 1, 26, 0, 0]),
    "setsockopt(ATTACH_FILTER), its name with a high half": (54, 208, [-1, 1, 1 << 40 | 26, 0, 0]),
    "setsockopt(ATTACH_BPF)": (54, 208, [-1, 1, 50, 0, 0]),
    "setsockopt(ATTACH_REUSEPORT_CBPF)": (54, 208, [-1, 1, 51, 0, 0]),
    "setsockopt(ATTACH_REUSEPORT_EBPF)": (54, 208, [-1, 1, 52, 0, 0]),
    "setsockopt(TCP_ULP)": (54, 208, [-1, 6, 31, 0, 0]),
    "setsockopt(UDP_ENCAP)": (54, 208, [-1, 17, 100, 0, 0]),
    "setsockopt(IPT_SO_SET_REPLACE)": (54, 208, [-1, 0, 64, 0, 0]),
    "setsockopt(SOL_MPTCP)": (54, 208, [-1, 284, 1, 0, 0]),
    "setsockopt(SOL_TLS)": (54, 208, [-1, 282, 1, 0, 0]),
    "prctl(SET_SECCOMP)": (157, 167, [22, 1, 0, 0, 0]),
    "prctl(SET_SECCOMP), its option with a high half": (157, 167, [1 << 40 | 22, 2, 0, 0, 0]),
    "prctl(SET_MM)": (157, 167, [35, 0, 0, 0, 0]),
    "prctl(SET_SYSCALL_USER_DISPATCH)": (157, 167, [59, 1, 0, 0, 0]),
    "ioctl(TIOCSETD)": (16, 29, [-1, 0x5423, 0]),
    "ioctl(TIOCSETD), its request with a high half": (16, 29, [-1, 1 << 40 | 0x5423, 0]),
    "setrlimit(CORE)": (160, 164, [4, 0]),
    "setrlimit(CORE), its name with a high half": (160, 164, [1 << 40 | 4, 0]),
    "prlimit64(CORE)": (302, 261, [0, 4, 1, 0]),
}

# Newer than some system call tables, or with a manual that tells what to do instead: ENOSYS is as good.
MAY_BE_UNKNOWN = {"sendfile", "futex_waitv", "futex_wake", "futex_wait", "futex_requeue"}

# gVisor serves these by its own kernel, where they reach nothing outside the sandbox.
HARMLESS_IN_GVISOR = {
    "ptrace(PTRACE_TRACEME)",
    "semget",
    "shmget",
    "msgget",
    "socket(AF_NETLINK)",
    "unshare(CLONE_NEWUSER)",
    "clone(CLONE_NEWUSER)",
    "seccomp",
    "mbind",
    "personality(ADDR_NO_RANDOMIZE)",
    "syslog",
    "setns",
    "io_submit",
    "splice",
    "sync",
    "tee",
    "io_setup",
    "memfd_create(HUGETLB)",
    "mmap(HUGETLB)",
    "mmap(HUGETLB | HUGE_1GB)",
}

TRY = """
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
column = 0 if os.uname().machine == "x86_64" else 1
answers = {}
for name, (*numbers, arguments) in json.loads(sys.argv[1]).items():
    number = numbers[column]
    if number is None:
        continue
    child = os.fork()  # a clone that works must not double the rest
    if not child:
        result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(value) for value in arguments])
        if name.startswith("clone") and result == 0:
            os._exit(0)
        os._exit(ctypes.get_errno() if result == -1 else 200)
    answers[name] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps(answers))
"""

WORK = """
import asyncio, ctypes, json, multiprocessing, os, select, signal, socket, sqlite3
import fcntl, pty, resource, shutil, struct, subprocess, sys, tempfile, termios, threading
done = []
def step(name):
    done.append(name)
    return lambda function: function()
@step("threads")
def _():
    seen = []
    threads = [threading.Thread(target=seen.append, args=(i,)) for i in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(seen) == list(range(8))
@step("processes")
def _():
    assert subprocess.run(["sh", "-c", "echo hi | cat"], capture_output=True, text=True).stdout == "hi\\n"
@step("multiprocessing")
def _():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]
@step("asyncio")
def _():
    async def talk():
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b""
        writer.close()
        server.close()
        process = await asyncio.create_subprocess_exec("true")
        assert await process.wait() == 0
    asyncio.run(talk())
@step("sqlite")
def _():
    database = sqlite3.connect("/tmp/a.db")
    database.execute("pragma journal_mode=wal")
    with database:
        database.execute("create table t (x)")
    database.close()
@step("sockets")
def _():
    for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
        socket.socket(family).close()
    socket.socketpair()[0].close()
    assert socket.gethostbyname("localhost") == "127.0.0.1"
@step("files")
def _():
    os.chdir(tempfile.mkdtemp())
    os.mkfifo("fifo"); os.symlink("a", "b"); open("c", "w").close(); os.link("c", "d"); os.utime("c")
    os.memfd_create("m")
    with open("big", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 4096)
@step("polling")
def _():
    poll = select.epoll(); poll.close()
    r, w = os.pipe(); select.select([], [w], [], 1)
    signal.setitimer(signal.ITIMER_REAL, 10); signal.setitimer(signal.ITIMER_REAL, 0)
@step("datagrams")
def _():
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family, socket.SOCK_DGRAM, socket.IPPROTO_UDP) as one:
            one.bind((host, 0))
            one.sendto(b"x", one.getsockname())
            assert one.recv(2) == b"x"
    with socket.socket(socket.AF_INET6) as one:
        for level, names in (
            ("SO", "REUSEADDR REUSEPORT KEEPALIVE SNDBUF RCVBUF BROADCAST OOBINLINE PRIORITY"),
            ("TCP", "NODELAY CORK KEEPIDLE KEEPINTVL KEEPCNT QUICKACK USER_TIMEOUT DEFER_ACCEPT"),
            ("IPV6", "V6ONLY RECVPKTINFO RECVTCLASS UNICAST_HOPS"),
            ("IP", "TOS TTL"),
        ):
          for name in names.split():
            number = socket.SOL_SOCKET if level == "SO" else getattr(socket, "IPPROTO_" + level)
            try: one.setsockopt(number, getattr(socket, level + "_" + name), 1)
            except PermissionError: raise
            except OSError: pass  # this kernel has other reasons
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    one.sendmsg([b"a", b"b"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", 0))])
    data, ancillary, _, _ = other.recvmsg(2, 64)
    assert data == b"ab" and ancillary
@step("copies")
def _():
    os.chdir(tempfile.mkdtemp())
    with open("big", "wb") as file:
        file.write(b"x" * (1 << 20))
        file.flush(); os.fsync(file.fileno()); os.sync()
    shutil.copyfile("big", "copy"); shutil.copytree(".", "../tree", dirs_exist_ok=True)
    with open("copy", "rb") as file, open("big", "rb") as other:
        assert file.read() == other.read()
    one, other = socket.socketpair()
    with open("big", "rb") as file:
        thread = threading.Thread(target=one.sendfile, args=(file,)); thread.start()
        left = 1 << 20
        while left: left -= len(other.recv(left))
        thread.join()
@step("terminals")
def _():
    ours, theirs = pty.openpty()
    assert os.isatty(theirs)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 5, 9, 0, 0))
    assert os.get_terminal_size(ours) == (9, 5)
    termios.tcsetattr(theirs, termios.TCSANOW, termios.tcgetattr(theirs))
    os.write(ours, b"hi\\n")
    assert os.read(theirs, 9) == b"hi\\n"
    pid, terminal = pty.fork()
    if not pid: os.execvp("tty", ["tty"])
    assert b"/dev/pts/" in os.read(terminal, 99)
    os.waitpid(pid, 0)
@step("limits and settings")
def _():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    assert resource.prlimit(0, resource.RLIMIT_CORE) == resource.getrlimit(resource.RLIMIT_CORE)
    libc = ctypes.CDLL(None, use_errno=True)
    name = ctypes.create_string_buffer(b"honest")
    assert libc.prctl(15, name, 0, 0, 0) == 0 and libc.prctl(36, 1, 0, 0, 0) == 0
    assert subprocess.run(["true"], start_new_session=True, preexec_fn=lambda: None).returncode == 0
@step("spawned workers")
def _():
    with multiprocessing.get_context("fork").Manager() as manager:
        shared = manager.dict(a=1)
        assert shared["a"] == 1
    array = multiprocessing.Array("i", 3)
    array[0] = 1
@step("execution domain")
def _():
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.personality(ctypes.c_ulong(0xffffffff)) == 0 or os.uname().release.startswith("4.4.0")
print(json.dumps(done))
"""


@pytest.fixture(scope="module")
def answers(engine, image, runtime) -> dict[str, int]:
    return json.loads(ask_inside(engine, TRY, json.dumps(TABLE), image=image, runtime=runtime))


@pytest.mark.parametrize("name", TABLE)
def test_a_dangerous_system_call_is_denied(answers: dict[str, int], name: str, runtime: str) -> None:
    if name not in answers:
        return  # this architecture has no such call
    if runtime == "runsc":
        assert answers[name] != 200 or name in HARMLESS_IN_GVISOR
    elif name in MAY_BE_UNKNOWN:
        assert answers[name] in (errno.EPERM, errno.ENOSYS), errno.errorcode.get(answers[name], answers[name])
    else:
        assert answers[name] == errno.EPERM, errno.errorcode.get(answers[name], answers[name])


def test_ordinary_programs_work_under_the_profile(engine, image, runtime) -> None:
    done = json.loads(ask_inside(engine, WORK, image=image, runtime=runtime))
    assert done[-1] == "execution domain"
    assert len(done) == 14

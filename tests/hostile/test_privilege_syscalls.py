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
}

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
import subprocess, sys, tempfile, threading
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
    else:
        assert answers[name] == errno.EPERM, errno.errorcode.get(answers[name], answers[name])


def test_ordinary_programs_work_under_the_profile(engine, image, runtime) -> None:
    done = json.loads(ask_inside(engine, WORK, image=image, runtime=runtime))
    assert done[-1] == "execution domain"
    assert len(done) == 9

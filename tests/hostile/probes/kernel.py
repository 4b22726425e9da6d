"""Attempts on the kernel: what it is asked to mount, load, trace, share, and to hold for everybody.

Numbers of system calls stand as pairs, x86_64 first.
"""

import ctypes
import mmap
import os
import signal
import socket
import struct
import time

from trying import LIBC, answer, in_a_child, name_of, opening, processes, system_call

_NAMESPACES = {
    "user": 0x10000000, "mount": 0x20000, "pid": 0x20000000, "network": 0x40000000, "ipc": 0x8000000,
    "host name": 0x4000000, "cgroup": 0x2000000, "time": 0x80,
}  # fmt: skip
_CLONE, _UNSHARE, _SETNS = (56, 220), (272, 97), (308, 268)
_NOBODY = 0  # an argument that no call is meant to look at


def namespaces(_bait):
    for name, flag in _NAMESPACES.items():
        yield "unshare " + name, in_a_child(lambda flag=flag: system_call(_UNSHARE, flag))
        if name != "time":  # clone has no bit for it
            yield "clone " + name, in_a_child(lambda flag=flag: _clone(flag))
    fd = os.open("/proc/self/ns/net", os.O_RDONLY)
    yield "setns", in_a_child(lambda: system_call(_SETNS, fd, 0))
    arguments = (ctypes.c_uint64 * 8)(0x10000000, 0, 0, 0, signal.SIGCHLD)
    yield "clone3 user", in_a_child(lambda: system_call(435, arguments, ctypes.sizeof(arguments)))


def _clone(flag):
    """Where it works two processes say so; the first word counts."""
    return system_call(_CLONE, flag | signal.SIGCHLD, 0, 0, 0, 0)


def mounts(_bait):
    yield "mount tmpfs", system_call((165, 40), b"none", b"/tmp", b"tmpfs", 0, _NOBODY)
    yield "mount cgroup", system_call((165, 40), b"none", b"/tmp", b"cgroup", 0, b"memory")
    yield "mount overlay", system_call((165, 40), b"none", b"/tmp", b"overlay", 0, b"lowerdir=/:/usr")
    yield "remount the root writable", system_call((165, 40), b"none", b"/", b"", 0x20, _NOBODY)
    yield "bind over a file", system_call((165, 40), b"/tmp", b"/proc", b"", 0x1000, _NOBODY)
    yield "unmask", system_call((166, 39), b"/proc/acpi", 2)
    yield "pivot_root", system_call((155, 41), b"/tmp", b"/tmp")
    yield "chroot", system_call((161, 51), b"/tmp")
    yield "fsopen", system_call(430, b"tmpfs", 0)
    yield "fspick", system_call(433, -100, b"/", 0)
    yield "open_tree", system_call(428, -100, b"/", 1)
    yield "move_mount", system_call(429, -100, b"/tmp", -100, b"/proc", 0)
    yield "mount_setattr", system_call(442, -100, b"/", 0, b"\0" * 32, 32)
    yield (
        "name_to_handle_at",
        system_call((303, 264), -100, b"/etc/passwd", b"\x80" + b"\0" * 135, b"\0" * 8, 0),
    )
    yield "open_by_handle_at", system_call((304, 265), 0, b"\x08" + b"\0" * 23, 0)


def modules(_bait):
    yield "init_module", system_call((175, 105), b"\x7fELF", 4, b"")
    yield "finit_module", system_call((313, 273), 0, b"", 0)
    yield "delete_module", system_call((176, 106), b"loop", 0)
    yield "kexec_load", system_call((246, 104), 0, 0, 0, 0)
    yield "kexec_file_load", system_call((320, 294), 0, 0, 0, 0, 0)
    yield "bpf", system_call((321, 280), 0, b"\0" * 120, 120)
    yield "perf_event_open", system_call((298, 241), b"\0" * 8 + b"\0" * 120, 0, -1, -1, 0)
    yield "syslog", system_call((103, 116), 10, 0, 0)


def admin(_bait):
    yield "reboot", system_call((169, 142), 0, 0, 0, 0)
    yield "swapon", system_call((167, 224), b"/tmp/none", 0)
    yield "acct", system_call((163, 89), 0)
    yield "quotactl", system_call((179, 60), 0, 0, 0, 0)
    yield "settimeofday", system_call((164, 170), b"\0" * 16, 0)
    yield "clock_settime", system_call((227, 112), 0, b"\0" * 16)
    yield "adjtimex", system_call((159, 171), b"\x01" + b"\0" * 255)
    yield "sethostname", system_call((170, 161), b"x", 1)
    yield "iopl", system_call((172, None), 3)
    yield "ioperm", system_call((173, None), 0, 1, 1)
    yield "fanotify_init", system_call((300, 262), 0, 0)
    yield "vhangup", in_a_child(lambda: system_call((153, 58)))


def io_uring(_bait):
    yield "io_uring_setup", system_call(425, 1, b"\0" * 120)
    yield "io_uring_enter", system_call(426, 0, 0, 0, 0, 0, 0)
    yield "io_uring_register", system_call(427, 0, 0, 0, 0)


def userfaultfd(_bait):
    yield "userfaultfd", system_call((323, 282), 1)
    yield "/dev/userfaultfd", opening("/dev/userfaultfd", os.O_RDWR)


def keys(_bait):
    yield "add_key", system_call((248, 217), b"user", b"probe", b"x", 1, -3)
    yield "request_key", system_call((249, 218), b"user", b"probe", 0, 0)
    yield "keyctl", system_call((250, 219), 0, -3, 0, 0, 0)


def old_doors(_bait):
    """System calls by another door than the filter watches: 32 bits, x32, other execution domains."""
    if os.uname().machine == "x86_64":
        # mov eax, 20 (getpid); int 0x80; ret: in a new user namespace's stead the harmless one is enough
        yield "int80 getpid", in_a_child(lambda: _run(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"))
        yield "x32 getpid", in_a_child(lambda: system_call(0x40000000 + 39))
        yield "x32 ptrace", in_a_child(lambda: system_call(0x40000000 + 521, 0, 0, 0, 0))
    yield "personality 32 bits", in_a_child(lambda: system_call((135, 92), 8))
    yield "personality fixed addresses", in_a_child(lambda: system_call((135, 92), 0x40000))
    yield "modify_ldt", system_call((154, None), 0, b"\0" * 16, 16)
    yield "seccomp listener", in_a_child(lambda: system_call((317, 277), 1, 8, b"\0" * 16))


def _run(code):
    LIBC.mmap.restype = ctypes.c_void_p
    page = LIBC.mmap(None, 4096, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC, 0x22, -1, 0)
    if page is None or page == ctypes.c_void_p(-1).value:
        return "no page"
    ctypes.memmove(page, code, len(code))
    number = ctypes.CFUNCTYPE(ctypes.c_int)(page)()
    return "done" if number > 0 else name_of(-number)


def shared_memory(_bait):
    yield "shmget", system_call((29, 194), 0, 4096, 0o1600)
    yield "semget", system_call((64, 190), 0, 1, 0o1600)
    yield "msgget", system_call((68, 186), 0, 0o1600)
    yield "mq_open", system_call((240, 180), b"probe", os.O_CREAT | os.O_RDWR, 0o600, 0)
    yield "memfd_secret", system_call(447, 0)
    yield "remap_file_pages", system_call((216, 234), 0, 0, 0, 0, 0)
    yield "move_pages", system_call((279, 239), 1, 0, 0, 0, 0, 0)
    yield "migrate_pages", system_call((256, 238), 1, 0, 0, 0)


def tracing(_bait):
    """Every process of the guest (those of uid 0), not only the first."""
    for pid in guests():
        yield "ptrace attach", in_a_child(lambda pid=pid: system_call((101, 117), 16, pid, 0, 0))
        yield "ptrace seize", in_a_child(lambda pid=pid: system_call((101, 117), 0x4206, pid, 0, 0))
        buffer = ctypes.create_string_buffer(8)
        local = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 8)
        remote = (ctypes.c_size_t * 2)(0x400000, 8)
        yield "process_vm_readv", system_call((310, 270), pid, local, 1, remote, 1, 0)
        yield "process_vm_writev", system_call((311, 271), pid, local, 1, remote, 1, 0)
        fd = LIBC.syscall(434, pid, 0)
        yield "pidfd_getfd", system_call(438, fd, 0, 0)
        yield "process_madvise", system_call(440, fd, local, 1, 20, 0)
        yield "kcmp", system_call((312, 272), pid, os.getpid(), 0, 0, 0)


def guests():
    return [pid for pid, uid in processes() if uid == 0 and pid != os.getpid()]


def signals(_bait):
    for pid in guests():
        for number in (0, signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, signal.SIGCONT, signal.SIGUSR1, 40):
            yield "kill %d" % number, answer(os.kill, pid, number)
        fd = LIBC.syscall(434, pid, 0)
        yield "pidfd_send_signal", system_call(424, fd, 9, 0, 0)
        yield "tgkill", system_call((234, 131), pid, pid, 9)
        info = struct.pack("iii", 9, 0, -1) + b"\0" * 116
        yield "rt_sigqueueinfo", system_call((129, 138), pid, 9, info)
        yield "setpriority", answer(os.setpriority, os.PRIO_PROCESS, pid, 19)
        yield "prlimit", system_call((302, 261), pid, 7, struct.pack("QQ", 0, 0), 0)
        yield "sched_setaffinity", answer(os.sched_setaffinity, pid, {0})
        yield "sched_setscheduler", system_call((144, 119), pid, 3, b"\0" * 8)
        yield "ioprio_set", system_call((251, 30), 1, pid, 3 << 13)


def signals_by_owner(_bait):
    """A descriptor whose owner is the guest sends it a deadly signal; the guest must not notice."""
    targets = guests()
    for pid in targets:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            LIBC.fcntl(ours.fileno(), 10, int(signal.SIGKILL))  # F_SETSIG
            LIBC.fcntl(ours.fileno(), 8, pid)  # F_SETOWN
            LIBC.fcntl(ours.fileno(), 4, os.O_ASYNC)
            theirs.send(b"x")
    time.sleep(0.2)
    alive = set(guests())
    yield "the guest", "alive" if targets and alive >= set(targets) else "hit"


def terminal(_bait):
    """Pushing input into a terminal: one of the caller's, then one of its own making."""
    for name in ("stdin", "stdout", "stderr"):
        fd = {"stdin": 0, "stdout": 1, "stderr": 2}[name]
        yield "TIOCSTI on " + name, _push(fd)
        yield "TIOCLINUX on " + name, _push(fd, 0x541C)
    yield "/dev/tty", opening("/dev/tty", os.O_RDWR)
    yield "/dev/console", opening("/dev/console", os.O_RDWR)
    yield "/dev/pts/0", opening("/dev/pts/0", os.O_RDWR)


def _push(fd, request=0x5412):
    return "done" if LIBC.ioctl(fd, ctypes.c_ulong(request), b"x") == 0 else _errno()


def _errno():
    return answer(_raise, ctypes.get_errno())


def _raise(number):
    raise OSError(number, "")


def huge_pages(_bait):
    for name, flag in (("default", 0), ("2 MiB", 21 << 26), ("1 GiB", 30 << 26)):
        flags = 0x40022 | flag  # PRIVATE, ANONYMOUS, HUGETLB
        yield (
            "mmap " + name,
            in_a_child(lambda flags=flags: system_call((9, 222), 0, 2 << 20, 3, flags, -1, 0)),
        )
        yield "memfd_create " + name, system_call((319, 279), b"probe", 4 | flag)


def host_wide_sync(_bait):
    yield "sync", system_call((162, 81))


def aio(_bait):
    context = ctypes.c_ulong(0)
    yield "io_setup", system_call((206, 0), 1, ctypes.byref(context))


def page_cache(_bait):
    """Ways to pages of the image that guest, host and later sandboxes share."""
    file = os.open("/etc/passwd", os.O_RDONLY)
    r, w = os.pipe()
    other = os.pipe()
    yield (
        "splice a page of the image",
        _moved(lambda: LIBC.syscall(_number(275, 76), file, None, w, None, 1, 0)),
    )
    os.write(w, b"x")
    yield "tee", _moved(lambda: LIBC.syscall(_number(276, 77), r, other[1], 1, 0))
    vector = (ctypes.c_size_t * 2)(ctypes.addressof(ctypes.create_string_buffer(8)), 8)
    yield "vmsplice", _moved(lambda: LIBC.syscall(_number(278, 75), w, vector, 1, 0))
    yield "write to the image", opening("/etc/passwd", os.O_WRONLY)


def _number(x86, arm):
    return ctypes.c_long(x86 if os.uname().machine == "x86_64" else arm)


def _moved(call):
    ctypes.set_errno(0)
    return "done" if call() >= 0 else _errno()


def new_futexes(_bait):
    word = ctypes.c_uint32(0)
    yield "futex_wake", system_call(454, ctypes.byref(word), 1, 1, 2)
    yield "futex_wait", system_call(455, ctypes.byref(word), 1, 1, 2, 0, 1)
    yield "futex_requeue", system_call(456, b"\0" * 48, 0, 1, 1)


def out_of_band(_bait):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield "MSG_OOB by sendto", answer(ours.send, b"x", socket.MSG_OOB)
        yield "MSG_OOB by sendmsg", answer(ours.sendmsg, [b"x"], [], socket.MSG_OOB)

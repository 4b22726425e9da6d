"""Attempts on what is in sight: devices, mounts, control groups, the guest's own files, facts of the host."""

import ctypes
import os
import resource
import stat
import subprocess
import time

from trying import LIBC, answer, listing, opening, processes, reading

_PLAIN_DEVICES = {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "console"}
_DEVICES = (
    "mem", "kmem", "kmsg", "port", "kvm", "fuse", "vsock", "vhost-vsock", "vhost-net", "loop-control",
    "loop0", "sda", "vda", "nvme0n1", "dm-0", "mapper/control", "net/tun", "uinput", "input/event0",
    "snapshot", "cpu/0/msr", "dri/card0", "nvidia0", "userfaultfd",
)  # fmt: skip


def devices(_bait):
    for name in _DEVICES:
        yield "/dev/" + name, opening("/dev/" + name, os.O_RDONLY)
    beyond = []
    for folder, _, names in os.walk("/dev"):
        for name in names:
            mode = os.lstat(os.path.join(folder, name)).st_mode
            if stat.S_ISBLK(mode) or (stat.S_ISCHR(mode) and name not in _PLAIN_DEVICES):
                beyond.append(os.path.join(folder, name))
    yield "other devices", ", ".join(sorted(beyond)) or "none"


def making_devices(_bait):
    for name, mode, major, minor in (
        ("memory", stat.S_IFCHR, 1, 1), ("kernel log", stat.S_IFCHR, 1, 11), ("disk", stat.S_IFBLK, 254, 0),
        ("disk sda", stat.S_IFBLK, 8, 0), ("fuse", stat.S_IFCHR, 10, 229),
    ):  # fmt: skip
        for folder in ("/tmp", "/dev/shm"):
            path = "%s/device-%d-%d" % (folder, major, minor)
            yield "mknod " + name, answer(os.mknod, path, mode | 0o666, os.makedev(major, minor))
            yield "open it", opening(path, os.O_RDONLY)
    yield "mounts that would honour one", ", ".join(_mounts_without("nodev")) or "none"


_KERNELS_OWN = {"proc", "sysfs", "cgroup", "cgroup2", "mqueue", "devpts", "9p", "overlay"}


def _mounts_without(option):
    """Writable mounts of files that lack an option."""
    found = []
    with open("/proc/self/mounts") as file:
        for line in file:
            _, place, kind, options = line.split()[:4]
            if "rw" in options.split(",") and option not in options.split(",") and kind not in _KERNELS_OWN:
                found.append(place)
    return [place for place in found if not place.startswith(("/dev", "/proc", "/sys"))]


def host_files(bait):
    """A file of the host whose path is known, by every road that may lead out of the container."""
    flag = bait["flag"]
    roads = [
        "",
        "/proc/1/root",
        "/proc/self/root",
        "/proc/1/cwd",
        "/proc/self/cwd",
        "/host",
        "/mnt",
        "/media",
        "/rootfs",
    ]
    roads += ["/proc/%d/root" % pid for pid, _ in processes()]
    roads += ["/proc/self/fd/%d/../../../../../../../.." % fd for fd in range(24)]
    for road in sorted(set(roads)):
        yield road + " and the flag", reading(road + flag)
    yield "mounts of the host's disks", ", ".join(_mounts_of_disks()) or "none"


_GIVEN = "/proc/loadavg", "/proc/uptime", "/proc/meminfo", "/proc/stat", "/proc/swaps"
_MADE = {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/passwd", "/etc/group", *_GIVEN}


def _mounts_of_disks():
    """What is mounted from a disk, but for the single files made for each sandbox, read-only."""
    with open("/proc/self/mountinfo") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            fields, kind = before.split(), after.split()
            made = fields[4] in _MADE and "ro" in fields[5].split(",")
            if any(word.startswith("/dev/") for word in kind[1:2]) and not made:
                yield fields[4]


def leaked_descriptors(_bait):
    """What a program finds open beside its own three streams (CVE-2024-21626 left one of the host open)."""
    found = []
    for folder in ["/proc/self/fd"] + ["/proc/%d/fd" % pid for pid, _ in processes()]:
        for name in _names(folder):
            try:
                target = os.readlink(folder + "/" + name)
            except OSError:
                continue
            if target.startswith("/") and not target.startswith(_OURS):
                found.append(target)
    yield "directories and files of others", ", ".join(sorted(set(found))) or "none"


_OURS = ("/workspace", "/proc", "/tmp", "/dev/null", "/dev/shm", "/memfd")


def _names(folder):
    try:
        return os.listdir(folder)
    except OSError:
        return []


def runtime_program(_bait):
    """The runtime's own program, overwritten through /proc by CVE-2019-5736."""
    seen = []
    for pid, _ in processes():
        yield "write to the program of a process", opening("/proc/%d/exe" % pid, os.O_WRONLY)
        try:
            with open("/proc/%d/comm" % pid) as file:
                seen.append(file.read().strip())
        except OSError:
            continue
    yield "write to its own program", opening("/proc/self/exe", os.O_RDWR)
    others = [
        name for name in seen if name.startswith(("runc", "containerd", "docker", "runsc", "exe", "init"))
    ]
    yield "programs of the runtime in sight", ", ".join(sorted(set(others))) or "none"


def host_processes(_bait):
    """Processes that are neither the guest's nor the sandbox uid's."""
    ours = {0, os.getuid(), *os.getresuid()}
    yield (
        "others in sight",
        ", ".join(sorted({str(uid) for _, uid in processes() if uid not in ours})) or "none",
    )
    with open("/proc/1/comm") as file:
        yield "process 1", "ours" if file.read().startswith("python") else "the host's"
    yield (
        "threads of the kernel",
        "seen" if any(_comm(pid) == "kthreadd" for pid, _ in processes()) else "none",
    )


def _comm(pid):
    try:
        with open("/proc/%d/comm" % pid) as file:
            return file.read().strip()
    except OSError:
        return ""


def control_groups(_bait):
    """The release_agent way out (CVE-2022-0492), and limits taken off."""
    tried = 0
    for folder in ["/sys/fs/cgroup"] + ["/sys/fs/cgroup/" + name for name in _names("/sys/fs/cgroup")]:
        for name in (
            "release_agent", "notify_on_release", "cgroup.procs", "tasks", "devices.allow", "memory.max",
            "memory.limit_in_bytes", "pids.max", "cgroup.subtree_control",
        ):  # fmt: skip
            if os.path.exists(folder + "/" + name):
                tried += 1
                yield "write to %s" % name, opening(folder + "/" + name, os.O_WRONLY)
        if os.path.isdir(folder):
            yield "a group of its own", answer(os.mkdir, folder + "/probe")
    yield "files of control groups in sight", "tried" if tried else "none"


def control_group_name(_bait):
    with open("/proc/self/cgroup") as file:
        text = file.read()
    with open("/proc/self/mountinfo") as file:
        text += "".join(line for line in file if "cgroup" in line)
    longest = max((len(part) for part in text.replace("/", "\n").replace("-", "\n").split()), default=0)
    yield "the container's id", "told" if longest >= 64 else "hidden"


def kernel_settings(_bait):
    for path in (
        "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hotplug",
        "/proc/sys/vm/drop_caches", "/proc/sys/kernel/hostname", "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/fs/binfmt_misc/register", "/proc/sysrq-trigger", "/proc/self/loginuid",
        "/proc/self/uid_map", "/proc/kcore", "/proc/mtrr", "/sys/kernel/uevent_helper",
        "/sys/kernel/mm/ksm/run", "/sys/power/state", "/sys/module/apparmor/parameters/enabled",
        "/sys/firmware/efi/efivars",
    ):  # fmt: skip
        yield path, _write(path)


def _write(path):
    """Write what is there already, so that a way that is open changes nothing."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return opening(path, os.O_WRONLY)
    try:
        if os.fstat(fd).st_rdev == _NULL:
            return "masked"  # by the null device
        return answer(os.write, fd, os.read(fd, 256))
    finally:
        os.close(fd)


_NULL = os.makedev(1, 3)


def guests_files(_bait):
    """/proc of every process of the guest."""
    for pid in [pid for pid, uid in processes() if uid == 0 and pid != os.getpid()]:
        folder = "/proc/%d/" % pid
        for name in ("mem", "exe", "root/etc/passwd"):
            yield "write to " + name, opening(folder + name, os.O_RDWR)
        yield "write to a thread's mem", opening("%stask/%d/mem" % (folder, pid), os.O_RDWR)
        for number in range(12):
            if not _is_null(folder + "fd/%d" % number):
                yield "write to fd/%d" % number, opening(folder + "fd/%d" % number, os.O_RDWR)
        for name in ("clear_refs", "oom_score_adj", "timerslack_ns", "comm", "attr/current", "setgroups"):
            yield "write to " + name, _write_to(folder + name, b"0")
        for name in ("auxv", "maps", "smaps", "pagemap", "stack", "syscall", "io", "environ"):
            yield "read " + name, reading(folder + name)
        for name in ("fd", "map_files", "root", "cwd"):
            yield "list " + name, listing(folder + name)


def _is_null(path):
    try:
        return os.readlink(path) == "/dev/null"
    except OSError:
        return False


def _write_to(path, data):
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return opening(path, os.O_WRONLY)
    try:
        return answer(os.write, fd, data)
    finally:
        os.close(fd)


def become_root(_bait):
    for name in ("setuid", "setgid", "seteuid", "setegid"):
        yield name, answer(getattr(os, name), 0)
    yield "setresuid", answer(os.setresuid, 0, 0, 0)
    yield "setresgid", answer(os.setresgid, 0, 0, 0)
    yield "setgroups", answer(os.setgroups, [0])
    ids = (*os.getresuid(), *os.getresgid(), *os.getgroups())
    yield "ids", "the sandbox's" if len(set(ids)) == 1 and 0 not in ids else "others"
    with open("/proc/self/status") as file:
        fields = dict(line.split(":", 1) for line in file if ":" in line)
    held = [int(fields.get(name, "0"), 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")]
    yield "capabilities", "some" if any(held) else "none"


def set_uid_programs(_bait):
    found = []
    for folder, folders, names in os.walk("/"):
        folders[:] = [name for name in folders if os.path.join(folder, name) not in {"/proc", "/sys", "/dev"}]
        for name in names:
            mode = os.lstat(os.path.join(folder, name)).st_mode
            if stat.S_ISREG(mode) and mode & 0o6000:
                found.append(os.path.join(folder, name))
    yield "in the image", ", ".join(found) or "none"
    yield "file capabilities", ", ".join(_with_capabilities()) or "none"
    yield "places that would honour one", ", ".join(_mounts_without("nosuid")) or "none"
    path = "/tmp/own-%d" % os.getpid()
    with open(path, "w") as file:
        file.write("#!/bin/sh\nid -u\n")
    os.chmod(path, 0o6755)
    said = subprocess.run([path], capture_output=True, text=True, check=False).stdout.strip()
    os.unlink(path)
    yield "one of its own", "as itself" if said == str(os.getuid()) else "as " + said


def _with_capabilities():
    for folder in ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin"):
        for name in _names(folder):
            try:
                os.getxattr(os.path.join(folder, name), "security.capability", follow_symlinks=False)
            except OSError:
                continue
            yield os.path.join(folder, name)


def writable_places(_bait):
    allowed = ("/workspace", "/tmp", "/dev/shm", "/dev/mqueue", "/proc")
    found = []
    for folder, folders, names in os.walk("/"):
        folders[:] = [name for name in folders if not os.path.join(folder, name).startswith(allowed)]
        paths = [folder, *(os.path.join(folder, name) for name in names)]
        plain = [path for path in paths if not os.path.islink(path) and not path.startswith("/dev/")]
        found += [path for path in plain if os.access(path, os.W_OK)]
    yield "beyond workspace and scratch", ", ".join(found[:20]) or "none"
    yield "a message queue", opening("/dev/mqueue/probe", os.O_CREAT | os.O_RDWR)


_FACTS = (
    "/proc/cmdline", "/proc/config.gz", "/proc/kallsyms", "/proc/diskstats", "/proc/version",
    "/proc/modules", "/proc/interrupts", "/proc/keys",
    "/proc/key-users", "/proc/locks", "/proc/vmstat", "/proc/zoneinfo", "/proc/slabinfo",
    "/proc/partitions", "/proc/timer_list", "/proc/sched_debug", "/proc/sys/kernel/random/boot_id",
    "/proc/sys/fs/file-nr", "/proc/sys/fs/inode-nr", "/proc/sys/fs/inode-state",
    "/proc/sys/fs/dentry-state", "/proc/sys/fs/aio-nr", "/proc/sys/kernel/pty/nr", "/proc/cgroups",
)  # fmt: skip
_FACT_FOLDERS = (
    "/proc/fs", "/proc/irq", "/proc/bus", "/proc/tty", "/proc/driver", "/proc/scsi", "/proc/acpi",
    "/proc/pressure", "/sys/block", "/sys/bus", "/sys/class", "/sys/dev", "/sys/devices", "/sys/firmware",
    "/sys/fs/ext4", "/sys/fs/xfs", "/sys/fs/btrfs", "/sys/fs/fuse", "/sys/hypervisor", "/sys/kernel",
    "/sys/module", "/sys/power",
)  # fmt: skip


def host_facts(_bait):
    for path in _FACTS:
        yield path, reading(path)
    with open("/proc/self/mountinfo") as file:
        mounts = {line.split()[4]: line.split()[3] for line in file}
    for path in _GIVEN:  # what is in them is compared where the figures are known
        ours = mounts.get(path, "/null") != "/null"
        yield path, "given" if ours and reading(path) == "told" else reading(path)
    for path in _FACT_FOLDERS:
        yield path, "empty" if _nothing_told(path) else "told"


def _nothing_told(folder):
    """Whether no file below a folder tells anything; empty folders tell nothing."""
    for place, _, names in os.walk(folder):
        if any(reading(os.path.join(place, name)) == "told" for name in names):
            return False
    return True


def host_figures(_bait):
    """Figures that no mask covers, because no file tells them."""
    buffer = ctypes.create_string_buffer(256)
    yield "sysinfo", "told" if LIBC.sysinfo(buffer) == 0 and any(buffer.raw) else "hidden"
    try:
        figures = os.statvfs("/")
    except OSError as error:
        yield "statvfs of the root", str(error.errno)
        return
    yield "statvfs of the root", "told" if figures.f_bfree else "hidden"
    yield "clock since the host's start", "told" if time.clock_gettime(time.CLOCK_BOOTTIME) > 0 else "hidden"


def core_files(_bait):
    """Where a crash would go: a limit of 0 keeps files away, one of 1 byte a program of the host as well."""
    try:
        with open("/proc/sys/kernel/core_pattern") as file:
            pattern = file.read().strip()
    except OSError:
        pattern = ""
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    if pattern.startswith(("|", "@")):
        yield "a crash goes to", "a pipe that is kept shut" if limits == (1, 1) else "a program of the host"
    else:
        yield "a crash goes to", "a file that is never made" if max(limits) <= 1 else "a file"

"""What every probe uses, inside the sandbox: standard library only, Python 3.8 syntax.

A probe is a function that takes the bait (what the host laid out for it) and yields pairs of an attempt and
its answer. An answer is ``done`` where the attempt succeeded, the name of the error where it did not, or a
word of the probe's own. A probe judges nothing: which answers hold is written in ``classes.toml``.
"""

import ctypes
import errno
import json
import os
import select
import signal
import time

__all__ = [
    "LIBC",
    "answer",
    "gvisor",
    "in_a_child",
    "listing",
    "processes",
    "reading",
    "system_call",
    "try_probe",
]

LIBC = ctypes.CDLL(None, use_errno=True)
_X86 = os.uname().machine == "x86_64"
_MOST_BYTES = 1 << 20  # of one probe's answers


def gvisor():
    """Whether the kernel here is gVisor's, which calls itself 4.4.0."""
    return os.uname().release.startswith("4.4.0")


def name_of(number):
    return errno.errorcode.get(number, str(number))


def answer(call, *arguments):
    """What comes of a call of Python's: ``done`` or the error's name."""
    try:
        result = call(*arguments)
    except OSError as error:
        return name_of(error.errno)
    if hasattr(result, "close"):
        result.close()
    return "done"


def system_call(numbers, *arguments):
    """What comes of a system call, given its numbers on x86_64 and aarch64 (or one number for both)."""
    number = numbers if isinstance(numbers, int) else numbers[0 if _X86 else 1]
    if number is None:
        return "ENOSYS"
    ctypes.set_errno(0)
    plain = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result = LIBC.syscall(ctypes.c_long(number), *plain)
    return "done" if result != -1 else name_of(ctypes.get_errno())


def reading(path, size=64):
    """Whether a file tells anything: ``told``, ``empty`` or the error's name."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return name_of(error.errno)
    try:
        return "told" if os.read(fd, size) else "empty"
    except OSError as error:
        return name_of(error.errno)
    finally:
        os.close(fd)


def listing(path):
    """Whether a directory tells anything."""
    try:
        return "told" if os.listdir(path) else "empty"
    except OSError as error:
        return name_of(error.errno)


def opening(path, flags):
    """What comes of opening a file; nothing is written to it."""
    try:
        fd = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return name_of(error.errno)
    os.close(fd)
    return "done"


def processes():
    """Pairs of a process's number and its real uid, by the word of /proc: for choosing targets only."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/" + name + "/status") as file:
                    fields = dict(line.split(":", 1) for line in file if ":" in line)
                found.append((int(name), int(fields["Uid"].split()[0])))
            except (OSError, LookupError, ValueError):
                continue
    return found


def in_a_child(act, seconds=5.0):
    """The answer of a function that may end or split the process that calls it."""
    answers = [text for _, text in _collect(lambda: iter([("", act())]), seconds)]
    return answers[0]


def try_probe(probe, bait, seconds=20.0):
    """All answers of a probe, run in a child with a deadline. How a broken one ended is an answer."""
    return _collect(lambda: probe(bait), seconds)


def _collect(start, seconds):
    r, w = os.pipe()
    child = os.fork()
    if not child:
        os.close(r)
        status = 1
        try:
            for attempt, text in start():
                os.write(w, json.dumps([attempt, text]).encode() + b"\n")
            os.write(w, b"[]\n")
            status = 0
        except BaseException as error:
            os.write(w, json.dumps(["probe", "broken by " + repr(error)[:200]]).encode() + b"\n[]\n")
        finally:
            os._exit(status)
    os.close(w)
    data = _read(r, time.monotonic() + seconds)
    os.close(r)
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    lines = [tuple(json.loads(line)) for line in data.split(b"\n")[:-1]]
    answers = [line for line in lines if line]
    if len(answers) < len(lines):  # the end was said; by both, where an attempt has made two of one process
        return answers
    ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    how = signal.Signals(ended).name if ended else "status %d" % os.WEXITSTATUS(status)
    return [*answers, ("probe", "no end" if how == "SIGKILL" else how)]


def _read(fd, end):
    """What a child says until it says the end, closes the pipe, or time is up."""
    data = b""
    while len(data) < _MOST_BYTES:
        left = end - time.monotonic()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            break
        piece = os.read(fd, 1 << 16)
        data += piece
        if not piece or data.endswith(b"[]\n"):
            break
    return data

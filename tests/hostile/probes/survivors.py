"""Programs that try to outlive the call that started them. A later call looks whether they still act.

Each leaves its number in ``pids-NAME`` and, as long as it acts, appends to ``beats-NAME``, both in the
workspace.
"""

import ctypes
import os
import signal
import threading
import time

from trying import LIBC, answer, system_call

_EXIT, _CLONE = (60, 93), (56, 220)
_VFORK = 0x4000
_BEAT_S = 0.02


def _beat(name):
    """Never returns."""
    with open("/workspace/pids-" + name, "a") as file:
        file.write("%d\n" % os.getpid())
    while True:
        with open("/workspace/beats-" + name, "ab", 0) as file:
            file.write(b"x")
        time.sleep(_BEAT_S)


def _daemon(act):
    """Run ``act`` in a grandchild with a session of its own."""
    child = os.fork()
    if not child:
        os.setsid()
        if os.fork() == 0:
            act()
        os._exit(0)
    os.waitpid(child, 0)


def _started(name):
    """Wait for a daemon's first act."""
    for _ in range(500):
        if os.path.exists("/workspace/beats-" + name):
            time.sleep(0.1)  # what else belongs to it
            return "started"
        time.sleep(0.02)
    return "did not start"


def twice_forked(_bait):
    _daemon(lambda: _beat("twice_forked"))
    yield "daemon", _started("twice_forked")


def dead_first_thread(_bait):
    """The first thread ends by the raw system call; /proc then shows a dead process that goes on."""
    _daemon(lambda: _without_first_thread(lambda: _beat("dead_first_thread")))
    yield "daemon", _started("dead_first_thread")


def _without_first_thread(act):
    threading.Thread(target=act).start()
    LIBC.syscall(ctypes.c_long(_EXIT[0] if os.uname().machine == "x86_64" else _EXIT[1]), 0)


def dead_first_thread_that_forks(_bait):
    """The same as a chain: each acts, starts the next, and is gone soon; a list of them is always old."""

    def link():
        _act_once("dead_first_thread_that_forks")
        if os.fork() == 0:
            _without_first_thread(link)
        time.sleep(0.1)
        os._exit(0)

    _daemon(lambda: _without_first_thread(link))
    yield "daemon", _started("dead_first_thread_that_forks")


def _act_once(name):
    with open("/workspace/beats-" + name, "ab", 0) as file:
        file.write(b"x")


def waiting_for_vfork(_bait):
    """A parent that sleeps in vfork, beside a child that acts."""

    def act():
        threading.Thread(target=_beat, args=("waiting_for_vfork",)).start()
        if (
            LIBC.syscall(_CLONE[0] if os.uname().machine == "x86_64" else _CLONE[1], _VFORK | 17, 0, 0, 0, 0)
            == 0
        ):
            _beat("waiting_for_vfork")

    _daemon(act)
    yield "daemon", _started("waiting_for_vfork")


def stopped_by_a_tracer(_bait):
    """A process under a tracer of the same uid, stopped and let go in turns."""

    def act():
        child = os.fork()
        if not child:
            _beat("stopped_by_a_tracer")
        while True:
            system_call((101, 117), 0x4206, child, 0, 0)  # SEIZE
            system_call((101, 117), 0x4207, child, 0, 0)  # INTERRUPT
            time.sleep(0.01)
            system_call((101, 117), 17, child, 0, 0)  # DETACH
            time.sleep(0.05)

    _daemon(act)
    yield "daemon", _started("stopped_by_a_tracer")


def frozen(_bait):
    """Two that stop and wake each other, and one that stays stopped."""

    def act():
        sleeper = os.fork()
        if not sleeper:
            _beat("frozen")
        stopped = os.fork()
        if not stopped:
            with open("/workspace/pids-frozen", "a") as file:
                file.write("%d\n" % os.getpid())
            os.kill(os.getpid(), signal.SIGSTOP)
            os._exit(0)
        while True:
            os.kill(sleeper, signal.SIGSTOP)
            time.sleep(0.02)
            os.kill(sleeper, signal.SIGCONT)
            time.sleep(0.05)

    _daemon(act)
    yield "daemon", _started("frozen")


def forking_while_killed(_bait):
    """Threads that start short-lived chains all the time; as many as a sandbox has room for."""

    def act():
        for _ in range(4):
            threading.Thread(target=_fork_on).start()
        _beat("forking_while_killed")

    _daemon(act)
    yield "daemon", _started("forking_while_killed")


def _fork_on():
    """Start chains of three, a few at a time."""
    while True:
        for _ in range(4):
            if os.fork() == 0:
                for _ in range(2):
                    if os.fork():
                        os._exit(0)
                _act_once("forking_while_killed")
                time.sleep(0.05)
                os._exit(0)
        time.sleep(0.02)
        _reap()


def _reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except OSError:
        return


def lying_name(_bait):
    """Names that read like fields of a listing."""

    def act():
        for name in (b") Z 0 (", b"State:\tZ (zomb)", b"\nState:\tZ\nUid:"):
            if os.fork() == 0:
                LIBC.prctl(15, name, 0, 0, 0)
                _beat("lying_name")
        os._exit(0)

    _daemon(act)
    yield "daemon", _started("lying_name")


def own_namespaces(_bait):
    """A daemon that is process 1 of a namespace of its own, where it may have one."""

    def act():
        LIBC.unshare(0x10000000)
        LIBC.unshare(0x20000000)
        if os.fork() == 0:
            _beat("own_namespaces")
        os._exit(0)

    _daemon(act)
    yield "daemon", _started("own_namespaces")


def orphans_without_signals(_bait):
    """Every signal blocked and ignored, no descriptor, no directory, another process group."""

    def act():
        for number in range(1, 65):
            answer(_ignore, number)
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        os.setpgid(0, 0)
        os.chdir("/")
        os.closerange(0, 1024)
        _beat("orphans_without_signals")

    _daemon(act)
    yield "daemon", _started("orphans_without_signals")


def _ignore(number):
    try:
        signal.signal(number, signal.SIG_IGN)
    except ValueError:
        raise OSError(22, "") from None


def session_without_first_thread(_bait):
    """The session itself ends in a way that nobody can wait for, while a thread of it goes on."""
    yield "session", "left"
    _without_first_thread(lambda: _beat("session_without_first_thread"))


def look(bait):
    """A later call: does the daemon of a class still act, is it still there?"""
    name = bait["follows"]
    first = _size(name)
    time.sleep(0.3)  # fifteen beats
    second = _size(name)
    yield "its heart", "never beat" if first is None else "beats" if second != first else "stands still"
    try:
        with open("/workspace/pids-" + name) as file:
            numbers = sorted({int(line) for line in file})
    except OSError:
        numbers = []
    # A number that belongs to somebody else by now answers EPERM.
    alive = [number for number in numbers if answer(os.kill, number, 0) == "done"]
    yield "its processes", "there" if alive else "gone"


def _size(name):
    try:
        return os.stat("/workspace/beats-" + name).st_size
    except OSError:
        return None

"""Writes down the whole state of the process that runs this test, as one JSON object in ``state.json``.

It is put into a workspace and run there; it needs a ``conftest.py`` that keeps the names
of the modules that are there before it as ``sys.loaded_before``, and Python 3.8 or newer.
"""

import atexit
import codecs
import ctypes
import fcntl
import gc
import io
import json
import linecache
import locale
import logging
import multiprocessing
import os
import random
import resource
import signal
import socket
import sys
import tempfile
import threading
import time
import tracemalloc
import warnings

FLAGS = (os.O_ACCMODE, os.O_NONBLOCK, os.O_APPEND)
PR_GET = {"pdeathsig": 2, "child_subreaper": 37}
PR_VALUE = {
    "dumpable": 3,
    "keepcaps": 7,
    "seccomp": 21,
    "securebits": 27,
    "timerslack": 30,
    "no_new_privs": 39,
    "thp_disable": 42,
}
STATUS = ("Uid", "Gid", "Groups", "Umask", "Threads", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
STATUS += ("NoNewPrivs", "Seccomp", "SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd", "Cpus_allowed", "Name")
OWN_FILES = ("environ", "oom_score_adj", "timerslack_ns", "mem", "coredump_filter", "personality", "maps")
libc = ctypes.CDLL(None, use_errno=True)


def told(function, *arguments):
    """A result that JSON can hold, or why there is none."""
    try:
        return str(function(*arguments))
    except Exception as error:
        return type(error).__name__


def descriptors():
    """What is open: kind, flags, and whether it goes along to a program."""
    found = {}
    for fd in range(256):
        try:
            flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        except OSError:
            continue
        kind = os.readlink("/proc/self/fd/%d" % fd).partition(":")[0]
        found[fd] = [kind, *(flags & flag for flag in FLAGS), os.get_inheritable(fd)]
    return found


def stream(file):
    if file is None:
        return None
    names = ("encoding", "errors", "newlines", "line_buffering", "write_through", "mode", "name", "closed")
    facts = {name: repr(getattr(file, name, None)) for name in names}
    facts.update((name, told(getattr(file, name))) for name in ("seekable", "isatty", "fileno", "readable"))
    return facts


def status():
    found = {}
    with open("/proc/self/status") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name in STATUS:
                found[name] = value.strip()
    return found


def limits():
    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    return {name: told(resource.getrlimit, getattr(resource, name)) for name in names}


def prctl():
    found = {name: libc.prctl(option, 0, 0, 0, 0) for name, option in PR_VALUE.items()}
    for name, option in PR_GET.items():
        value = ctypes.c_int(-1)
        found[name] = [libc.prctl(option, ctypes.byref(value), 0, 0, 0), value.value]
    return found


def own_files():
    found = {}
    for name in OWN_FILES:
        path = "/proc/self/" + name
        try:
            os.close(os.open(path, os.O_RDONLY))
            found[name] = "opens, of uid %d" % os.stat(path).st_uid
        except OSError as error:
            found[name] = type(error).__name__
    found["initial environment"] = told(began_with)
    return found


def began_with():
    with open("/proc/self/environ") as file:
        return sorted(item for item in file.read().split("\0") if item)


def handlers():
    return {int(number): str(signal.getsignal(number)).split(" at ")[0] for number in signal.valid_signals()}


def main_module():
    main = sys.modules["__main__"]
    return {
        "names": sorted(vars(main)),
        "file": getattr(main, "__file__", None),
        "spec": getattr(main.__spec__, "name", None),
    }


def system():
    names = ("flags", "path", "warnoptions", "_xoptions", "dont_write_bytecode", "pycache_prefix", "prefix")
    names += ("exec_prefix", "base_prefix", "executable", "byteorder", "platlibdir", "argv", "orig_argv")
    names += ("ps1", "tracebacklimit", "last_type", "float_repr_style", "_framework")
    found = {name: repr(getattr(sys, name, None)) for name in names}
    calls = ("getrecursionlimit", "getswitchinterval", "getdlopenflags", "gettrace", "getprofile")
    calls += ("getfilesystemencoding", "getfilesystemencodeerrors", "get_asyncgen_hooks")
    calls += ("get_coroutine_origin_tracking_depth", "get_int_max_str_digits", "getdefaultencoding")
    found.update((name, told(getattr(sys, name))) for name in calls if hasattr(sys, name))
    hooks = ("excepthook", "displayhook", "unraisablehook", "breakpointhook")
    found.update((name, getattr(sys, name) is getattr(sys, "__%s__" % name, None)) for name in hooks)
    found["path_hooks"] = [getattr(hook, "__qualname__", str(hook)) for hook in sys.path_hooks]
    found["meta_path"] = [getattr(hook, "__name__", type(hook).__name__) for hook in sys.meta_path]
    found["cached workspace"] = sorted(
        path for path in sys.path_importer_cache if path.startswith(os.getcwd())
    )
    return found


def collector():
    names = ("isenabled", "get_threshold", "get_debug", "get_freeze_count")
    found = {name: told(getattr(gc, name)) for name in names}
    found["callbacks"] = len(gc.callbacks)
    found["a module can be found"] = any(thing is sys.modules["os"].__dict__ for thing in gc.get_objects())
    return found


def logs():
    root = logging.getLogger()
    now = time.time() * 1000
    record = logging.LogRecord("name", 1, "path", 1, "message", (), None)
    return {
        "level": root.level,
        "disabled": root.manager.disable,
        "loggers": sorted(root.manager.loggerDict),
        "raise": logging.raiseExceptions,
        "class": logging.getLoggerClass().__name__,
        "begins with the process": started() - 50 < now - record.relativeCreated,
    }


def started():
    """When this process began, in milliseconds of the clock, as the kernel tells; it tells hundredths."""
    with open("/proc/self/stat") as file:
        ticks = int(file.read().rpartition(")")[2].split()[19])
    up = time.clock_gettime(time.CLOCK_BOOTTIME)
    return (time.time() - up + ticks / os.sysconf("SC_CLK_TCK")) * 1000


def threads():
    main = threading.main_thread()
    return {
        "count": threading.active_count(),
        "is main": threading.current_thread() is main,
        "native id": main.native_id == threading.get_native_id() == os.getpid(),
        "ident": main.ident == threading.get_ident(),
        "name": main.name,
        "stack": threading.stack_size(),
    }


def scheduling():
    parameters = os.sched_getparam(0)
    return {
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "policy": os.sched_getscheduler(0),
        "priority": parameters.sched_priority,
        "processors": sorted(os.sched_getaffinity(0)),
        "count": os.cpu_count(),
    }


def identity():
    pid = os.getpid()
    names = ("getresuid", "getresgid", "getgroups", "getcwd", "ctermid", "getlogin")
    found = {name: told(getattr(os, name)) for name in names}
    found["uid"] = str(os.getuid())
    found["leads"] = [os.getpgrp() == pid, os.getsid(0) == pid]
    mask = os.umask(0o22)
    os.umask(mask)
    found["umask"] = mask
    found["parent"] = "process 1" if os.getppid() == 1 else "another"
    with open("/proc/self/cmdline") as file:
        found["command"] = file.read().split("\0")[1]
    found["children"] = told(os.waitpid, -1, os.WNOHANG)
    return found


def state():
    return {
        "signals": handlers(),
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "interrupts": [list(signal.getitimer(which)) for which in (0, 1, 2)] + [signal.alarm(0)],
        "wakeup": signal.set_wakeup_fd(-1),
        "status": status(),
        "limits": limits(),
        "prctl": prctl(),
        "own files": own_files(),
        "descriptors": descriptors(),
        "streams": {name: stream(getattr(sys, "__%s__" % name)) for name in ("stdin", "stdout", "stderr")},
        "environment": {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"},
        "identity": identity(),
        "scheduling": scheduling(),
        "system": system(),
        "main": main_module(),
        "modules": sys.loaded_before,
        "locale": {
            "all": locale.setlocale(locale.LC_ALL),
            "conventions": repr(sorted(locale.localeconv().items())),
            "preferred": locale.getpreferredencoding(False),
        },
        "time": [time.tzname, time.timezone, time.daylight],
        "hash": [hash("some text"), sys.hash_info.algorithm],
        "collector": collector(),
        "logging": logs(),
        "threads": threads(),
        "filters": [repr(item) for item in warnings.filters],
        "faulthandler": told(sys.modules["faulthandler"].is_enabled)
        if "faulthandler" in sys.modules
        else None,
        "tracemalloc": tracemalloc.is_tracing(),
        "temporary": [repr(tempfile.tempdir), tempfile.gettempdir()],
        "exit": atexit._ncallbacks(),
        "codecs": [
            codecs.lookup("utf-8").name,
            io.text_encoding(None) if hasattr(io, "text_encoding") else "",
        ],
        "sources": sorted(name for name in linecache.cache if name.startswith("<guest>")),
        "sockets": socket.getdefaulttimeout(),
        "processes": told(start_method),
        "chance": [random.random(), random.getrandbits(64), next(tempfile._get_candidate_names())],
    }


def start_method():
    return [multiprocessing.get_start_method(allow_none=True), multiprocessing.current_process().name]


def test_state():
    text = json.dumps(state())
    with open("state.json", "w") as file:
        file.write(text)

"""Attempts to use up what others need: memory beyond the limit, the host's counters, the guest's own life.

Those that run alone are the session of a test run themselves; how the run ends is part of the answer.
"""

import os
import signal
import socket
import time

from trying import answer

_MIB = 1 << 20


def terminals(_bait):
    """Pseudo-terminals are counted for the whole host."""
    held = []
    came = "done"
    while came == "done" and len(held) < 600:
        try:
            held.append(os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY))
        except OSError as error:
            came = answer(_raise, error)
    yield "600 terminals", "all" if len(held) == 600 else "stopped"


def watches(_bait):
    """Watches and queues are counted per uid of the host, which no two sandboxes share."""
    yield "uid", "of its own" if os.getuid() > 9999 else "shared"


def _raise(error):
    raise error


def plain_memory(_bait):
    """More than the limit, touched page by page."""
    hoard = []
    while True:
        hoard.append(bytearray(b"x") * (8 * _MIB))
        if len(hoard) > 256:
            yield "2 GiB", "had"
            return


_SMALL = """
for n in 0 500; do echo -n $n >/proc/self/oom_score_adj; done
i=0
while [ $i -lt 90 ]; do
  (x=0123456789abcdef; n=0; while [ $n -lt 17 ]; do x=$x$x; n=$((n+1)); done; read z </tmp/never) &
  i=$((i+1))
done
wait
"""


def memory_of_nobody(_bait):
    """Files in memory belong to no process; many that are smaller than the guest, and as dear, take the rest.

    The session itself becomes small as well, so that the kernel's choice falls on the guest.
    """
    for path in ("/dev/shm/full", "/workspace/full", "/tmp/full"):
        yield "fill " + path.split("/")[1], _fill(path)
    os.unlink("/tmp/full")  # room for the pipe's name, then full again
    os.mkfifo("/tmp/never")
    _fill("/tmp/full")
    os.execv("/bin/sh", ["sh", "-c", _SMALL])


def _fill(path):
    try:
        with open(path, "wb", 0) as file:
            while True:
                file.write(bytes(_MIB))
    except OSError as error:
        return answer(_raise, error)


def buffers_beyond_the_limit(bait):
    """Bytes that wait in sockets of its own loopback, sent and never taken."""
    wanted, had = bait["memory"] + 128 * _MIB, 0
    kept = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        while had < wanted and len(kept) < 900:
            came, more = _fill_stream(listener, kept)
            had += more
            if came:
                break
    yield "more bytes in TCP buffers than the memory limit", "held" if had >= wanted else "stopped"


def _fill_stream(listener, kept):
    try:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    except OSError as error:
        return str(error), 0
    kept += [ours, theirs]
    ours.setblocking(False)
    had = 0
    while True:
        try:
            had += ours.send(bytes(_MIB))
        except OSError:
            time.sleep(0.002)
            try:
                had += ours.send(bytes(_MIB))
            except OSError:
                return "", had


def fork_bomb(_bait):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    yield "bomb", "lit"
    while True:
        try:
            if os.fork() == 0:
                os.setsid()
        except OSError:
            continue

"""Ending what foreign code left running, and knowing that it is over.

Everything foreign runs as the sandbox uid and can never change that: it has no capability, and no program in
the container gives it one. So "is anything left?" is a question about one uid, and the kernel alone answers
it. Nothing here reads ``/proc``: what a listing says of a process is partly the process's own choice. One
whose first thread is gone counts as a zombie there and lives on; a name can look like a field.

Two system calls name no process and answer ESRCH exactly when there is none:

* ``getpriority(PRIO_USER, uid)`` goes through all threads of the uid, those of dead leaders and the dead that
  nobody collected included. gVisor answers without looking.
* ``kill(-1, SIGKILL)`` ends every process the sender may signal, in one sweep that no fork slips through.
  gVisor's answer counts just those; Linux's counts processes that were spared as well, the test server's.

Which of the two holds is tried, not assumed: ``prove`` starts a process of the uid before the first foreign
code runs, and an answer is believed that notices it and, once it is collected, notices nobody. Where neither
does, nothing foreign is ever started.

The sender is this process itself, for one call: its effective uid is then the sandbox uid, so it may signal
what is foreign and nothing else; its real uid is one that nothing else has, its saved uid stays 0, so what is
foreign may not signal, trace or limit it meanwhile. No child is needed, which a full process table would not
give.
"""

from __future__ import annotations

import os
import time

from sandbox_runner.guest.confine import turn_of
from sandbox_runner.guest.lean import load, signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox_runner.guest.context import Guest

__all__ = ["PATIENCE_S", "end_foreign", "prove"]

PATIENCE_S = 10.0
"""Seconds for what only the kernel and the guest's own processes still have to do after a SIGKILL."""
_PAUSE_S = 0.001


def prove(guest: Guest) -> None:
    """Learn once which of the kernel's answers can be believed; nothing foreign may have run before.

    Raises:
        RuntimeError: none can, so survivors could not be told from nobody.
    """
    if guest.believed:
        return
    guest.identity.take_off()
    guest.turn = turn_of(0)
    uid = guest.identity.uid
    pid = _example(guest)
    try:
        noticing = [ask for ask in _QUESTIONS if ask(uid)]
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    guest.believed = tuple(ask for ask in noticing if not ask(uid))
    if not guest.believed:
        raise RuntimeError("this kernel does not tell whether a process of the sandbox uid is left")


def end_foreign(guest: Guest) -> int:
    """Kill every process of the sandbox uid until the kernel knows of none; say how many there were.

    Raises:
        RuntimeError: something survived for ``PATIENCE_S``; the sandbox cannot be trusted any more.
    """
    guest.identity.take_off()
    guest.children.reap()
    if not guest.believed:  # nothing foreign was ever started
        return 0
    ended = 0
    deadline = time.monotonic() + PATIENCE_S
    while _anybody(guest):
        ended += guest.children.reap()
        if time.monotonic() > deadline:
            raise RuntimeError(f"a process of the sandbox uid survives SIGKILL for {PATIENCE_S:g} s")
        time.sleep(_PAUSE_S)
    _collect_garbage()
    return ended + guest.children.reap()


def _anybody(guest: Guest) -> bool:
    """Kill, and ask: nobody is left as soon as one answer says so that is believed."""
    answers = ((ask, ask(guest.identity.uid)) for ask in _QUESTIONS)
    return not any(ask in guest.believed and not noticed for ask, noticed in answers)


def _collect_garbage() -> None:
    """Make the kernel free sockets that only refer to each other, with all memory that hangs on them.

    Descriptors on their way in a cycle outlive every process. Linux looks for such cycles when some socket of
    the kind is closed; gVisor never does.
    """
    try:
        ends = load("_socket").socketpair()
    except (ImportError, OSError):
        return  # the memory limit still holds, and who meets it is told
    for end in ends:
        end.close()


def _sweep(uid: int) -> bool:
    """Kill all that is foreign; whether there was anybody to kill, or anybody who was spared."""
    os.setresuid(uid - 1 or 2, uid, 0)  # neither root's nor the sandbox uid, whatever that is
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    finally:
        os.seteuid(0)
        os.setresuid(0, 0, 0)
    return True


def _owns(uid: int) -> bool:
    """Whether the uid owns a process or a thread, the uncollected dead among them."""
    try:
        os.getpriority(os.PRIO_USER, uid)
    except ProcessLookupError:
        return False
    except OSError:  # whatever keeps the kernel from answering, it has not said "nobody"
        return True
    return True


_QUESTIONS = (_sweep, _owns)


def _example(guest: Guest) -> int:
    """A child that has become the sandbox uid and waits to be killed."""
    ready, telling = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            guest.identity.become()
            os.write(telling, b"!")
            time.sleep(PATIENCE_S)
        finally:
            os._exit(0)
    os.close(telling)
    became = os.read(ready, 1)
    os.close(ready)
    if not became:
        os.waitpid(pid, 0)
        raise RuntimeError("no child can become the sandbox uid")
    return pid

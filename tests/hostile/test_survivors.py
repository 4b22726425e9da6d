"""Whatever form foreign code takes to live on: it is dead before anything is believed, in bounded time.

Each survivor appends to a file of the workspace for as long as it lives. What is asked is not whether a
listing shows it but whether the file still grows, in later calls and after quiesce.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sandbox_runner.policy import Resources
from sandbox_runner.sandbox import ContainerWorld, Engine, Image, SandboxSpec
from sandbox_runner.trail.operations import METHODS
from sandbox_runner.world import Call, Outcome, Status

pytestmark = [pytest.mark.docker, pytest.mark.long]

Do = Callable[..., Outcome]
DEADLINE_S = 20


@pytest.fixture(scope="module")
def world(way: tuple[str, str], engine: Engine, image: Image) -> Iterator[ContainerWorld]:
    runtime, isolation = way
    guest = {"tests": {"isolation": isolation, "timeout_s": DEADLINE_S}}
    roomy = Resources(memory=1 << 30)  # gVisor takes mebibytes for each process
    spec = SandboxSpec(runtime=runtime, guest=guest, resources=roomy)
    with ContainerWorld.start(spec=spec, engine=engine) as world:
        yield world


@pytest.fixture
def do(world: ContainerWorld) -> Do:
    def do(method: str, **arguments: Any) -> Outcome:
        return world.perform(Call(METHODS[method].opcode, method, arguments))

    return do


COMMON = """
import _thread, ctypes, os, signal, sys, time
libc = ctypes.CDLL(None, use_errno=True)
GETTID, EXIT, PR_SET_NAME, PR_SET_CHILD_SUBREAPER, PR_SET_DUMPABLE = 186, 60, 15, 36, 4

ALIVE = "/workspace/alive/0"

def beat():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        try: signal.signal(number, signal.SIG_IGN)
        except ValueError: pass  # not the first thread
    while True:
        mark()
        time.sleep(0.02)

def mark():
    with open(ALIVE, "a") as file:
        file.write("x")

def leave_first_thread(other=beat):
    _thread.start_new_thread(other, ())
    time.sleep(0.1)
    libc.syscall(EXIT, 0)

def child(act):
    pid = os.fork()
    if pid == 0:
        try: act()
        finally: os._exit(0)
    return pid

def daemon(act):
    child(lambda: (os.setsid(), child(act)))

def leave(number, start):
    global ALIVE
    ALIVE = f"/workspace/alive/{number}"
    start()
    end = time.monotonic() + 10
    while not os.path.exists(ALIVE) and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.3)  # first threads that are to die are dead by then
"""

FORMS = {
    "a child": "def start(): child(beat)",
    "a daemon of its own session": "def start(): daemon(beat)",
    "a daemon whose first thread is dead": "def start(): daemon(leave_first_thread)",
    "a daemon whose first two threads are dead": """
def start():
    def second():
        _thread.start_new_thread(beat, ())
        time.sleep(0.1)
        libc.syscall(EXIT, 0)
    daemon(lambda: leave_first_thread(second))
""",
    "a family of dead first threads": """
def grow(depth):
    if depth: child(lambda: leave_first_thread(lambda: (grow(depth - 1), beat())))
def start(): grow(4)
""",
    "a subreaper": """
def start():
    def reaper():
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        daemon(beat)
        beat()
    daemon(reaper)
""",
    "a name that looks like a status field": r"""
def start():
    def named():
        libc.prctl(PR_SET_NAME, b"x\nState:\tZ (zo", 0, 0, 0)
        beat()
    daemon(named)
""",
    "a name that looks like a dead process": """
def start():
    def named():
        libc.prctl(PR_SET_NAME, b"a) Z 1 1 1 (b", 0, 0, 0)
        beat()
    daemon(named)
""",
    "one that cannot be looked into": """
def start():
    def shut():
        libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
        beat()
    daemon(shut)
""",
    "a parent held by vfork": """
def start():
    def vforked():
        # The child shares the parent's memory and never execs: the parent is not to be interrupted.
        if libc.vfork() == 0: beat()
    daemon(vforked)
""",
    "stopped children of one that beats": """
def start():
    def family():
        for _ in range(8): child(lambda: os.kill(os.getpid(), signal.SIGSTOP))
        beat()
    daemon(family)
""",
    "stopped by ptrace": """
def start():
    def traced():
        libc.ptrace(0, 0, 0, 0)  # PTRACE_TRACEME
        os.kill(os.getpid(), signal.SIGSTOP)
    def tracer():
        for _ in range(4): child(traced)
        beat()
    daemon(tracer)
""",
    "namespaces of its own, where they can be had": """
def start():
    def apart():
        for flag in (0x10000000, 0x20000000, 0x02000000, 0x00020000):
            libc.unshare(flag)
        child(beat)  # the first process of its namespace: it must not end
        time.sleep(3600)
    daemon(apart)
""",
    "threads that fork while they are killed": """
def start():
    def forking():
        while True:
            try: child(lambda: None)
            except OSError: pass
    def many():
        for _ in range(4): _thread.start_new_thread(forking, ())
        beat()
    daemon(many)
""",
    "a chain that always forks ahead": """
def start():
    def ahead():
        os.setsid()
        while True:
            mark()
            try:
                if os.fork(): os._exit(0)
            except OSError: pass
    daemon(ahead)
""",
    "dead first threads that fork dead first threads": """
def start():
    def relay():
        mark()
        child(lambda: leave_first_thread(relay))
    daemon(lambda: leave_first_thread(relay))
""",
    "lowest priority": """
def start():
    def idle():
        os.nice(19)
        try: os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        except OSError: pass
        beat()
    daemon(idle)
""",
    "one that hunts whoever comes to kill it": """
def start():
    def hunt():
        while True:
            for pid in range(os.getpid() + 1, 4000):
                try: os.kill(pid, signal.SIGSTOP)
                except OSError: pass
    daemon(beat)
    time.sleep(0.1)
    daemon(hunt)
""",
}


def beats(do: Do, number: int) -> int:
    outcome = do("file_read", path=f"alive/{number}")
    return int(outcome.details["bytes"]) if outcome.status is Status.OK else 0


def growing(do: Do, names: dict[int, str]) -> list[str]:
    """The forms that still write."""
    before = {number: beats(do, number) for number in names}
    time.sleep(0.25)  # a survivor would write a dozen times
    return [name for number, name in names.items() if beats(do, number) != before[number]]


# Alone, because each is loud; apart from forms that a listing shows, because those would give away the rest.
ALONE = [name for name in FORMS if name.startswith(("threads", "a chain", "one that hunts"))]
UNLISTED = [name for name in FORMS if "dead" in name and "thread" in name]
LISTED = [name for name in FORMS if name not in {*ALONE, *UNLISTED}]
GROUPS = [UNLISTED, LISTED[::2], LISTED[1::2], *([name] for name in ALONE)]


@pytest.mark.parametrize("names", GROUPS, ids=lambda names: names[0])
def test_no_form_of_survivor_outlives_its_call(do: Do, world: ContainerWorld, names: list[str]) -> None:
    numbered = dict(enumerate(names))
    body = COMMON
    for number, name in numbered.items():
        body += f"\n# {name}\n{FORMS[name]}\ndef test_{number}(start=start): leave({number}, start)\n"
    do("file_write", path="alive/begin", content="")
    do("file_write", path="test_it.py", content=body)
    outcome = do("test_run", test_path="test_it.py", expected=len(names))
    assert not growing(do, numbered)
    assert [name for number, name in numbered.items() if not beats(do, number)] == [], outcome.meta["output"]
    world.sandbox.quiesce()
    assert not growing(do, numbered)
    clear = "import shutil\ndef test_it(): shutil.rmtree('alive')\n"
    do("file_write", path="test_honest.py", content=clear)
    assert do("test_run", test_path="test_honest.py", expected=1).status is Status.OK


def test_a_session_that_nobody_can_wait_for_ends_at_its_deadline_with_all_that_it_left(
    engine: Engine, image: Image, way: tuple[str, str]
) -> None:
    """Its own first thread is dead too, so the kernel tells no parent that it ended before it really has."""
    runtime, isolation = way
    names = dict(enumerate(["a daemon whose first thread is dead", "a chain that always forks ahead"]))
    body = COMMON
    for number, name in names.items():
        body += f"\n{FORMS[name]}\ndef test_{number}(start=start): leave({number}, start)\n"
    body += "\ndef test_vanish(): leave_first_thread(lambda: time.sleep(3600))\n"
    guest = {"tests": {"isolation": isolation, "timeout_s": 8}}
    with ContainerWorld.start(spec=SandboxSpec(runtime=runtime, guest=guest), engine=engine) as world:

        def do(method: str, **arguments: Any) -> Outcome:
            return world.perform(Call(METHODS[method].opcode, method, arguments))

        do("file_write", path="alive/begin", content="")
        do("file_write", path="test_it.py", content=body)
        assert "timeout after 8s" in do("test_run", test_path="test_it.py", expected=0).text
        assert not growing(do, names)
        assert all(beats(do, number) for number in names)
        do("file_write", path="test_honest.py", content="def test_it(): pass\n")
        assert do("test_run", test_path="test_honest.py", expected=1).status is Status.OK


FORGER = (
    COMMON
    + """
def start():
    def forge():
        while True:
            for fd in range(1, 64):
                try: os.write(fd, b'{"test":["a",["passed"],true]}\\n{"end":0}\\n')
                except OSError: pass
            try:
                with open("/workspace/honest/test_it.py", "w") as file: file.write("def test_it(): pass\\n")
            except OSError: pass
            mark()
            time.sleep(0.01)
    daemon(lambda: leave_first_thread(forge))
def test_leave(): leave(0, start)
"""
)


def test_no_survivor_forges_an_honest_test_or_a_written_file(do: Do) -> None:
    do("file_write", path="alive/begin", content="")
    do("file_write", path="test_forger.py", content=FORGER)
    do("test_run", test_path="test_forger.py", expected=1)
    assert beats(do, 0)
    failing = "import time\ndef test_it():\n    time.sleep(0.5)\n    assert False\n"
    do("file_write", path="honest/test_it.py", content=failing)
    time.sleep(0.2)
    assert do("file_read", path="honest/test_it.py").details["bytes"] == len(failing)
    outcome = do("test_run", test_path="honest/test_it.py", expected=1)
    assert outcome.status is Status.FAILED
    assert (outcome.details["failed"], outcome.details["passed"], outcome.details["complete"]) == (1, 0, True)


SERVER = """
import socket
def test_it():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 8124))
        server.listen()
        with socket.create_connection(("127.0.0.1", 8124)) as client:
            served = server.accept()[0]
            served.shutdown(socket.SHUT_RDWR)
            served.close()
            assert client.recv(1) == b""
"""


@pytest.mark.parametrize("isolation", ["fresh", "server"])
def test_a_port_that_one_session_served_is_free_for_the_next(
    engine: Engine, image: Image, isolation: str
) -> None:
    spec = SandboxSpec(runtime="runc", guest={"tests": {"isolation": isolation}})  # gVisor keeps it a minute
    with ContainerWorld.start(spec=spec, engine=engine) as world:
        world.file_write("test_server.py", SERVER)
        assert [world.test_run("test_server.py", 1) for _session in range(2)] == [
            "test_run: test_server.py (exit=0)"
        ] * 2


SLOWER = """
import os
def test_it():
    for process in filter(str.isdigit, os.listdir("/proc")):
        for attempt in (
            lambda: os.setpriority(os.PRIO_PROCESS, int(process), 19),
            lambda: os.sched_setaffinity(int(process), {max(os.sched_getaffinity(0))}),
        ):
            try: attempt()
            except OSError: pass
"""

TURN = """
import os
def test_it():
    turn = repr((os.getpriority(os.PRIO_PROCESS, 0), sorted(os.sched_getaffinity(0))))
    if not os.path.exists("turn"):
        open("turn", "w").write(turn)
    assert open("turn").read() == turn
"""


def test_what_a_session_does_to_priorities_and_processors_ends_with_it(do: Do) -> None:
    do("file_write", path="test_slower.py", content=SLOWER)
    do("file_write", path="test_turn.py", content=TURN)
    assert do("test_run", test_path="test_turn.py", expected=1).status is Status.OK
    do("test_run", test_path="test_slower.py", expected=1)
    assert do("test_run", test_path="test_turn.py", expected=1).status is Status.OK


SPOILER = """
import fcntl, os
def test_it():
    for fd in (1, 2, 3):
        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK | os.O_DIRECT | os.O_APPEND)
        try: fcntl.fcntl(fd, 1031, 4096)
        except OSError: pass
"""

TALKATIVE = """
import fcntl, os, pytest
@pytest.mark.parametrize("number", range(3000))
def test_it(number): assert not fcntl.fcntl(3, fcntl.F_GETFL) & (os.O_NONBLOCK | os.O_DIRECT)
def test_output(capfd):
    with capfd.disabled(): os.write(1, b"x" * (1 << 20))
"""


def test_what_a_session_does_to_its_pipes_ends_with_it(do: Do) -> None:
    do("file_write", path="test_spoiler.py", content=SPOILER)
    do("test_run", test_path="test_spoiler.py", expected=1)
    do("file_write", path="test_talkative.py", content=TALKATIVE)
    outcome = do("test_run", test_path="test_talkative.py", expected=3001)
    assert outcome.status is Status.OK, outcome

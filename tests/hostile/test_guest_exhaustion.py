"""Code that takes all it can get: stopped by its limit, named for what it was, and the next call works."""

import time
from collections.abc import Callable, Iterator

import pytest

from sandbox_runner.policy import Resources
from sandbox_runner.sandbox import ContainerWorld, Engine, Image, SandboxSpec
from sandbox_runner.trail.operations import METHODS
from sandbox_runner.world import Call, Outcome, Status

pytestmark = [pytest.mark.docker, pytest.mark.long]

Do = Callable[..., Outcome]


HURRIED_S = 5.0
"""What a test run is allowed that must not end by itself; every other has far more time than it needs."""


def spec_of(way: tuple[str, str], timeout_s: float = 120.0) -> SandboxSpec:
    runtime, isolation = way
    guest = {
        "tests": {"isolation": isolation, "timeout_s": timeout_s},
        "limits": {"processes": 64, "output_bytes": 4096},
    }
    limits = Resources(memory=400 << 20, workspace=64 << 20, tmp=32 << 20, pids=64)
    return SandboxSpec(runtime=runtime, guest=guest, resources=limits)


def doing(world: ContainerWorld) -> Do:
    return lambda method, **arguments: world.perform(Call(METHODS[method].opcode, method, arguments))


@pytest.fixture(scope="module")
def do(way: tuple[str, str], engine: Engine, image: Image) -> Iterator[Do]:
    with ContainerWorld.start(spec=spec_of(way), engine=engine) as world:
        yield doing(world)


@pytest.fixture(scope="module")
def hurried(way: tuple[str, str], engine: Engine, image: Image) -> Iterator[Do]:
    """The same for test runs that do not end by themselves."""
    with ContainerWorld.start(spec=spec_of(way, HURRIED_S), engine=engine) as world:
        yield doing(world)


@pytest.fixture
def world(way: tuple[str, str], engine: Engine, image: Image) -> Iterator[ContainerWorld]:
    """A sandbox of its own, for what may end it."""
    with ContainerWorld.start(spec=spec_of(way), engine=engine) as world:
        yield world


def outcome_of(do: Do, body: str) -> Outcome:
    do("file_write", path="test_it.py", content=body)
    outcome = do("test_run", test_path="test_it.py", expected=0)
    do("file_write", path="test_harmless.py", content="def test_it(): pass\n")
    assert do("test_run", test_path="test_harmless.py", expected=1).status is Status.OK
    return outcome


BOMB = """
import os, signal, pytest
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
def test_it():
    while True:
        try:
            if os.fork() == 0: os.setsid()
        except OSError: pass
"""


def attacked(world: ContainerWorld, body: str) -> tuple[Outcome, list[Outcome]]:
    """What a test file came to, and the calls after it: they were on their way when it ran."""
    files = {"test_it.py": body, "test_harmless.py": "def test_it(): pass\n"}
    calls = [("file_write", {"path": path, "content": content}) for path, content in files.items()]
    calls += [("test_run", {"test_path": path, "expected": 0}) for path in files]
    calls += [("search_code", {"pattern": "x"}), ("trust_update", {"target": "bob", "delta": 1})]
    outcomes = list(world.perform_all(Call(METHODS[name].opcode, name, given) for name, given in calls))
    assert len(outcomes) == len(calls)
    return outcomes[2], outcomes[3:]


def ended(bomb: Outcome, later: list[Outcome], world: ContainerWorld) -> bool:
    """Whether the sandbox went with the memory; then all that follows says so, by hand as well."""
    if world.ended is None:
        assert [outcome.status for outcome in later] == [Status.OK] * len(later)
        return False
    assert bomb.text == "test_run: ERROR out of memory, and the sandbox ended with it"
    assert bomb.details == {"exhausted": ["memory"], "sandbox_ended": True}
    later.append(doing(world)("file_read", path="test_it.py"))
    assert [outcome.status for outcome in later] == [Status.SKIPPED] * len(later)
    return True


def test_a_fork_bomb_that_ignores_signals_and_leaves_its_session_is_over_with_its_call(
    engine: Engine, image: Image, way: tuple[str, str]
) -> None:
    with ContainerWorld.start(spec=spec_of(way, HURRIED_S), engine=engine) as world:
        bomb, later = attacked(world, BOMB)
        assert bomb.status is Status.FAILED
        if ended(bomb, later, world):
            assert way[0] != "runc"  # gVisor's kernel takes the memory for its processes from the same limit
            return
    assert bomb.text.startswith("test_run: ERROR timeout after 5s")
    assert {"pids", "time"} <= set(bomb.details["exhausted"])


def test_ten_times_the_memory_is_the_steps_failure_and_said(
    world: ContainerWorld, way: tuple[str, str]
) -> None:
    body = "def test_it():\n    x = bytearray(4 << 30)\n    for i in range(0, len(x), 4096): x[i] = 1\n"
    bomb, later = attacked(world, body)
    assert bomb.status is Status.FAILED
    assert "out of memory" in bomb.text
    assert bomb.details["exhausted"] == ["memory"]
    assert ended(bomb, later, world) == (way[0] != "runc")


# Memory that is in no process: the kernel then ends whoever is largest, here the guest or its server.
IN_NOBODYS_NAME = """
import os
def test_it():
    fd = os.memfd_create("hoard", 0)
    for _ in range(250): os.write(fd, bytes(1 << 20))
    os.dup2(fd, 9, True)
    os.execv("/bin/sh", ["sh", "-c", "echo 500 >/proc/$$/oom_score_adj; cat /dev/zero >&9; sleep 9"])
"""


def test_memory_in_nobodys_name_is_the_steps_failure_and_comes_to_the_same_every_time(
    engine: Engine, image: Image, way: tuple[str, str]
) -> None:
    told = []
    for _ in range(2):
        with ContainerWorld.start(spec=spec_of(way), engine=engine) as world:
            bomb, later = attacked(world, IN_NOBODYS_NAME)
            assert ended(bomb, later, world)
            told.append((bomb.status, bomb.text, bomb.details, [outcome.text for outcome in later]))
    assert told[0] == told[1]
    assert told[0][0] is Status.FAILED


@pytest.mark.parametrize("line", ["'x' * 4096", "'x\\n' * 2048"])
def test_a_flood_of_output_is_cut_and_marked(do: Do, line: str) -> None:
    body = f"import os\ndef test_it():\n    for _ in range(20000): os.write(1, ({line}).encode())\n"
    outcome = outcome_of(
        do, body.replace("os.write(1,", "os.write(OUT,").replace("import os", "import os\nOUT = os.dup(1)")
    )
    assert len(outcome.meta["output"]) < 10_000


def test_a_flood_past_the_capture_of_pytest_is_cut_and_marked(do: Do) -> None:
    body = "def test_it():\n    print('x' * (1 << 20))\n    assert 0\n"
    outcome = outcome_of(do, body)
    assert "bytes cut" in outcome.meta["output"]
    assert "output" in outcome.details["exhausted"]


def test_spinning_ends_at_the_deadline(hurried: Do) -> None:
    outcome = outcome_of(hurried, "def test_it():\n    while True: pass\n")
    assert outcome.text == "test_run: ERROR timeout after 5s: test_it.py"
    assert outcome.details["exhausted"] == ["time"]


def test_sleeping_ends_at_the_deadline_and_what_ran_before_is_kept(hurried: Do) -> None:
    body = "import time\ndef test_first(): pass\ndef test_it(): time.sleep(99)\n"
    outcome = outcome_of(hurried, body)
    assert outcome.text == "test_run: ERROR timeout after 5s: test_it.py"
    assert outcome.details["passed"] == 1
    assert outcome.details["outcomes"] == ["passed test_it.py::test_first"]


def test_full_file_systems_are_named_and_emptied_again(do: Do) -> None:
    body = (
        "def fill(path):\n"
        "    try:\n"
        "        with open(path, 'wb', 0) as f:\n"
        "            while True: f.write(bytes(1 << 20))\n"
        "    except OSError: pass\n"
        "def test_it():\n"
        "    for path in ('/dev/shm/f', '/tmp/f', '/workspace/full'): fill(path)\n"
        "    assert 0\n"
    )
    outcome = outcome_of(do, body)
    assert "disk" in outcome.details["exhausted"]
    assert do("file_write", path="full", content="").status in (Status.OK, Status.FAILED)
    outcome_of(
        do,
        "import pathlib\ndef test_it(): pathlib.Path('full').unlink(missing_ok=True)\n",
    )


def test_a_crash_leaves_no_core_file(do: Do) -> None:
    outcome = outcome_of(do, "import ctypes\ndef test_it(): ctypes.string_at(0)\n")
    assert "killed by signal 11" in outcome.text
    look = "import os\ndef test_it(): assert not [n for n in os.listdir('.') if n.startswith('core')]\n"
    assert outcome_of(do, look).status is Status.OK


ENVIRONMENT = {
    *("GIT_ATTR_NOSYSTEM", "GIT_AUTHOR_DATE", "GIT_AUTHOR_EMAIL", "GIT_AUTHOR_NAME", "GIT_COMMITTER_DATE"),
    *("GIT_COMMITTER_EMAIL", "GIT_COMMITTER_NAME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM"),
    *("GIT_TERMINAL_PROMPT", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "PYTEST_CURRENT_TEST"),
    *("PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "TERM", "TMPDIR", "TZ", "USER"),
}


def test_a_program_starts_with_nothing_of_ours(do: Do) -> None:
    body = (
        "import os\ndef test_it():\n"
        "    fds = sorted(int(n) for n in os.listdir('/proc/self/fd'))\n"
        "    links = [f'/proc/self/fd/{n}' for n in fds]\n"
        "    targets = {os.readlink(link) for link in links if os.path.lexists(link)}\n"
        "    assert not any(t.startswith('socket:') or t == '/workspace' for t in targets), targets\n"
        "    assert os.getresuid()[0] >= 20000 and len(set(os.getresuid() + os.getresgid())) == 1\n"
        "    assert os.getgroups() == [] and os.getsid(0) == os.getpid()\n"
        "    status = open('/proc/self/status').read()\n"
        "    for name in ('CapInh', 'CapPrm', 'CapEff', 'CapAmb'):\n"
        "        assert name + ':\\t0000000000000000' in status or name not in status\n"
        f"    assert set(os.environ) <= {ENVIRONMENT}, os.environ\n"
    )
    outcome = outcome_of(do, body)
    assert outcome.status is Status.OK, outcome.meta["output"]


# What only refers to itself: Linux frees it when it is made to look for it, gVisor never does.
LEAK = """
import os, socket
def test_it():
    for _ in range(31):
        a, b = socket.socketpair()
        fd = os.memfd_create("leak")
        for _ in range(10): os.write(fd, bytes(1 << 20))
        for end in (a, b): socket.send_fds(end, [b"x"], [a.fileno(), b.fileno(), fd])
"""


def test_memory_that_refers_to_itself_does_not_stay_or_is_the_failure_of_a_step(
    world: ContainerWorld, way: tuple[str, str]
) -> None:
    do = doing(world)
    do("file_write", path="test_it.py", content=LEAK)
    told = []
    for _ in range(3):  # together more than there is
        told.append(do("test_run", test_path="test_it.py", expected=1).status)
        time.sleep(1)  # for the kernel's own work
    if way[0] == "runc":
        assert told == [Status.OK] * 3
        assert world.ended is None
        return
    assert world.ended is not None
    last = told.index(Status.FAILED)
    assert set(told[:last]) <= {Status.OK}
    assert set(told[last + 1 :]) <= {Status.SKIPPED}

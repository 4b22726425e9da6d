"""One runner, many short hostile runs: nothing grows with their number but the records people asked for."""

import os
from pathlib import Path
from typing import NamedTuple

import pytest

from sandbox_runner.policy import Policy
from sandbox_runner.record import RunStatus
from sandbox_runner.runner.home import Home
from sandbox_runner.runner.runner import Runner
from sandbox_runner.sandbox import Engine

pytestmark = [pytest.mark.docker, pytest.mark.long]

RUNS = int(os.environ.get("SOAK_RUNS", "6"))
"""How many hostile runs; 500 for a thorough soak."""

WARM_UP = 3  # connections, caches and lazily imported modules belong to the first runs
DAEMONS = ("dockerd", "containerd")

FORK = "import os\ndef test_it():\n    while True: os.fork() or os.setsid()\n"
MEMORY = "def test_it():\n    x = bytearray(2 << 30)\n    x[::4096] = bytes([1]) * (len(x) >> 12)\n"
FLOOD = "def test_it():\n    print('x' * (4 << 20))\n    assert 0\n"
DAEMON = """
import os, time
def test_it():
    if os.fork() == 0:
        os.setsid()
        while True: time.sleep(1)
    os._exit(0)
"""
DISK = "def test_it():\n    file = open('/tmp/full', 'wb', 0)\n    while True: file.write(bytes(1 << 20))\n"
SNATCH = "import os\ndef test_it():\n    os.killpg(0, 9)\n"
ATTACKS = (FORK, FLOOD, MEMORY, DAEMON, DISK, SNATCH)


class Use(NamedTuple):
    """What Docker, this process and the state directory take up, but for what tests printed, kept whole."""

    docker_mib: float
    own_mib: float
    descriptors: int
    threads: int
    state_kib: float

    @classmethod
    def now(cls, home: Home) -> "Use":
        docker = [status for status in statuses() if status["Name"] in DAEMONS]
        own = status_of(Path("/proc/self/status"))
        return cls(
            sum(mebibytes(status) for status in docker),
            mebibytes(own),
            sum(1 for _ in Path("/proc/self/fd").iterdir()),
            int(own["Threads"]),
            sum(path.stat().st_blocks for path in home.path.rglob("*") if path.parent.name != "outputs") / 2,
        )


def status_of(path: Path) -> dict[str, str]:
    lines = (line.partition(":") for line in path.read_text(errors="replace").splitlines())
    return {name: value.strip() for name, _, value in lines}


def statuses() -> list[dict[str, str]]:
    found = []
    for path in Path("/proc").glob("[0-9]*/status"):
        try:
            found.append(status_of(path))
        except OSError:
            continue  # it ended meanwhile
    return found


def mebibytes(status: dict[str, str]) -> float:
    return int(status["VmRSS"].split()[0]) / 1024


def short(policy: Policy) -> Policy:
    resources = policy.resources.model_copy(
        update={"memory": 224 << 20, "workspace": 32 << 20, "tmp": 32 << 20, "pids": 48}
    )
    tests = policy.tests.model_copy(update={"timeout_s": 2.0, "isolation": "fresh"})
    return policy.model_copy(update={"resources": resources, "tests": tests})


@pytest.mark.timeout(300 + 10 * RUNS)
def test_many_hostile_runs_leave_memory_descriptors_and_disk_as_they_were(
    tmp_path: Path, engine: Engine, image: object
) -> None:
    home = Home(tmp_path / "home")
    runner = Runner(policy=short(Policy.load("default")), home=home, runtime="runc")
    worklog = b"""[{"op": "TRAIL_BEGIN", "agent": "m", "trail_id": "soak", "ts": 1},
        {"op": "TEST_RUN", "path": "test_it.py"}, {"op": "TRAIL_END"}]"""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    runs, uses = [], []
    for number in range(WARM_UP + RUNS):
        if number >= WARM_UP and (number - WARM_UP) % max(RUNS // 5, 1) == 0:
            uses.append(Use.now(home))
        (workspace / "test_it.py").write_text(ATTACKS[number % len(ATTACKS)])
        result = runner.run(worklog, workspace=workspace).result
        assert result is not None
        assert result.status is RunStatus.FAILED, (ATTACKS[number % len(ATTACKS)], result.error)
        runs.append(result.run_id)
    uses.append(Use.now(home))
    print(*uses, sep="\n")  # noqa: T201
    before, after = uses[0], uses[-1]
    assert after.descriptors <= before.descriptors + 2
    assert after.threads <= before.threads
    assert after.own_mib < before.own_mib + 32
    assert after.docker_mib < before.docker_mib + 128  # its garbage collector takes its time
    assert after.state_kib - before.state_kib < RUNS * 160
    for run in runs:
        ours = {"label": f"sandbox-runner.run={run}"}
        assert engine.api.containers(all=True, filters=ours) == []
        assert not engine.api.volumes(filters=ours).get("Volumes")

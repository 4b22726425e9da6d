"""SIGKILL of the whole program at random moments: Docker forgets everything, every record can be read."""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from sandbox_runner.cli import main
from sandbox_runner.errors import ExitCode
from sandbox_runner.record import RunRecord, RunState, trusted_keys, verify_record
from sandbox_runner.runner.again import snapshot_check
from sandbox_runner.runner.home import Home
from sandbox_runner.sandbox import Engine

pytestmark = [pytest.mark.docker, pytest.mark.long]

KILLS = int(os.environ.get("RUN_KILLS", "4"))
"""How many runs are killed; 100 and more for a thorough run."""

PATIENCE_S = 60
WORKLOG = [
    {"op": "TRAIL_BEGIN", "agent": "ann", "trail_id": "killed", "ts": 1_753_000_000},
    *({"op": "FILE_WRITE", "path": f"src/f{number}.py", "content": "x = 1\n" * 500} for number in range(40)),
    {"op": "TEST_RUN", "path": "test_it.py"},
    {"op": "GIT_COMMIT", "repo": 0, "message": "all of it"},
    {"op": "TRAIL_END", "status": 0},
]
DAEMON = """
import subprocess, time
def test_it():
    subprocess.Popen(["sleep", "300"], start_new_session=True)
    time.sleep(0.3)
"""


class Job(NamedTuple):
    home: Path
    trail: Path
    workspace: Path

    def start(self) -> subprocess.Popen[bytes]:
        environ = {**os.environ, "SANDBOX_RUNNER_HOME": str(self.home), "SANDBOX_RUNNER_RUNTIME": "runc"}
        words = [sys.executable, "-m", "sandbox_runner.cli", "run", self.trail, "-w", self.workspace]
        return subprocess.Popen(words, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def records(self) -> list[Path]:
        return list(self.home.glob("tenants/default/runs/2*"))

    def start_recording(self) -> subprocess.Popen[bytes]:
        """A run that has come as far as its record."""
        before, end = len(self.records()), time.monotonic() + PATIENCE_S
        process = self.start()
        while len(self.records()) == before and time.monotonic() < end:
            time.sleep(0.005)
        return process

    def finish(self) -> subprocess.Popen[bytes]:
        process = self.start()
        assert process.wait(PATIENCE_S) == ExitCode.OK
        return process


def killed(process: subprocess.Popen[bytes], after_s: float) -> int:
    time.sleep(after_s)
    process.kill()
    process.wait()
    return process.pid


@pytest.fixture
def job(tmp_path: Path, engine: Engine, image: object) -> Job:
    job = Job(tmp_path / "home", tmp_path / "trail.json", tmp_path / "workspace")
    job.workspace.mkdir()
    (job.workspace / "test_it.py").write_text(DAEMON)
    job.trail.write_text(json.dumps(WORKLOG))
    return job


def left_of(engine: Engine, owner: int) -> list[tuple[str, str]]:
    """What Docker still holds of a process: kind and state of each."""
    ours = {"label": f"sandbox-runner.owner={owner}"}
    volumes = engine.api.volumes(filters=ours).get("Volumes") or ()
    return [
        *(("container", item["State"]) for item in engine.api.containers(all=True, filters=ours)),
        *(("volume", "") for _ in volumes),
    ]


def never_started(left: list[tuple[str, str]]) -> bool:
    """Whether this is a container between its creation and its start, with the volumes it has."""
    return left[:1] == [("container", "created")] and set(left[1:]) == {("volume", "")}


def settled(engine: Engine, owner: int) -> list[tuple[str, str]]:
    """The same once nothing is left, or nothing but a container that never started, or after some seconds."""
    end = time.monotonic() + PATIENCE_S
    left = left_of(engine, owner)
    while left and not never_started(left) and time.monotonic() < end:
        time.sleep(0.1)
        left = left_of(engine, owner)
    return left


@pytest.mark.timeout(300 + 10 * KILLS)
def test_runs_killed_at_random_moments_leave_nothing_in_docker_and_readable_records(
    job: Job, engine: Engine
) -> None:
    job.finish()
    began = time.monotonic()
    process = job.start_recording()
    start_s = time.monotonic() - began
    process.wait()
    rest_s = time.monotonic() - began - start_s
    moments = random.Random(5)
    owners: list[int] = []
    unstarted = 0
    for number in range(KILLS + KILLS // 4):
        if number % 5 == 4:  # before there is a record
            pid = killed(job.start(), moments.uniform(0, start_s))
        else:
            pid = killed(job.start_recording(), moments.uniform(0, rest_s))
        left = settled(engine, pid)
        # A container that was never started has no guest that could notice: the next run takes it away.
        assert left == [] or never_started(left)
        unstarted += bool(left)
        owners.append(pid)
    owners.append(job.finish().pid)
    assert [left for pid in owners for left in settled(engine, pid)] == []
    home = Home(job.home)
    states = Counter(judged(path, home) for path in job.records())
    assert set(states) <= {RunState.COMPLETE, RunState.INTERRUPTED}
    assert states.total() >= KILLS + 3
    report = home.store().fsck()
    assert report.ok, report
    told = f"start {start_s:.2f} s, rest {rest_s:.2f} s"
    print(f"{len(owners) - 1} kills, {told}: {dict(states)}, never started: {unstarted}")  # noqa: T201


def judged(path: Path, home: Home) -> RunState:
    """A record's state, after everything in it was read and verified."""
    record = RunRecord.load(path)
    steps = [line.step for line in record.calls()]
    assert steps == sorted(steps)
    doubtful = {call.step for call in record.in_doubt()}
    assert not doubtful & set(steps)
    checks = verify_record(path, trusted=trusted_keys(home.keys), snapshot_check=snapshot_check(home.store()))
    wrong = {check.name: check.detail for check in checks if not check.ok}
    if record.state is RunState.COMPLETE:
        assert wrong == {}
    else:
        assert "interrupted" in wrong["structure"]
    return record.state


def paused(job: Job, engine: Engine) -> tuple[int, str]:
    """A run that was killed while its container was paused."""
    (job.workspace / "test_it.py").write_text("import time\ndef test_it(): time.sleep(300)\n")
    process = job.start_recording()
    (container,) = engine.api.containers(filters={"label": f"sandbox-runner.owner={process.pid}"})
    engine.api.pause(container["Id"])
    process.kill()
    process.wait()
    assert engine.container(container["Id"]) is not None
    return process.pid, container["Id"]


def test_a_run_killed_while_paused_is_removed_by_clean(job: Job, engine: Engine, capsys) -> None:
    pid, container = paused(job, engine)
    assert main(["clean", "--dry-run", "--json"]) == ExitCode.OK
    listed = {item["id"]: item for item in json.loads(capsys.readouterr().out)}
    assert (listed[container]["state"], listed[container]["life"]) == ("paused", "dead")
    assert main(["clean"]) == ExitCode.OK
    assert left_of(engine, pid) == []


def test_a_run_removes_at_its_start_what_a_dead_run_left(job: Job, engine: Engine) -> None:
    pid, _ = paused(job, engine)
    (job.workspace / "test_it.py").write_text(DAEMON)
    job.finish()
    assert left_of(engine, pid) == []

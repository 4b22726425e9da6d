"""What breaks around a run: its guest, its container, its disk, its neighbour. The record tells it."""

import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox_runner.errors import ExitCode
from sandbox_runner.policy import Policy
from sandbox_runner.record import RunRecord, RunState, RunStatus, list_runs, trusted_keys, verify_record
from sandbox_runner.runner.again import snapshot_check
from sandbox_runner.runner.home import Home
from sandbox_runner.runner.runner import Runner
from sandbox_runner.sandbox import Deadlines, Engine, Sandbox, SandboxSpec

pytestmark = [pytest.mark.docker, pytest.mark.long]

PATIENCE_S = 60
EXAMPLE = Path(__file__).parent.parent / "data" / "examples" / "bugfix"
PROGRAM = """
import resource, sys
from sandbox_runner.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.exit(main(sys.argv[2:]))
"""
SLOW = "import time\ndef test_it(): time.sleep(120)\n"
WORKLOG = [
    {"op": "TRAIL_BEGIN", "agent": "ann", "trail_id": "t", "ts": 1_753_000_000},
    *({"op": "FILE_WRITE", "path": f"f{number}", "content": "x" * 700} for number in range(10)),
    {"op": "TEST_RUN", "path": "test_it.py"},
    {"op": "FILE_WRITE", "path": "after", "content": "never"},
    {"op": "TRAIL_END", "status": 0},
]


def impatient(spec: SandboxSpec) -> Sandbox:
    """A sandbox whose calls may take nine seconds, so that a test of deadlines need not take minutes."""
    guest = {**spec.guest, "limits": {**spec.guest["limits"], "call_s": 8.0}}
    guest["tests"] = {**guest["tests"], "timeout_s": 8.0}
    return Sandbox.start(replace(spec, guest=guest, deadlines=Deadlines(margin=1.0)))


class Disturbed:
    """A run of the slow trail, and what is done to its container once its test is under way."""

    def __init__(self, folder: Path, runtime: str, engine: Engine) -> None:
        self.home = Home(folder / "home")
        self.workspace = folder / "workspace"
        self.workspace.mkdir()
        (self.workspace / "test_it.py").write_text(SLOW)
        self.runner = Runner(policy=Policy.load("default"), home=self.home, runtime=runtime, start=impatient)
        self.engine = engine

    def record(self, disturb: str) -> RunRecord:
        thread = threading.Thread(target=self._disturb, args=(disturb,))
        thread.start()
        record = self.runner.run(json.dumps(WORKLOG).encode(), workspace=self.workspace)
        thread.join()
        return record

    def _disturb(self, disturb: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            for path in self.home.runs().glob("2*/dispatched.jsonl"):
                if b"test_run" in path.read_bytes():
                    ours = {"label": f"sandbox-runner.run={path.parent.name}"}
                    (container,) = self.engine.api.containers(filters=ours)
                    getattr(self.engine.api, disturb)(container["Id"])
                    return
            time.sleep(0.01)


@pytest.fixture
def disturbed(tmp_path: Path, runtime: str, engine: Engine, image: object) -> Disturbed:
    return Disturbed(tmp_path, runtime, engine)


@pytest.mark.parametrize(("disturb", "told"), [("kill", "killed from outside"), ("pause", "paused")])
def test_a_container_that_is_taken_away_is_the_sandboxs_fault_and_the_record_says_so(
    disturbed: Disturbed, disturb: str, told: str
) -> None:
    record = disturbed.record(disturb)
    result = record.result
    assert result is not None
    assert (record.state, result.status, result.exit_code) == (RunState.ERROR, RunStatus.ERROR, 4)
    assert told in str(result.error)
    assert result.snapshot is None
    assert "test_run" in {call.method for call in record.in_doubt()}
    assert all(line.fact["method"] == "file_write" for line in record.calls())
    assert result.cleanup is not None
    assert result.cleanup["container_gone"]
    assert result.cleanup["volumes_gone"]
    checks = verify_record(record.path, trusted=trusted_keys(disturbed.home.keys))
    assert all(check.ok for check in checks), checks


def started(home: Path, *argv: object, room: int = resource.RLIM_INFINITY) -> subprocess.Popen[str]:
    """The whole program; no file that it writes may become larger than ``room`` bytes."""
    environ = {**os.environ, "SANDBOX_RUNNER_HOME": str(home), "SANDBOX_RUNNER_RUNTIME": "runc"}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(room), *map(str, argv)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    )


def test_two_programs_at_once_on_one_state_directory_are_both_right(
    tmp_path: Path, engine: Engine, image: object
) -> None:
    words = ("run", EXAMPLE / "worklog.json", "-w", EXAMPLE / "workspace", "--json")
    programs = [started(tmp_path / "home", *words) for _ in range(2)]
    told = []
    for program in programs:
        out, err = program.communicate(timeout=2 * PATIENCE_S)
        assert program.returncode == ExitCode.OK, err
        told.append(json.loads(out))
    assert told[0]["run_id"] != told[1]["run_id"]
    for key in ("chain_head", "meta_trail_sha256", "snapshot", "status"):
        assert told[0][key] == told[1][key]
    home = Home(tmp_path / "home")
    for item in told:
        check = snapshot_check(home.store())
        checks = verify_record(Path(item["record"]), trusted=trusted_keys(home.keys), snapshot_check=check)
        assert all(check.ok for check in checks), checks
    assert home.store().fsck().ok


@pytest.fixture
def prepared(tmp_path: Path, image: object) -> Iterator[tuple[Path, Path]]:
    """A state directory with a key, and a trail on a disk with room enough."""
    trail = tmp_path / "trail.json"
    trail.write_text(json.dumps([entry for entry in WORKLOG if entry["op"] != "TEST_RUN"]))
    home = tmp_path / "home"
    yield home, trail
    assert list(home.rglob("*.part")) == []


@pytest.mark.parametrize("room", [0, 2_500])
def test_a_full_disk_is_exit_4_and_no_record_looks_whole(
    prepared: tuple[Path, Path], engine: Engine, room: int
) -> None:
    home, trail = prepared
    program = started(home, "run", trail, "--json", room=room)
    _, err = program.communicate(timeout=PATIENCE_S)
    assert program.returncode == ExitCode.SANDBOX_FAILED, err
    assert "free some space" in err
    assert "Traceback" not in err
    for record in list_runs(Home(home).runs()):
        assert isinstance(record, RunRecord)
        assert (record.state, record.result) == (RunState.INTERRUPTED, None)
        assert [line.seq for line in record.calls()] == list(range(sum(1 for _ in record.calls())))
        assert not all(check.ok for check in verify_record(record.path, require_signature=False))
    ours = {"label": f"sandbox-runner.owner={program.pid}"}
    assert engine.api.containers(all=True, filters=ours) == []

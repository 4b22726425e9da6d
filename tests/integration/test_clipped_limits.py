"""A policy that allows more than the machine has: the run gets what there is, and the record says so."""

import json
from pathlib import Path

import pytest

from sandbox_runner.policy import Policy
from sandbox_runner.record import RunRecord
from sandbox_runner.runner import Home
from sandbox_runner.runner.runner import Runner
from sandbox_runner.sandbox import Engine
from sandbox_runner.sandbox.confinement import Machine

pytestmark = pytest.mark.docker

MIB = 1 << 20
WORKLOG = [
    {"op": "TRAIL_BEGIN", "agent": "ann", "trail_id": "t", "ts": 1_753_000_000},
    {"op": "FILE_WRITE", "path": "test_a.py", "content": "def test_a(): pass\n"},
    {"op": "TEST_RUN", "path": "test_a.py", "count": 1},
    {"op": "TRAIL_END", "status": 0},
]


def run(tmp_path: Path, monkeypatch, machine: Machine) -> tuple[RunRecord, dict]:
    monkeypatch.setattr(Engine, "machine", lambda _engine: machine)
    worklog = tmp_path / "worklog.json"
    worklog.write_text(json.dumps(WORKLOG))
    policy = Policy.load("unsafe-open")
    record = Runner(policy=policy, home=Home(tmp_path / "home"), runtime="runc").run(worklog)
    return record, json.loads((record.path / "run.json").read_bytes())


def test_a_small_machine_gives_what_it_has_and_the_same_chain_as_a_large_one(
    engine, image, tmp_path: Path, monkeypatch
) -> None:
    has = engine.machine()
    small, told = run(tmp_path, monkeypatch, Machine(1, 900 * MIB, has.core_limit))
    assert small.result.exit_code == 0, small.result.error
    assert told["limits"]["cpus"] == 1.0
    assert told["limits"]["memory"] == 900 * MIB
    assert told["limits"]["workspace"] + told["limits"]["tmp"] <= 820 * MIB
    assert set(told["options"]["clipped"]) == {"cpus", "memory", "workspace", "tmp"}
    assert told["options"]["clipped"]["cpus"] == {"asked": 4.0, "given": 1.0}
    large, as_asked = run(tmp_path, monkeypatch, Machine(has.cpus, None, has.core_limit))
    assert ("cpus" in as_asked["options"].get("clipped", {})) == (has.cpus < 4)
    assert as_asked["limits"]["memory"] == 4096 * MIB
    for name in ("chain_head", "meta_trail_sha256", "snapshot", "status"):
        assert getattr(small.result, name) == getattr(large.result, name), name


def test_what_the_container_got_is_what_the_record_says(start_sandbox, engine, monkeypatch, runtime) -> None:
    has = engine.machine()
    monkeypatch.setattr(Engine, "machine", lambda _engine: Machine(1, 500 * MIB, has.core_limit))
    sandbox = start_sandbox(runtime=runtime)
    limits = engine.container(sandbox.container_id)["HostConfig"]
    assert limits["Memory"] == limits["MemorySwap"] == sandbox.resources.memory == 500 * MIB
    assert limits["NanoCpus"] == 1_000_000_000
    size = f"size={sandbox.resources.workspace},"
    (workspace,) = (mount for mount in limits["Mounts"] if mount["Target"] == "/workspace")
    assert size in workspace["VolumeOptions"]["DriverConfig"]["Options"]["o"]

"""Whole runs of trails that attack: each step is told for what it was, and a harmless one passes after it."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox_runner.policy import Policy
from sandbox_runner.record import RunRecord, RunStatus, trusted_keys, verify_record
from sandbox_runner.runner.home import Home
from sandbox_runner.runner.runner import Runner

pytestmark = [pytest.mark.docker, pytest.mark.long]

FORK_BOMB = """
import os, signal
def test_it():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        try:
            os.fork() or os.setsid()
        except OSError:
            pass
"""
MEMORY_BOMB = """
def test_it():
    hoard = bytearray(4 << 30)
    for place in range(0, len(hoard), 4096):
        hoard[place] = 1
"""
# pytest captures what goes to 1 and 2 in files; the pipes themselves are among the other descriptors.
FLOOD = """
import os, stat
def test_it():
    chunk = b"no end \\x1b[2J" * 6000
    pipes = [fd for fd in range(4, 64) if os.path.exists(f"/proc/self/fd/{fd}")
             and os.readlink(f"/proc/self/fd/{fd}").startswith("pipe:")]
    for _ in range(500):
        for fd in pipes[:1]:
            os.write(fd, chunk)
    print("x" * (1 << 20))
    assert False
"""
DAEMON = """
import os, time
def test_it():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True:
                with open("/workspace/written-by-the-daemon", "ab") as file:
                    file.write(b"x")
                time.sleep(0.01)
        os._exit(0)
    time.sleep(0.2)
"""
# Two counters that go up together, and much between them for whoever reads the one after the other.
COUNTERS = """
import os, time
def count(path, number):
    with open(path, "r+b", 0) as file:
        file.write(b"%08d" % number)
def test_it():
    for path in ["a", *(f"m{number}" for number in range(300)), "z"]:
        with open(path, "wb") as file:
            file.write(bytes(8) if path in "az" else os.urandom(1 << 16))
    if os.fork() == 0:
        os.setsid()
        for number in range(1 << 30):
            count("/workspace/a", number)
            count("/workspace/z", number)
            time.sleep(0.0005)
    time.sleep(0.2)
"""
SPIN = "def test_it():\n    while True: pass\n"
FULL = """
def fill(path):
    try:
        with open(path, "wb", 0) as file:
            while True:
                file.write(bytes(1 << 20))
    except OSError as error:
        assert error.errno == 28
def test_it():
    for path in ("/dev/shm/full", "/tmp/full", "/workspace/full"):
        fill(path)
    assert False
"""
INODES = """
import os
def test_it():
    os.mkdir("many")
    try:
        for number in range(100_000):
            os.close(os.open(f"many/{number}", os.O_CREAT))
    except OSError as error:
        assert error.errno == 28
        assert False
"""
CORE = "import ctypes\ndef test_it(): ctypes.string_at(0)\n"
TIDY = """
import os, shutil
def test_it():
    assert not [name for name in os.listdir(".") if name.startswith("core")]
    assert sorted(os.listdir("/dev/shm")) == [] and not os.path.exists("/tmp/full")
    shutil.rmtree("many", ignore_errors=True)
    if os.path.exists("full"):
        os.unlink("full")
"""
PATCHED = """
from _pytest import reports
reports.TestReport.from_item_and_call = classmethod(lambda kind, item, call: kind(
    item.nodeid, item.location, {}, "passed", None, call.when))
def test_it(): assert False
"""

Attack = Callable[..., RunRecord]

HURRIED_S = 4.0
"""What a test run is allowed that must not end by itself; every other has far more time than it needs."""


@pytest.fixture
def attack(tmp_path: Path, runtime: str, engine: object, image: object) -> Attack:
    """Run the given test files one after the other, or whole worklog entries, under small limits."""
    policy = Policy.load("default")
    small = {"memory": 288 << 20, "workspace": 64 << 20, "tmp": 64 << 20, "pids": 64, "workspace_inodes": 900}
    resources = policy.resources.model_copy(update=small)
    policy = policy.model_copy(update={"resources": resources})
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "test_harmless.py").write_text("def test_it(): pass\n")

    def run(*entries: str | dict[str, Any], timeout_s: float = 120.0) -> RunRecord:
        worklog: list[dict[str, Any]] = [{"op": "TRAIL_BEGIN", "agent": "mallory", "trail_id": "t", "ts": 1}]
        for number, entry in enumerate(entries):
            if isinstance(entry, dict):
                worklog.append(entry)
            else:
                (workspace / f"test_{number}.py").write_text(entry)
                worklog.append({"op": "TEST_RUN", "path": f"test_{number}.py"})
        worklog += [{"op": "TEST_RUN", "path": "test_harmless.py", "count": 1}, {"op": "TRAIL_END"}]
        tests = policy.tests.model_copy(update={"timeout_s": timeout_s})
        limited = policy.model_copy(update={"tests": tests})
        runner = Runner(policy=limited, home=Home(tmp_path / "home"), runtime=runtime)
        record = runner.run(json.dumps(worklog).encode(), workspace=workspace)
        assert record.result is not None
        assert record.result.cleanup is not None
        assert record.result.cleanup["container_gone"]
        assert record.result.cleanup["volumes_gone"]
        return record

    return run


def facts(record: RunRecord) -> list[tuple[str, str, list[str]]]:
    """Status, text and exhausted limits of each call."""
    return [
        (line.fact["status"], line.outcome, line.fact["details"].get("exhausted", []))
        for line in record.calls()
    ]


def test_a_memory_bomb_is_the_steps_failure_every_time_and_the_record_says_what_was_lost(
    attack: Attack, runtime: str, tmp_path: Path
) -> None:
    record = attack(MEMORY_BOMB)
    result = record.result
    assert result is not None
    assert (result.status, result.exit_code) == (RunStatus.FAILED, 1)
    bomb, harmless = facts(record)
    assert bomb[0] == "failed"
    assert bomb[2] == ["memory"]
    if runtime == "runc":
        assert (harmless[0], result.error) == ("ok", None)
        assert result.snapshot is not None
    else:  # gVisor's kernel has its memory from the same limit as what it runs, and goes with it
        assert harmless[0] == "skipped"
        assert result.snapshot is None
        assert "workspace, ledger and pushes are lost" in (result.error or "")
    checks = verify_record(record.path, trusted=trusted_keys(Home(tmp_path / "home").keys))
    assert [check for check in checks if not check.ok] == []


def test_a_fork_bomb_a_memory_bomb_a_flood_and_a_daemon_are_each_told_and_the_last_step_passes(
    attack: Attack, runtime: str
) -> None:
    if runtime != "runc":  # the bombs end gVisor's kernel: that step failed, and nothing passes after it
        record = attack(FORK_BOMB, MEMORY_BOMB, FLOOD, DAEMON, timeout_s=HURRIED_S)
        assert record.result is not None
        assert (record.result.status, record.result.exit_code) == (RunStatus.FAILED, 1)
        statuses = [status for status, _, _ in facts(record)]
        assert len(statuses) == 5
        assert set(statuses[: statuses.index("skipped")]) == {"failed"}
        assert set(statuses[statuses.index("skipped") :]) == {"skipped"}
        return
    forks, harmless = facts(attack(FORK_BOMB, timeout_s=HURRIED_S))
    assert forks[:2] == ("failed", "test_run: ERROR timeout after 4s: test_0.py")
    assert {"pids", "time"} <= set(forks[2])
    assert harmless == ("ok", "test_run: test_harmless.py (exit=0)", [])
    record = attack(MEMORY_BOMB, FLOOD, DAEMON)
    memory, flood, daemon, harmless = facts(record)
    assert memory[0] == "failed"
    assert "out of memory" in memory[1]
    assert "memory" in memory[2]
    assert flood[0] == "failed"
    assert "output" in flood[2]
    assert daemon == ("ok", "test_run: test_2.py (exit=0)", [])
    assert harmless == ("ok", "test_run: test_harmless.py (exit=0)", [])
    told = [line.meta["details"] for line in record.calls()]
    assert told[1]["output_bytes"] > 30 << 20
    assert told[2]["processes_left"] >= 1
    assert record.result is not None
    assert (record.result.status, record.result.exit_code) == (RunStatus.FAILED, 1)
    assert (record.path / "calls.jsonl").stat().st_size < 256 << 10
    assert b"\x1b" not in (record.path / "calls.jsonl").read_bytes()


def test_what_the_runtime_survives_is_told_under_each_runtime_and_the_last_step_passes(
    attack: Attack, runtime: str
) -> None:
    spin, harmless = facts(attack(SPIN, timeout_s=HURRIED_S))
    assert spin == ("failed", "test_run: ERROR timeout after 4s: test_0.py", ["time"])
    assert harmless[0] == "ok"
    record = attack(FLOOD, DAEMON, FULL, INODES, CORE, TIDY, PATCHED)
    flood, daemon, full, inodes, core, tidy, patched, harmless = facts(record)
    assert flood[0] == "failed"
    assert "output" in flood[2]
    assert daemon[0] == "ok"
    assert full[0] == "failed"
    assert "disk" in full[2]
    assert inodes[0] == "failed"
    assert set(inodes[2]) & {"disk", "inodes"}
    assert "killed by signal 11" in core[1]
    assert tidy[0] == harmless[0] == "ok", tidy
    assert patched[0] == "ok"  # it can say of itself what it likes, and that is how it is recorded
    assert all(line.fact["details"]["self_reported"] for line in record.calls())
    assert record.result is not None
    assert "self-reported" in str(record.result.verdict_source)
    assert record.result.status is RunStatus.FAILED
    assert record.result.facts["snapshot"]["partial"] is False


def test_no_pattern_and_no_archive_makes_a_search_slow_or_large(attack: Attack, tmp_path: Path) -> None:
    (tmp_path / "workspace" / "long.txt").write_text("a" * 200_000 + "!\n")
    (tmp_path / "workspace" / "bomb.gz").write_bytes(bomb())
    patterns = ["(a+)+$", "(a|aa)*$", "(((a{90}){90}){90}){90}", "[", "--pre=./evil", "-z.*q", "needle"]
    record = attack(*({"op": "SEARCH_CODE", "pattern": pattern} for pattern in patterns))
    lines = list(record.calls())[: len(patterns)]
    assert [line.fact["status"] for line in lines] == ["ok", "ok", "failed", "failed", "ok", "ok", "ok"]
    assert all(line.outcome.endswith("\u2192 0 matches") for line in lines[4:])


def bomb() -> bytes:
    """Many needles in few bytes."""
    press = zlib.compressobj(9, wbits=31)
    return b"".join(press.compress(b"needle " * (1 << 17)) for _ in range(64)) + press.flush()


def test_a_writer_alive_at_the_end_is_gone_before_the_snapshot(attack: Attack, tmp_path: Path) -> None:
    record = attack(COUNTERS)
    assert record.result is not None
    assert record.result.status is RunStatus.SUCCESS
    Home(tmp_path / "home").store().restore(str(record.result.snapshot), tmp_path / "out")
    first, last = (int((tmp_path / "out" / name).read_bytes()) for name in "az")
    assert first - last in {0, 1}
    assert first > 0
    assert record.result.facts["snapshot"]["partial"] is False

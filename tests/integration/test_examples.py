"""The shipped sessions, replayed for real: what they leave, and that any replay leaves the same."""

import json
import subprocess
from pathlib import Path

import pytest

from sandbox_runner.policy import Policy
from sandbox_runner.record import RunRecord, RunStatus, trusted_keys, verify_record
from sandbox_runner.replay import TrailExecutor
from sandbox_runner.runner.again import replay_record, snapshot_check
from sandbox_runner.runner.home import Home
from sandbox_runner.runner.inputs import read_input
from sandbox_runner.runner.runner import Runner
from sandbox_runner.sandbox import ContainerWorld
from sandbox_runner.world import Status

pytestmark = pytest.mark.docker

EXAMPLES = Path(__file__).parent.parent / "data" / "examples"
SESSIONS = ("bugfix", "feature", "handoff")


def replay(name: str, home: Home, *, runtime: str = "runc", policy: str = "default") -> RunRecord:
    folder = EXAMPLES / name
    worklog = next(folder.glob("worklog.json*"))
    runner = Runner(policy=Policy.load(policy), home=home, runtime=runtime)
    return runner.run(worklog, workspace=folder / "workspace")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, engine: object, image: object) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def bugfix(home: Home) -> RunRecord:
    return replay("bugfix", home)


def test_the_bugfix_session_succeeds_with_every_step(bugfix: RunRecord) -> None:
    assert bugfix.result is not None
    assert bugfix.result.status is RunStatus.SUCCESS, [
        event["result"] for event in bugfix.result.events if event["status"] != "ok"
    ]
    assert bugfix.result.steps.total == bugfix.result.steps.ok == bugfix.info.trail.steps


def test_a_world_that_is_just_started_does_all_that_a_session_asks_for(home: Home) -> None:
    folder = EXAMPLES / "bugfix"
    with ContainerWorld.start(workspace=str(folder / "workspace")) as world:
        trail = read_input(folder / "worklog.json").trail
        events = TrailExecutor(world=world, bytecode=trail.data).execute().events
    assert [event.result for event in events if event.status is not Status.OK] == []


def test_the_log_has_one_line_for_each_call(bugfix: RunRecord) -> None:
    lines = [json.loads(line) for line in (bugfix.path / "calls.jsonl").read_bytes().splitlines()]
    assert [line["fact"]["opcode"] for line in lines] == [
        "ROOM_ENTER",
        "SEARCH_CODE",
        "FILE_READ",
        "TEST_RUN",
        "FILE_EDIT",
        "FILE_WRITE",
        "TEST_RUN",
        "GIT_COMMIT",
        "GIT_PUSH",
        "BOTTLE_DROP",
        "TRUST_UPDATE",
    ]


def test_the_record_is_whole_and_verifies(bugfix: RunRecord, home: Home) -> None:
    checks = verify_record(
        bugfix.path, trusted=trusted_keys(home.keys), snapshot_check=snapshot_check(home.store())
    )
    assert all(check.ok for check in checks), checks


def test_the_snapshot_holds_the_fix_and_the_commit(bugfix: RunRecord, home: Home, tmp_path: Path) -> None:
    assert bugfix.result is not None
    home.store().restore(str(bugfix.result.snapshot), tmp_path / "out")
    fixed = (tmp_path / "out" / "invoice" / "totals.py").read_text()
    assert "self.discount_percent // 100" in fixed
    assert (tmp_path / "out" / "tests" / "test_discount.py").exists()
    # The example's own commit on our own tree: the one place where a host's git may look at a workspace.
    log = subprocess.run(
        ["git", "-C", tmp_path / "out", "log", "--format=%an %at %s"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout
    assert "mender 1750000000 Take the discount in percent, not in tenths" in log


def test_the_push_is_kept_as_a_bundle_with_the_commit(bugfix: RunRecord) -> None:
    (bundle,) = (bugfix.path / "artifacts" / "pushes").iterdir()
    heads = subprocess.run(
        ["git", "bundle", "list-heads", bundle], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    assert "refs/heads/" in heads


def test_the_bottle_and_the_ledger_are_kept(bugfix: RunRecord) -> None:
    bottles = (bugfix.path / "artifacts" / "bottles.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["to"] for line in bottles] == ["oracle-review"]
    ledger = [
        json.loads(line) for line in (bugfix.path / "artifacts" / "ledger.jsonl").read_bytes().splitlines()
    ]
    assert [entry["method"] for entry in ledger] == ["room_enter", "bottle_drop", "trust_update"]


def test_nothing_of_the_sandbox_is_left_and_the_record_says_so(bugfix: RunRecord) -> None:
    assert bugfix.result is not None
    assert bugfix.result.cleanup is not None
    assert bugfix.result.cleanup["container_gone"]
    assert bugfix.result.cleanup["volumes_gone"]


def test_the_workspace_on_the_host_is_untouched(bugfix: RunRecord) -> None:
    assert bugfix.result is not None
    workspace = EXAMPLES / "bugfix" / "workspace"
    assert not (workspace / ".git").exists()
    assert not (workspace / "tests" / "test_discount.py").exists()


@pytest.mark.parametrize("session", SESSIONS)
def test_a_replay_in_another_home_and_under_any_runtime_comes_to_the_same(
    session: str, runtime: str, home: Home, tmp_path: Path
) -> None:
    one = replay(session, home)
    other = replay(session, Home(tmp_path), runtime=runtime)
    assert one.result is not None
    assert other.result is not None
    assert other.result.error is None
    for name in ("status", "chain_head", "meta_trail_sha256", "snapshot"):
        assert getattr(one.result, name) == getattr(other.result, name), name


def test_a_record_replays_to_itself(bugfix: RunRecord, home: Home, runtime: str) -> None:
    checks, divergence = replay_record(bugfix.path, home=home, runtime=runtime)
    assert divergence is None
    assert all(check.ok for check in checks)


def test_hostile_writes_are_refused_before_a_container_exists(home: Home) -> None:
    record = replay("hostile", home)
    assert record.result is not None
    assert record.result.status is RunStatus.REFUSED
    assert len(record.result.violations) == 3
    assert record.result.cleanup is None


def test_with_skip_the_refused_calls_are_logged_and_the_rest_runs(home: Home) -> None:
    folder = EXAMPLES / "hostile"
    policy = Policy.load("default").model_copy(update={"on_violation": "skip"})
    record = Runner(policy=policy, home=home, runtime="runc").run(
        folder / "worklog.json", workspace=folder / "workspace"
    )
    assert record.result is not None
    assert record.result.status is RunStatus.REFUSED
    assert record.result.exit_code == 3
    statuses = [line.fact["status"] for line in record.calls()]
    assert statuses == ["ok", "refused", "refused", "refused"]

"""Several trails at once against a real Engine: equal facts, one failure among many, a stop for all."""

import json
import threading
import time
from pathlib import Path

import pytest

from sandbox_runner.errors import InterruptedRunError, SandboxRunnerError, TrailError
from sandbox_runner.fleet import run_many
from sandbox_runner.policy import Policy
from sandbox_runner.record import RunRecord, RunState, RunStatus
from sandbox_runner.runner.home import Home
from sandbox_runner.runner.runner import Runner

pytestmark = pytest.mark.docker

EXAMPLES = Path(__file__).parent.parent / "data" / "examples"
BUGFIX = EXAMPLES / "bugfix" / "worklog.json"
OPTIONS = {"workspace": EXAMPLES / "bugfix" / "workspace"}


@pytest.fixture
def runner(tmp_path: Path, engine: object, image: object) -> Runner:
    return Runner(policy=Policy.load("default"), home=Home(tmp_path), runtime="runc")


def test_equal_trails_side_by_side_come_to_equal_facts(runner: Runner) -> None:
    outcomes = dict(run_many(runner, [BUGFIX] * 3, jobs=2, options=OPTIONS))
    records = [outcome for outcome in outcomes.values() if isinstance(outcome, RunRecord)]
    assert sorted(outcomes) == [0, 1, 2]
    assert len(records) == 3, [outcome for outcome in outcomes.values() if outcome not in records]
    assert {record.result.status for record in records if record.result} == {RunStatus.SUCCESS}
    assert len({record.result.chain_head for record in records if record.result}) == 1
    assert len({record.run_id for record in records}) == 3


def test_a_trail_that_is_none_keeps_no_other_from_running(runner: Runner, tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps([{"op": "NONSENSE"}]))
    outcomes = dict(run_many(runner, [broken, BUGFIX], jobs=2, options=OPTIONS))
    assert isinstance(outcomes[0], TrailError)
    assert isinstance(outcomes[1], RunRecord)


def test_cancelling_closes_what_runs_as_interrupted_and_leaves_no_container(
    runner: Runner, tmp_path: Path
) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "test_slow.py").write_text("import time\n\ndef test_slow():\n    time.sleep(300)\n")
    slow = tmp_path / "slow.json"
    slow.write_text(
        json.dumps(
            [
                {"op": "TRAIL_BEGIN", "agent": "a", "trail_id": "t", "ts": 1},
                {"op": "TEST_RUN", "path": "test_slow.py"},
                {"op": "TRAIL_END"},
            ]
        )
    )
    outcomes: list[RunRecord | SandboxRunnerError] = []

    def work() -> None:
        options = {"workspace": tmp_path / "w"}
        outcomes.extend(result for _, result in run_many(runner, [slow, slow], jobs=2, options=options))

    thread = threading.Thread(target=work)
    thread.start()
    runs, end = runner.home.runs(), time.monotonic() + 60
    while len(list(runs.glob("*/dispatched.jsonl"))) < 2 and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(1)
    runner.cancellation.cancel()
    thread.join(timeout=120)
    assert not thread.is_alive()
    assert len(outcomes) == 2
    for outcome in outcomes:
        assert isinstance(outcome, InterruptedRunError)
        record = RunRecord.load(str(outcome.record))
        assert record.state is RunState.INTERRUPTED
        assert record.result is not None
        assert record.result.cleanup is not None
        assert record.result.cleanup["container_gone"]
        assert [call.method for call in record.in_doubt()] == ["test_run"]

"""A window of calls on their way to a real container leaves what one call at a time leaves."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sandbox_runner.policy import GuardedWorld, Policy
from sandbox_runner.record import PolicyInfo, RecordedWorld, RunDirectory, RunInfo, TrailInfo, now_text
from sandbox_runner.replay import TrailExecutor
from sandbox_runner.sandbox import ContainerWorld
from sandbox_runner.snapshot import SnapshotStore
from sandbox_runner.trail import compile_worklog, load
from sandbox_runner.world import Outcome, Status

pytestmark = pytest.mark.docker

BEGIN = {"op": "TRAIL_BEGIN", "agent": "tester", "trail_id": "windows", "ts": 1750000000}
END = {"op": "TRAIL_END", "status": 0}
REFUSAL = Outcome(Status.REFUSED, "refused: not allowed", {"rule": "opcodes"})
DEFAULT = Policy.load("default")
POLICY = DEFAULT.model_copy(update={"budget": DEFAULT.budget.model_copy(update={"write_bytes": 12_000})})

paths = st.sampled_from(["a", "b", "d/a", "d/e/b", "../out", ".git/x", "a/b", ""])
texts = st.sampled_from(["x", "y", "xy\n", "x" * 5_000, "é"])
entries = st.one_of(
    st.builds(lambda path, text: {"op": "FILE_WRITE", "path": path, "content": text}, paths, texts),
    st.builds(lambda path: {"op": "FILE_READ", "path": path}, paths),
    st.builds(lambda path, old: {"op": "FILE_EDIT", "path": path, "old": old, "new": "yx"}, paths, texts),
    st.builds(lambda text: {"op": "SEARCH_CODE", "pattern": text}, texts),
    st.builds(lambda delta: {"op": "TRUST_UPDATE", "target": "bob", "delta": delta}, st.integers(-30, 30)),
    st.just({"op": "GIT_COMMIT", "repo": 0, "message": "a commit"}),
    st.just({"op": "NOP"}),
)
trails = st.lists(entries, min_size=10, max_size=60).map(
    lambda body: load(compile_worklog([BEGIN, *body, END]))
)


def replay(sandbox, trail, window, folder, *, fail_fast, pauses, refused):
    """Everything a replay leaves that must not depend on the window."""
    info = RunInfo(
        run_id="windows",
        created_at=now_text(),
        trail=TrailInfo(sha256=trail.sha256, bytes=len(trail.data), version=trail.version, steps=1),
        policy=PolicyInfo(name=POLICY.name, sha256=POLICY.sha256),
    )

    def hold(event):
        if event.step_index in pauses:
            executor.pause()

    with RunDirectory.create(folder, info, trail=trail.data, policy=POLICY.canonical()) as run:
        recorder = run.recorder()
        executor = TrailExecutor(
            RecordedWorld(GuardedWorld(ContainerWorld(sandbox, window=window), POLICY), recorder),
            trail,
            fail_fast=fail_fast,
            on_event=hold,
            clock=lambda: 0.0,
            chain_head=lambda: recorder.head,
            refusals={index: REFUSAL for index in refused if index < len(trail.steps) - 1},
        )
        while not executor.get_state()["finished"]:
            executor.resume()
            executor.execute()
    result = executor.result()
    events = [{**event.to_dict(), "duration_ms": 0} for event in result.events]
    ledger = sandbox.ledger()
    snapshot = SnapshotStore(folder / "store").capture(sandbox).digest
    return events, recorder.head, result.execution_trail, snapshot, ledger.header, ledger.body


@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.generate],  # every example starts two containers
)
@given(
    trail=trails,
    fail_fast=st.booleans(),
    pauses=st.sets(st.integers(0, 60), max_size=5),
    refused=st.sets(st.integers(1, 60), max_size=2),
)
def test_a_window_of_32_leaves_events_log_meta_trail_ledger_and_workspace_of_a_window_of_1(
    start_sandbox, *, trail, fail_fast, pauses, refused
):
    script = {"fail_fast": fail_fast, "pauses": pauses, "refused": refused}
    left = []
    for window in (1, 32):
        with TemporaryDirectory() as folder, start_sandbox(run_id="windows") as sandbox:
            left.append(replay(sandbox, trail, window, Path(folder), **script))
    assert left[0] == left[1]

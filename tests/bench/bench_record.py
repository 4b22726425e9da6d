"""What evidence costs: recording and chaining per call, and verifying a long record.

    python tests/bench/bench_record.py [CALLS]

Prints microseconds per call beyond a bare loop over the same world, and seconds for verification, both in
processor time: the work is single-threaded and does not wait, so a neighbour's load counts least that way.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from sandbox_runner.record import (
    PolicyInfo,
    RecordedWorld,
    RunDirectory,
    RunInfo,
    RunStatus,
    StepCounts,
    TrailInfo,
    now_text,
    signing_key,
    verify_record,
)
from sandbox_runner.replay import TrailExecutor
from sandbox_runner.trail import Trail, compile_worklog, load
from sandbox_runner.world import Call, CallStream, Outcome, Status, World

POLICY = b"{}"
ROUNDS = 5


class Instant(World):
    """Answers at once, with an outcome of the usual size."""

    def perform_all(self, calls: CallStream, *, stop_on_failure: bool = False) -> Iterator[Outcome]:
        for call in calls:
            if call is not None:
                subject = next(iter(call.arguments.values()))
                details = {"sha256": "ab" * 32, "bytes": 160}
                yield Outcome(Status.OK, f"{call.method}: {subject} (160 bytes)", details, 30_000)


def worklog(calls: int) -> list[dict[str, object]]:
    """Writes, reads, edits and searches over fifty files."""
    steps: list[dict[str, object]] = [{"op": "TRAIL_BEGIN", "agent": "bench", "trail_id": "bench", "ts": 1}]
    for number in range(calls):
        path = f"src/module_{number % 50}.py"
        steps.append(
            (
                {"op": "FILE_WRITE", "path": path, "content": f"x = {number}\n" * 20},
                {"op": "FILE_READ", "path": path},
                {"op": "FILE_EDIT", "path": path, "old": "x", "new": "y"},
                {"op": "SEARCH_CODE", "pattern": "def total"},
            )[number % 4]
        )
    return [*steps, {"op": "TRAIL_END", "status": 0}]


def run_info(trail: Trail, run_id: str) -> RunInfo:
    return RunInfo(
        run_id=run_id,
        created_at=now_text(),
        trail=TrailInfo(
            sha256=trail.sha256,
            bytes=len(trail.data),
            version=trail.version,
            steps=len(trail.steps),
            agent=trail.agent,
            trail_id=trail.trail_id,
        ),
        policy=PolicyInfo(name="bench", sha256=sha256(POLICY).hexdigest()),
    )


def recording(root: Path, trail: Trail, calls: list[Call]) -> None:
    """Best of several rounds, recorded and bare in turn."""
    bare = recorded = float("inf")
    for number in range(ROUNDS):
        started = time.process_time()
        for _ in Instant().perform_all(calls):
            pass
        bare = min(bare, time.process_time() - started)
        with RunDirectory.create(
            root, run_info(trail, f"record-{number}"), trail=trail.data, policy=POLICY
        ) as run:
            world = RecordedWorld(Instant(), run.recorder())
            started = time.process_time()
            for _ in world.perform_all(calls):
                pass
            recorded = min(recorded, time.process_time() - started)
    each = (recorded - bare) / len(calls) * 1e6
    print(f"recording and chaining: {each:.1f} us a call over {len(calls)} calls (goal 50)")


def verification(root: Path, trail: Trail) -> None:
    """One sealed record, verified several times."""
    key = signing_key(root / "keys")
    with RunDirectory.create(root, run_info(trail, "verify"), trail=trail.data, policy=POLICY) as run:
        recorder = run.recorder()
        executor = TrailExecutor(
            RecordedWorld(Instant(), recorder), trail, principal="executor", chain_head=lambda: recorder.head
        )
        result = executor.execute()
        run.seal(
            meta_trail=result.execution_trail,
            signer=key,
            status=RunStatus.SUCCESS,
            exit_code=0,
            steps=StepCounts(total=result.total_steps, ok=result.total_steps),
            events=tuple(event.to_dict() for event in result.events),
        )
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        checks = verify_record(run.path, trusted=[key.public])
        best = min(best, time.process_time() - started)
        assert all(check.ok for check in checks), checks
    print(f"verifying {recorder.length} calls: {best:.2f} s (goal 5 s for 100000)")


def main(calls: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trail = load(compile_worklog(worklog(calls)))
        sample = [
            Call(step.opcode, step.opcode.name.lower(), step.arguments, step.index)
            for step in trail.steps[1 : min(calls, 20_000) + 1]
        ]
        recording(Path(folder) / "runs", trail, sample)
        verification(Path(folder) / "runs", trail)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)

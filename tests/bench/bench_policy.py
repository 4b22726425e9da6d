"""What the policy costs: decisions a second, admission of a long trail, and the guard's share of a replay.

Run it with ``python tests/bench/bench_policy.py``; it prints one line per figure, with its goal beside it.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from sandbox_runner.policy import GuardedWorld, Policy, admit
from sandbox_runner.trail import METHODS, Trail, compile_worklog, load
from sandbox_runner.world import Call, CallStream, FileWorld, Outcome, Status, World

ROUNDS = 5


class Instant(World):
    """Answers at once, so that what is measured is the guard alone."""

    OUTCOME = Outcome(Status.OK, "file_read: ok")

    def perform_all(self, calls: CallStream, *, stop_on_failure: bool = False) -> Iterator[Outcome]:
        for call in calls:
            if call is not None:
                yield self.OUTCOME


def mixed_steps(count: int) -> list[dict[str, object]]:
    """Writes, reads, edits and searches over fifty files, as in the measured 1,000-step trail."""
    steps: list[dict[str, object]] = []
    for number in range(count):
        path = f"src/file_{number % 50}.py"
        steps.append(
            [
                {"op": "FILE_WRITE", "path": path, "content": f"value = {number}\n" * 12},
                {"op": "FILE_READ", "path": path},
                {"op": "FILE_EDIT", "path": path, "old": f"absent {number}", "new": "x"},
                {"op": "SEARCH_CODE", "pattern": f"value = {number}"},
            ][number % 4 if number >= 50 else 0]
        )
    return steps


def trail_of(count: int) -> Trail:
    begin = {"op": "TRAIL_BEGIN", "agent": "bench", "trail_id": "bench", "ts": 1}
    entries = [begin, *mixed_steps(count), {"op": "TRAIL_END", "status": 0}]
    return load(compile_worklog(entries, format="2"))


def calls_of(count: int) -> list[Call]:
    return [
        Call(
            operation.opcode,
            str(operation.method),
            {name: step[name] for name in step if name != "op"},
            index,
        )
        for index, step in enumerate(mixed_steps(count))
        for operation in METHODS.values()
        if operation.opcode.name == step["op"]
    ]  # type: ignore[misc]


def seconds(work: Callable[[], object]) -> float:
    """Median processor time of one round: the machine may be busy with other things."""
    found = []
    for _ in range(ROUNDS):
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return statistics.median(found)


def guard_share() -> float:
    """The guard's own time for 1,000 steps, over the time that real files take for the same steps."""
    policy = Policy.load("default")
    calls = [call for call in calls_of(1334) if call.method != "search_code"][:1000]
    guard = seconds(lambda: deque(GuardedWorld(Instant(), policy).perform_all(calls), maxlen=0))
    bare = seconds(lambda: deque(Instant().perform_all(calls), maxlen=0))

    def files() -> None:
        with tempfile.TemporaryDirectory() as directory:
            deque(FileWorld(Path(directory)).perform_all(calls), maxlen=0)

    return (guard - bare) / seconds(files)


def main() -> None:
    policy = Policy.load("default").model_copy(update={"budget": {"steps": 10_000_000}})
    calls = calls_of(100_000)
    decide, unguarded = policy.decide, Instant()
    decided = seconds(lambda: [decide(call) for call in calls])
    bare = seconds(lambda: deque(unguarded.perform_all(calls), maxlen=0))
    through = seconds(lambda: deque(GuardedWorld(Instant(), policy).perform_all(calls), maxlen=0))
    trail = trail_of(100_000)
    reading = seconds(lambda: sum(1 for _ in trail.steps))
    admitting = seconds(lambda: admit(trail, policy))
    for line in (
        f"decisions a second                 {len(calls) / decided:12,.0f}   goal 200,000",
        f"guarded calls a second             {len(calls) / (through - bare):12,.0f}   goal 200,000",
        f"admission of 100,000 steps         {admitting:12.2f} s goal 1 s, {reading:.2f} s of it reading",
        f"guard's share of 1,000 file steps  {guard_share():12.1%}   goal 5 %",
    ):
        print(line)


if __name__ == "__main__":
    main()

"""Many trails at once: a bounded number of runs side by side, outcomes as they come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from sandbox_runner.errors import InterruptedRunError, SandboxRunnerError
from sandbox_runner.record import RunRecord
from sandbox_runner.runner import Runner

__all__ = ["run_many"]


def run_many(
    runner: Runner, trails: Sequence[str | Path], *, jobs: int, options: Mapping[str, Any]
) -> Iterator[tuple[int, RunRecord | SandboxRunnerError]]:
    """Replay trails side by side; yield each one's position with its record, or with why there is none.

    One trail that cannot be run keeps no other from running. A KeyboardInterrupt while waiting stops every
    run in progress: what is running closes its record as interrupted and is still yielded, what has not begun
    is not run.

    Args:
        runner: replays each trail; give it a pool's sandboxes to have them start ahead of need.
        trails: files of trails or worklogs.
        jobs: how many run at once.
        options: the keywords of ``Runner.run``, the same for all.
    """
    with ThreadPoolExecutor(jobs, thread_name_prefix="run") as threads:
        places: dict[Future[RunRecord | SandboxRunnerError], int] = {
            threads.submit(_attempt, runner, trail, options): place for place, trail in enumerate(trails)
        }
        waiting = set(places)
        while waiting:
            try:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            except KeyboardInterrupt:
                runner.cancellation.cancel()
                threads.shutdown(wait=False, cancel_futures=True)
                continue
            for future in done:
                yield places[future], _not_begun() if future.cancelled() else future.result()


def _attempt(runner: Runner, trail: str | Path, options: Mapping[str, Any]) -> RunRecord | SandboxRunnerError:
    try:
        return runner.run(trail, **options)
    except SandboxRunnerError as problem:
        return problem


def _not_begun() -> InterruptedRunError:
    return InterruptedRunError("interrupted before this trail was begun")

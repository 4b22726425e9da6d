"""Many trails at once: a bounded number of runs side by side, outcomes as they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

from sandbox_runner.errors import InputError, InterruptedRunError, SandboxRunnerError
from sandbox_runner.fleet.warm import warm_start
from sandbox_runner.policy import Resources
from sandbox_runner.record import RunRecord
from sandbox_runner.runner.inputs import read_input
from sandbox_runner.runner.runner import Runner
from sandbox_runner.sandbox import SandboxSpec

__all__ = ["likely_spec", "run_many"]

_SAMPLE = 32  # trails that are looked at to tell what most of them will ask for


def run_many(
    runner: Runner, trails: Sequence[str | Path], *, jobs: int, options: Mapping[str, Any]
) -> Iterator[tuple[int, RunRecord | SandboxRunnerError]]:
    """Replay trails side by side; yield each one's position with its record, or with why there is none.

    Sandboxes start ahead of need where several trails will be replayed. One trail that cannot be run keeps no
    other from running. A KeyboardInterrupt while waiting stops every run in progress: what is running closes
    its record as interrupted and is still yielded, what has not begun is not run.

    Args:
        runner: replays each trail.
        trails: files of trails or worklogs.
        jobs: how many run at once.
        options: the keywords of ``Runner.run``, the same for all.
    """
    with ExitStack() as stack:
        like = None if options.get("dry_run") or options.get("bind") else likely_spec(runner, trails)
        if like is not None:
            size = min(jobs, len(trails))
            runner = runner.starting_with(stack.enter_context(warm_start(size, like, uses=len(trails))))
        threads = stack.enter_context(ThreadPoolExecutor(jobs, thread_name_prefix="run"))
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
                # What is called off here is never announced to ``wait``.
                done = {future for future in waiting if future.cancelled()}
                waiting -= done
            for future in done:
                yield places[future], _not_begun() if future.cancelled() else future.result()


def likely_spec(runner: Runner, trails: Sequence[str | Path]) -> SandboxSpec | None:
    """What most of the trails will ask for, judged by the first ones; None where fewer than two will run."""
    found: Counter[Resources] = Counter()
    for trail in islice(trails, _SAMPLE):
        try:
            resources = runner.resources_for(read_input(trail))
        except InputError:
            continue  # told when it is its turn
        if resources is not None:
            found[resources] += 1
    if found.total() < 2:
        return None
    ((resources, _),) = found.most_common(1)
    return runner.sandbox_like(resources)


def _attempt(runner: Runner, trail: str | Path, options: Mapping[str, Any]) -> RunRecord | SandboxRunnerError:
    try:
        return runner.run(trail, **options)
    except SandboxRunnerError as problem:
        return problem


def _not_begun() -> InterruptedRunError:
    return InterruptedRunError("interrupted before this trail was begun")

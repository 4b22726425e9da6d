"""Whole replays: against the native world, and as they get longer."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from sandbox_runner.snapshot import SnapshotStore
from sandbox_runner.trail import Trail
from tests.bench.measuring import Figure, median, side_by_side, timed
from tests.bench.natives import natives
from tests.bench.sessions import coding_session, mixed_trail, session_workspace, source_files
from tests.bench.setting import Bench, echo, replay, warm

__all__ = ["growth", "long_run", "mixed", "session"]


def cold(bench: Bench, trail: Trail, base: tuple[SnapshotStore, str]) -> float:
    """Seconds of a replay with its sandbox's start and removal."""
    began = time.perf_counter()
    with warm(bench, trail, base) as sandbox:
        replay(sandbox, trail, bench.folder())
    return time.perf_counter() - began


def mixed(bench: Bench) -> Iterator[Figure]:
    """1,000 steps against the native world, warm and cold.

    Native is the fastest without us: the same calls in this process, with the faster of grep and ripgrep.
    """
    trail, source = mixed_trail(1000), source_files(bench.folder())
    base = bench.snapshot(source)

    def ours_warm() -> float:
        with warm(bench, trail, base) as sandbox:
            return timed(lambda: replay(sandbox, trail, bench.folder()))

    theirs = natives(bench, trail, source)
    pair = side_by_side(ours_warm, theirs, bench.rounds)
    yield Figure("1,000 steps, everything on, warm / fastest native", pair.ratio, goal=0.8, note=pair.note)
    pair = side_by_side(lambda: cold(bench, trail, base), theirs, bench.rounds)
    yield Figure(
        "the same, cold start and removal included / fastest native", pair.ratio, goal=1.5, note=pair.note
    )
    with echo(bench) as ping:

        def bare() -> float:
            return timed(lambda: [ping() for _ in range(1000)])

        pair = side_by_side(ours_warm, bare, bench.rounds)
    yield Figure("the same, warm / 1,000 round trips over the bare stream", pair.ratio, note=pair.note)


def session(bench: Bench) -> Iterator[Figure]:
    """A coding session with three test runs and two commits.

    Native is the fastest without us: as above, and pytest loads no plugin that is not asked for.
    """
    trail, source = coding_session(), session_workspace(bench.folder() / "w")
    base = bench.snapshot(source)

    def ours() -> float:
        with warm(bench, trail, base) as sandbox:
            time.sleep(0.7)  # a pool's sandbox has had the time to load pytest
            return timed(lambda: replay(sandbox, trail, bench.folder()))

    theirs = natives(bench, trail, source)
    pair = side_by_side(ours, theirs, bench.rounds)
    yield Figure(
        "session, 3 test runs and 2 commits, warm / fastest native", pair.ratio, goal=0.5, note=pair.note
    )
    pair = side_by_side(lambda: cold(bench, trail, base), theirs, bench.rounds)
    yield Figure("the same, cold start and removal included / fastest native", pair.ratio, note=pair.note)


def growth(bench: Bench) -> Iterator[Figure]:
    """Time per step and host memory as trails get longer."""
    source = source_files(bench.folder())
    base = bench.snapshot(source)
    per_step = {}
    for steps in (10, 1_000, 100_000):
        trail = mixed_trail(steps)
        taken = []
        for _ in range(1 if steps > 1_000 else bench.rounds):
            with warm(bench, trail, base) as sandbox:
                began = time.perf_counter()
                replay(sandbox, trail, bench.folder())
                taken.append(time.perf_counter() - began)
        per_step[steps] = median(taken) / steps
    note = ", ".join(f"{steps:,}: {seconds * 1e6:.0f} µs" for steps, seconds in per_step.items())
    ratio = per_step[100_000] / per_step[1_000]
    yield Figure("time per step, 100,000 / 1,000 steps", ratio, goal=1.1, note=note)


def long_run(bench: Bench) -> Iterator[Figure]:
    """Host memory of a long run from the trail's file to the sealed record, in a process of its own."""
    folder, steps = bench.folder(), 100_000
    (folder / "trail.flux").write_bytes(mixed_trail(steps).data)
    source = source_files(folder / "w")
    words = [folder / "trail.flux", source, folder / "state", bench.runtime]
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.long_run", *words],
        stdout=subprocess.PIPE,
        check=True,
        timeout=3600,
    )
    name = f"host memory of a run of {steps:,} steps, peak"
    yield Figure(name, float(done.stdout), unit="MB", goal=300)

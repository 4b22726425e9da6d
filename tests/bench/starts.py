"""Sandboxes as such: how fast they start, how many a second, what they hold."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from sandbox_runner.replay import TrailExecutor
from sandbox_runner.sandbox import ContainerWorld, Sandbox, SandboxPool
from tests.bench.measuring import Figure, median, side_by_side, timed
from tests.bench.sessions import coding_session, one_read, source_files
from tests.bench.setting import Bench, bare_run, bare_start

__all__ = ["disposable", "memory", "start"]


def start(bench: Bench) -> Iterator[Figure]:
    """From the request to the guest's first answer.

    ``docker run --rm`` is what everybody would type; the fastest without us is the Engine's own interface.
    """
    trail = one_read()
    spec = bench.spec(trail)

    def ours() -> float:
        with Sandbox.start(spec, engine=bench.engine) as sandbox:
            return sandbox.started_s

    # What it is compared with ends on steps of 50 ms: few rounds would tell of those and not of the median.
    pair = side_by_side(ours, lambda: timed(lambda: bare_run(bench)), 5 * bench.rounds)
    yield Figure("start to first answer, cold / docker run --rm", pair.ratio, goal=0.5, note=pair.note)
    pair = side_by_side(ours, lambda: bare_start(bench, remove=False), 5 * bench.rounds)
    yield Figure("the same / a bare container over the Engine's interface", pair.ratio, note=pair.note)
    taken = []
    with SandboxPool(3, spec, engine=bench.engine) as pool:
        for _ in range(max(5, bench.rounds)):
            end = time.monotonic() + 60
            while pool.ready < 3 and time.monotonic() < end:
                time.sleep(0.05)
            began = time.perf_counter()
            sandbox = pool.take("bench", spec.guest)
            taken.append(time.perf_counter() - began)
            pool.retire(sandbox)
    yield Figure("start to first answer from the pool", median(taken) * 1e3, unit="ms", goal=10)


def disposable(bench: Bench) -> Iterator[Figure]:
    """Replays per second, each in a fresh container, one at a time and four at once.

    As for the start: against what everybody would type, and against the fastest without us.
    """
    trail, source = one_read(), source_files(bench.folder())
    base, spec = bench.snapshot(source), bench.spec(one_read())
    many = 40

    def rate(work: Callable[[], object], at_once: int) -> float:
        with ThreadPoolExecutor(at_once) as threads:
            return many / timed(lambda: list(threads.map(lambda _: work(), range(many))))

    for at_once, goal in ((1, 2.0), (4, 1.5)):
        ratios, rates, bare = [], [], []
        for _ in range(bench.rounds):
            with SandboxPool(at_once + 1, spec, engine=bench.engine, uses=many) as pool:

                def ours(pool: SandboxPool = pool) -> None:
                    sandbox = pool.take("bench", spec.guest)
                    try:
                        base[0].fill(base[1], sandbox)
                        TrailExecutor(ContainerWorld(sandbox), trail).execute()
                    finally:
                        pool.retire(sandbox)

                mine = rate(ours, at_once)
            other = rate(lambda: bare_run(bench), at_once)
            bare.append(mine / rate(lambda: bare_start(bench, remove=True), at_once))
            ratios.append(mine / other)
            rates.append((mine, other))
        yield Figure(
            f"disposable replays/s, {at_once} at once / docker run --rm",
            median(ratios),
            goal=goal,
            at_most=False,
            note=f"{median([mine for mine, _ in rates]):.1f} against {median([it for _, it in rates]):.1f}/s",
        )
        yield Figure(
            f"the same, {at_once} at once / bare containers over the Engine's interface", median(bare)
        )


def memory(bench: Bench) -> Iterator[Figure]:
    """What an idle sandbox holds in its memory cgroup."""
    for words, trail, goal in (
        ("without the test server", one_read(), 12.0),
        ("with the test server", coding_session(), 40.0),
    ):
        with Sandbox.start(bench.spec(trail), engine=bench.engine) as sandbox:
            time.sleep(1.5)
            stats = bench.engine.api.stats(sandbox.container_id, stream=False)["memory_stats"]
            inside = stats.get("stats", {})
            idle = inside.get("rss", inside.get("anon", stats.get("usage", 0)))
        yield Figure(f"idle sandbox {words}", idle / 2**20, unit="MiB", goal=goal)

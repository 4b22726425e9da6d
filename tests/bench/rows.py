"""The rows of the table: each function measures one thing and gives its figures."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox_runner.policy import GuardedWorld, Policy, admit, guest_config, withhold
from sandbox_runner.record import (
    PolicyInfo,
    RecordedWorld,
    RunDirectory,
    RunInfo,
    TrailInfo,
    new_run_id,
    now_text,
)
from sandbox_runner.replay import TrailExecutor, TrailResult
from sandbox_runner.sandbox import ContainerWorld, Engine, Sandbox, SandboxPool, SandboxSpec, default_tag
from sandbox_runner.snapshot import DirectorySource, SnapshotStore
from sandbox_runner.trail import Trail
from sandbox_runner.world import FileWorld
from tests.bench.measuring import Figure, median, percentile, side_by_side, timed
from tests.bench.sessions import coding_session, mixed_trail, one_read, session_workspace, source_files

__all__ = ["ROWS", "Bench"]

POLICY = Policy.load("default")
WIDE = POLICY.model_copy(
    update={"budget": POLICY.budget.model_copy(update={"steps": 10**6, "write_bytes": 2**40})}
)


@dataclass(frozen=True, slots=True)
class Bench:
    """What every row gets."""

    engine: Engine
    runtime: str
    rounds: int
    scratch: Path

    def spec(self, trail: Trail, *, tests: bool = False) -> SandboxSpec:
        """The sandbox that the runner would give this trail."""
        privileges = withhold(WIDE, admit(trail, WIDE).manifest)
        guest = guest_config(WIDE, principal="bench", privileges=privileges)
        return SandboxSpec(runtime=self.runtime, resources=privileges.resources, guest=guest)

    def folder(self) -> Path:
        """A new empty folder."""
        return Path(tempfile.mkdtemp(dir=self.scratch))

    def snapshot(self, source: Path) -> tuple[SnapshotStore, str]:
        """A directory as the base of runs."""
        store = SnapshotStore(self.folder() / "store")
        return store, store.capture(DirectorySource(source)).digest


def replay(sandbox: Sandbox, trail: Trail, folder: Path) -> TrailResult:
    """A replay with everything on: guard, structured log, chain, events, meta-trail."""
    info = RunInfo(
        run_id=new_run_id(),
        created_at=now_text(),
        trail=TrailInfo(
            sha256=trail.sha256, bytes=len(trail.data), version=trail.version, steps=len(trail.steps)
        ),
        policy=PolicyInfo(name=WIDE.name, sha256=WIDE.sha256),
    )
    with RunDirectory.create(folder, info, trail=trail.data, policy=WIDE.canonical()) as directory:
        recorder = directory.recorder()
        world = RecordedWorld(GuardedWorld(ContainerWorld(sandbox), WIDE), recorder)
        result = TrailExecutor(world, trail, principal="bench", chain_head=lambda: recorder.head).execute()
    if not result.success:
        failed = next(event for event in result.events if event.failed)
        raise RuntimeError(f"a measured step failed: {failed.result}")
    return result


@contextmanager
def warm(bench: Bench, trail: Trail, base: tuple[SnapshotStore, str]) -> Iterator[Sandbox]:
    """A started sandbox with the base in its workspace."""
    with Sandbox.start(bench.spec(trail), engine=bench.engine) as sandbox:
        base[0].fill(base[1], sandbox)
        yield sandbox


def cold(bench: Bench, trail: Trail, base: tuple[SnapshotStore, str]) -> float:
    """Seconds of a replay with its sandbox's start and removal."""
    began = time.perf_counter()
    with warm(bench, trail, base) as sandbox:
        replay(sandbox, trail, bench.folder())
    return time.perf_counter() - began


def native(trail: Trail, source: Path, folder: Path) -> float:
    """Seconds of the unsandboxed replay, backups off."""
    shutil.copytree(source, folder / "w")
    world = FileWorld(base_dir=folder / "w", backup_on_write=False)
    taken = timed(TrailExecutor(world, trail, principal="bench").execute)
    shutil.rmtree(folder)
    return taken


def mixed(bench: Bench) -> Iterator[Figure]:
    """1,000 steps against the native world, warm and cold."""
    trail, source = mixed_trail(1000), source_files(bench.folder())
    base = bench.snapshot(source)

    def ours_warm() -> float:
        with warm(bench, trail, base) as sandbox:
            return timed(lambda: replay(sandbox, trail, bench.folder()))

    def theirs() -> float:
        return native(trail, source, bench.folder())

    pair = side_by_side(ours_warm, theirs, bench.rounds)
    yield Figure("1,000 steps, everything on, warm / native", pair.ratio, goal=0.8, note=pair.note)
    pair = side_by_side(lambda: cold(bench, trail, base), theirs, bench.rounds)
    yield Figure("the same, cold start and removal included / native", pair.ratio, goal=1.5, note=pair.note)


def session(bench: Bench) -> Iterator[Figure]:
    """A coding session with three test runs and two commits."""
    trail, source = coding_session(), session_workspace(bench.folder() / "w")
    base = bench.snapshot(source)

    def ours() -> float:
        with warm(bench, trail, base) as sandbox:
            time.sleep(0.7)  # a pool's sandbox has had the time to load pytest
            return timed(lambda: replay(sandbox, trail, bench.folder()))

    def theirs() -> float:
        return native(trail, source, bench.folder())

    pair = side_by_side(ours, theirs, bench.rounds)
    yield Figure("session, 3 test runs and 2 commits, warm / native", pair.ratio, goal=0.5, note=pair.note)
    pair = side_by_side(lambda: cold(bench, trail, base), theirs, bench.rounds)
    yield Figure("the same, cold start and removal included / native", pair.ratio, note=pair.note)


def test_run(bench: Bench) -> Iterator[Figure]:
    """One trivial test, warm, against an exec of pytest in a running container."""
    trail, source = coding_session(), session_workspace(bench.folder() / "w")
    base = bench.snapshot(source)
    api = bench.engine.api
    container = api.create_container(
        default_tag(),
        ["sleep", "600"],
        host_config=api.create_host_config(runtime=bench.runtime),
        volumes=["/w"],
    )["Id"]
    api.start(container)
    write = ["sh", "-c", "mkdir -p /w && echo 'def test_one(): assert True' > /w/test_one.py"]
    api.exec_start(api.exec_create(container, write)["Id"])
    try:
        with warm(bench, trail, base) as sandbox:
            world = ContainerWorld(sandbox)
            world.file_write("tests/test_one.py", "def test_one(): assert True\n")

            def ours() -> float:
                return timed(lambda: world.test_run("tests/test_one.py", 1))

            def theirs() -> float:
                made = api.exec_create(container, ["python3", "-m", "pytest", "-q", "/w/test_one.py"])
                return timed(lambda: api.exec_start(made["Id"]))

            pair = side_by_side(ours, theirs, bench.rounds)
    finally:
        api.remove_container(container, force=True, v=True)
    yield Figure("one TEST_RUN, warm / docker exec pytest", pair.ratio, goal=0.25, note=pair.note)


def round_trip(bench: Bench) -> Iterator[Figure]:
    """Single calls, one after the other, against an echo of the same size over the same kind of stream."""
    trail, source = mixed_trail(8), source_files(bench.folder())
    base = bench.snapshot(source)
    calls: dict[str, Callable[[ContainerWorld], str]] = {
        "FILE_READ": lambda world: world.file_read("src/module_0.py"),
        "FILE_WRITE": lambda world: world.file_write("src/new.py", "x = 1\n" * 50),
        "FILE_EDIT": lambda world: world.file_edit("src/module_1.py", "value * 1\n", "value * 1\n"),
        "SEARCH_CODE": lambda world: world.search_code("function_7"),
        "TRUST_UPDATE": lambda world: world.trust_update("bob", 0.0),
    }
    taken: dict[str, list[float]] = {name: [] for name in calls}
    bare: list[float] = []
    with warm(bench, trail, base) as sandbox, echo(bench) as ping:
        world = ContainerWorld(sandbox)
        for _ in range(300):
            bare.append(timed(ping))
            for name, call in calls.items():
                taken[name].append(timed(lambda call=call: call(world)))
    floor = median(bare)
    note = f"{floor * 1e3:.3f} ms bare"
    for name, values in taken.items():
        goal = 1.5 if name == "FILE_READ" else None
        p99 = percentile(values, 0.99) * 1e3
        yield Figure(
            f"p50 of one {name}, not pipelined / bare stream round trip",
            median(values) / floor,
            goal=goal,
            note=f"{median(values) * 1e3:.3f} ms, p99 {p99:.2f}; {note}",
        )


@contextmanager
def echo(bench: Bench) -> Iterator[Callable[[], None]]:
    """A container that sends back what it gets, attached the same way; the bare stream."""
    api = bench.engine.api
    made = api.create_container(
        default_tag(),
        ["cat"],
        stdin_open=True,
        network_disabled=True,
        host_config=api.create_host_config(runtime=bench.runtime, log_config={"type": "none"}),
    )["Id"]
    attachment = bench.engine.attach(made)
    api.start(made)
    connection = attachment.connection
    connection.setblocking(True)
    payload = b"x" * 150

    def ping() -> None:
        connection.sendall(payload)
        left = len(payload) + 8
        while left > 0:
            left -= len(connection.recv(4096))

    try:
        ping()
        yield ping
    finally:
        attachment.close()
        api.remove_container(made, force=True)


def bare_run(bench: Bench) -> None:
    """What everybody would type."""
    words = ["docker", "run", "--rm", "--network", "none", "--runtime", bench.runtime, default_tag(), "true"]
    subprocess.run(words, check=True, timeout=60)


def start(bench: Bench) -> Iterator[Figure]:
    """From the request to the guest's first answer."""
    trail = one_read()
    spec = bench.spec(trail)

    def ours() -> float:
        with Sandbox.start(spec, engine=bench.engine) as sandbox:
            return sandbox.started_s

    pair = side_by_side(ours, lambda: timed(lambda: bare_run(bench)), bench.rounds)
    yield Figure("start to first answer, cold / docker run --rm", pair.ratio, goal=0.5, note=pair.note)
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
    """Replays per second, each in a fresh container, one at a time and four at once."""
    trail, source = one_read(), source_files(bench.folder())
    base, spec = bench.snapshot(source), bench.spec(one_read())
    many = 40

    def rate(work: Callable[[], object], at_once: int) -> float:
        with ThreadPoolExecutor(at_once) as threads:
            return many / timed(lambda: list(threads.map(lambda _: work(), range(many))))

    for at_once, goal in ((1, 2.0), (4, 1.5)):
        ratios = []
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
            ratios.append(mine / rate(lambda: bare_run(bench), at_once))
        yield Figure(
            f"disposable replays/s, {at_once} at once / docker run --rm",
            statistics.median(ratios),
            goal=goal,
            at_most=False,
            note=f"{mine:.1f}/s in the last round",
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


ROWS: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "mixed": mixed,
    "session": session,
    "test-run": test_run,
    "round-trip": round_trip,
    "start": start,
    "disposable": disposable,
    "memory": memory,
    "growth": growth,
    "long-run": long_run,
}

"""Single calls: those that touch files against the bare stream, those that start programs against others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from sandbox_runner.sandbox import ContainerWorld, default_tag
from sandbox_runner.world import World
from tests.bench.measuring import Figure, median, percentile, side_by_side, timed
from tests.bench.natives import lean_world
from tests.bench.sessions import coding_session, mixed_trail, session_workspace, source_files
from tests.bench.setting import Bench, echo, warm

__all__ = ["round_trip", "slow_calls", "test_run"]


def test_run(bench: Bench) -> Iterator[Figure]:
    """One trivial test, warm, against an exec of pytest in a running container.

    The container runs already and pytest loads no plugin and writes no cache: no exec is faster.
    """
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

            def theirs(*options: str) -> float:
                words = ["python3", "-m", "pytest", "-q", *options, "/w/test_one.py"]
                lean = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} if options else None
                made = api.exec_create(container, words, environment=lean)
                return timed(lambda: api.exec_start(made["Id"]))

            others = {"as it is": theirs, "without plugins": lambda: theirs("-p", "no:cacheprovider")}
            pair = side_by_side(ours, others, bench.rounds)
    finally:
        api.remove_container(container, force=True, v=True)
    yield Figure("one TEST_RUN, warm / fastest docker exec pytest", pair.ratio, goal=0.25, note=pair.note)


def round_trip(bench: Bench) -> Iterator[Figure]:
    """Single calls, one after the other, against an echo of the same size over the same kind of stream.

    Nothing that asks a container and waits can be faster than a bare echo of it.
    """
    trail, source = mixed_trail(8), source_files(bench.folder())
    base = bench.snapshot(source)
    calls: dict[str, Callable[[ContainerWorld], str]] = {
        "FILE_READ": lambda world: world.file_read("src/module_0.py"),
        "FILE_WRITE": lambda world: world.file_write("src/new.py", "x = 1\n" * 50),
        "FILE_EDIT": lambda world: world.file_edit("src/module_1.py", "value * 1\n", "value * 1\n"),
        "SEARCH_CODE": lambda world: world.search_code("function_7"),
        "TRUST_UPDATE": lambda world: world.trust_update("bob", 0.0),
    }
    taken: dict[str, list[list[float]]] = {name: [] for name in calls}
    bare: list[list[float]] = []
    for _ in range(bench.rounds):  # where the kernel puts the processes decides much: new ones each time
        with warm(bench, trail, base) as sandbox, echo(bench) as ping:
            world = ContainerWorld(sandbox)
            for values in (bare, *taken.values()):
                values.append([])
            for _ in range(200):
                bare[-1].append(timed(ping))
                for name, call in calls.items():
                    taken[name][-1].append(timed(partial(call, world)))
    floors = [median(values) for values in bare]
    for name, rounds in taken.items():
        ratios = [median(values) / floor for values, floor in zip(rounds, floors, strict=True)]
        every = [value for values in rounds for value in values]
        times = f"{median(every) * 1e3:.3f} ms, p99 {percentile(every, 0.99) * 1e3:.2f}"
        yield Figure(
            f"p50 of one {name}, not pipelined / bare stream round trip",
            median(ratios),
            goal=1.5 if name == "FILE_READ" else None,
            note=f"{times}; {median(floors) * 1e3:.3f} ms bare",
        )


def slow_calls(bench: Bench) -> Iterator[Figure]:
    """The operations that start a program, in a warm sandbox against the native world.

    Native is the fastest without us: git and a pytest without plugins as processes of this machine.
    """
    trail, source = coding_session(), session_workspace(bench.folder() / "w")
    base, many = bench.snapshot(source), 3 * bench.rounds
    calls: dict[str, Callable[[World], str]] = {
        "GIT_COMMIT": lambda world: world.git_commit("0", "a commit"),
        "TEST_RUN": lambda world: world.test_run("tests/test_wrap.py", 3),
    }
    taken: dict[tuple[str, bool], list[float]] = {}
    with warm(bench, trail, base) as sandbox, lean_world(bench.folder(), source) as native:
        worlds = {True: ContainerWorld(sandbox), False: native}
        for number in range(many + 1):
            for name, call in calls.items():
                for sandboxed, world in worlds.items():
                    world.file_write("textkit/number.py", f"NUMBER = {number}\n")
                    taken.setdefault((name, sandboxed), []).append(timed(partial(call, world)))
    for name in calls:
        ours, theirs = taken[name, True][1:], taken[name, False][1:]
        p99, native_ms = percentile(ours, 0.99) * 1e3, median(theirs) * 1e3
        note = f"{median(ours) * 1e3:.1f} ms, p99 {p99:.1f}; {native_ms:.1f} ms native"
        yield Figure(f"p50 of one {name}, warm / native", median(ours) / median(theirs), note=note)

"""The guard over a world that pulls ahead decides exactly as over one that takes a call at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sandbox_runner.policy import GuardedWorld, Policy
from sandbox_runner.trail import METHODS
from sandbox_runner.world import Call, CallStream, Outcome, Status, World

POLICY = Policy.load("default")
KILO = "x" * 1000


class WindowedWorld(World):
    """Pulls up to ``window`` calls before it performs the first; the answer depends on the call alone."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.performed: list[int] = []

    def perform_all(self, calls: CallStream, *, stop_on_failure: bool = False) -> Iterator[Outcome]:
        waiting: deque[Call] = deque()
        source = iter(calls)
        ended = flushing = False
        while not ended or waiting:
            while not ended and not flushing and len(waiting) < self.window:
                try:
                    call = next(source)
                except StopIteration:
                    ended = True
                    break
                if call is None:
                    flushing = True
                else:
                    waiting.append(call)
            if waiting:
                outcome = self.perform_one(waiting.popleft())
                yield outcome
                if stop_on_failure and outcome.status.stops:
                    return
            else:
                flushing = False

    def perform_one(self, call: Call) -> Outcome:
        self.performed.append(call.step)
        kind = call.step % 7
        status = Status.FAILED if kind == 6 else Status.OK
        output = KILO * (call.step % 5 * 100) if call.method == "test_run" else ""
        return Outcome(status, f"{call.method}: {call.step}", meta={"output": output} if output else {})


def call_of(method: str, step: int) -> Call:
    arguments = {
        "file_write": {"path": "a", "content": KILO},
        "file_read": {"path": "a"},
        "file_edit": {"path": ".git/config", "old": "a", "new": "b"},  # refused whatever came before
        "test_run": {"test_path": "tests", "expected": 0},
        "bottle_drop": {"target": "bob", "content": KILO},
    }[method]
    return Call(METHODS[method].opcode, method, arguments, step)


METHODS_USED = st.sampled_from(["file_write", "file_read", "file_edit", "test_run", "bottle_drop"])
STREAMS = st.lists(METHODS_USED | st.none(), max_size=40).map(
    lambda methods: [method and call_of(method, step) for step, method in enumerate(methods)]
)
BUDGETS = st.fixed_dictionaries(
    {},
    optional={
        "steps": st.integers(0, 30),
        "output_bytes": st.integers(0, 2_000_000),
        "write_bytes": st.integers(0, 9_000),
        "per_opcode": st.dictionaries(st.sampled_from(["FILE_READ", "TEST_RUN"]), st.integers(0, 5)),
    },
)


def run(
    window: int, budget: dict[str, object], stream: list[Call | None], *, stop: bool
) -> tuple[list[Outcome], list[int]]:
    policy = POLICY.narrowed(budget=budget)
    inner = WindowedWorld(window)
    outcomes = list(GuardedWorld(inner, policy, now=lambda: 0.0).perform_all(stream, stop_on_failure=stop))
    return outcomes, inner.performed


def one_at_a_time(
    budget: dict[str, object], stream: list[Call | None], *, stop: bool
) -> tuple[list[Outcome], list[int]]:
    """What must come out: each call made on its own, and none after the first that stops."""
    inner = WindowedWorld(1)
    guard = GuardedWorld(inner, POLICY.narrowed(budget=budget), now=lambda: 0.0)
    outcomes: list[Outcome] = []
    for call in stream:
        if call is not None:
            outcomes.append(guard.perform(call))
            if stop and outcomes[-1].status.stops:
                break
    return outcomes, inner.performed


@settings(max_examples=400, deadline=None)
@given(STREAMS, BUDGETS, st.integers(1, 12), st.booleans())
@example([call_of("test_run", step) for step in (4, 4, 1)], {"output_bytes": 500_000}, 8, False)
def test_a_window_changes_no_decision(
    stream: list[Call | None], budget: dict[str, object], window: int, stop: bool
) -> None:
    assert run(window, budget, stream, stop=stop) == one_at_a_time(budget, stream, stop=stop)


@settings(max_examples=200, deadline=None)
@given(STREAMS, BUDGETS, st.integers(1, 12))
def test_every_call_has_one_outcome_in_order_and_a_refused_one_is_never_performed(
    stream: list[Call | None], budget: dict[str, object], window: int
) -> None:
    outcomes, performed = run(window, budget, stream, stop=False)
    made = [call for call in stream if call is not None]
    assert len(outcomes) == len(made)
    allowed = [
        call.step
        for call, outcome in zip(made, outcomes, strict=True)
        if outcome.status is not Status.REFUSED
    ]
    assert performed == allowed
    for call, outcome in zip(made, outcomes, strict=True):
        if outcome.status is Status.REFUSED:
            assert outcome.text == f"{call.method}: ERROR refused: {outcome.details['rule']}"
        else:
            assert outcome.text == f"{call.method}: {call.step}"


@settings(max_examples=200, deadline=None)
@given(STREAMS, BUDGETS, st.integers(1, 12))
def test_a_flush_that_is_asked_for_delivers_everything_first(
    stream: list[Call | None], budget: dict[str, object], window: int
) -> None:
    delivered: list[Outcome] = []
    asked: list[tuple[int, int]] = []

    def source() -> Iterator[Call | None]:
        made = 0
        for call in stream:
            yield call
            if call is None:
                asked.append((made, len(delivered)))
            else:
                made += 1

    policy = POLICY.narrowed(budget=budget)
    delivered.extend(GuardedWorld(WindowedWorld(window), policy).perform_all(source()))
    assert all(made == seen for made, seen in asked)


def test_the_inner_world_still_pulls_ahead() -> None:
    pulled: list[int] = []

    def source() -> Iterator[Call]:
        for step in range(20):
            pulled.append(step)
            yield call_of("file_read", step)

    outcomes = GuardedWorld(WindowedWorld(8), POLICY).perform_all(source())
    next(outcomes)
    assert len(pulled) == 8

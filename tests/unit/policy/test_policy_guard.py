from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sandbox_runner.errors import SandboxError
from sandbox_runner.policy import GuardedWorld, Policy, Violation
from sandbox_runner.trail import METHODS
from sandbox_runner.world import Call, CallStream, MockWorld, Outcome, Status, World


def call(method: str, step: int = -1, **arguments: Any) -> Call:
    return Call(METHODS[method].opcode, method, arguments, step)


def policy_of(**keys: Any) -> Policy:
    return Policy.load("default").model_copy(update=keys)


def rules(outcomes: list[Outcome]) -> list[str]:
    return [outcome.details.get("rule", "") for outcome in outcomes]


WRITE = call("file_write", path="a", content="12345")
READ = call("file_read", path="a")
OUTSIDE = call("file_read", path="../a")


def test_a_refusal_carries_its_rule_and_reason_in_text_and_details() -> None:
    outcome = GuardedWorld(MockWorld(), Policy.load("default")).perform(OUTSIDE)
    assert outcome.status is Status.REFUSED
    assert outcome.text == "file_read: ERROR refused: paths.form"
    assert outcome.details == {
        "rule": "paths.form",
        "message": "the path '../a' is unusable: it leads out of the workspace",
    }


def test_the_named_methods_are_guarded_too() -> None:
    inner = MockWorld()
    guard = GuardedWorld(inner, Policy.load("default"))
    assert guard.file_write("a", "x") == "file_write: ok"
    assert guard.file_write(".git/config", "x") == "file_write: ERROR refused: paths.git"
    assert [made["method"] for made in inner.calls] == ["file_write"]


def test_budgets_run_over_all_calls_made_through_one_guard() -> None:
    guard = GuardedWorld(MockWorld(), policy_of(budget={"steps": 3, "write_bytes": 12}))
    assert rules([guard.perform(WRITE), guard.perform(WRITE), guard.perform(WRITE)]) == [
        "",
        "",
        "budget.write_bytes",
    ]
    assert rules([guard.perform(READ), guard.perform(READ)]) == ["", "budget.steps"]


def test_the_wall_clock_starts_with_the_first_call_and_then_refuses_all() -> None:
    times = iter([100.0, 109.9, 110.0, 111.0])
    guard = GuardedWorld(MockWorld(), policy_of(budget={"wall_clock_s": 10}), now=lambda: next(times))
    assert rules([guard.perform(READ) for _ in range(4)]) == [
        "",
        "",
        "budget.wall_clock_s",
        "budget.wall_clock_s",
    ]
    assert rules([guard.perform(OUTSIDE)]) == ["paths.form"]  # judged before the clock is asked


class Talkative(MockWorld):
    """Prints ``size`` bytes in every test run."""

    size = 0

    def perform_all(self, calls: CallStream, *, stop_on_failure: bool = False) -> Iterator[Outcome]:
        for outcome in super().perform_all(calls, stop_on_failure=stop_on_failure):
            yield Outcome(outcome.status, outcome.text, {}, 0, {"output": "x" * self.size})


def test_output_is_counted_and_ends_the_run_when_it_is_used_up() -> None:
    inner = Talkative()
    inner.size = 600_000
    guard = GuardedWorld(inner, policy_of(budget={"output_bytes": 1_000_000}))
    tests = call("test_run", test_path="tests", expected=0)
    assert rules([guard.perform(tests) for _ in range(3)]) == ["", "", "budget.output_bytes"]
    assert len(inner.calls) == 2


def test_one_call_counts_no_more_output_than_its_reserve() -> None:
    inner = Talkative()
    inner.size = 10_000_000  # a world that lies about its own limits
    guard = GuardedWorld(inner, policy_of(budget={"output_bytes": 2**20 + 1}))
    tests = call("test_run", test_path="tests", expected=0)
    assert rules([guard.perform(tests) for _ in range(3)]) == ["", "", "budget.output_bytes"]


def test_steps_that_admission_refused_stay_refused() -> None:
    inner = MockWorld()
    refusals = {7: Violation(7, "FILE_READ", "budget.steps", "a run may have 3 steps")}
    guard = GuardedWorld(inner, Policy.load("default"), refusals=refusals)
    outcomes = list(guard.perform_all([call("file_read", 6, path="a"), call("file_read", 7, path="a")]))
    assert rules(outcomes) == ["", "budget.steps"]
    assert len(inner.calls) == 1


def test_a_refusal_stops_a_run_that_stops_on_failure() -> None:
    inner = MockWorld()
    guard = GuardedWorld(inner, Policy.load("default"))
    outcomes = list(guard.perform_all([READ, OUTSIDE, READ], stop_on_failure=True))
    assert rules(outcomes) == ["", "paths.form"]
    assert len(inner.calls) == 1


def test_a_refusal_is_delivered_before_the_next_call_is_pulled_where_nothing_is_under_way() -> None:
    pulled = []

    def source() -> Iterator[Call]:
        for made in (OUTSIDE, OUTSIDE, READ):
            pulled.append(made)
            yield made

    outcomes = GuardedWorld(MockWorld(), Policy.load("default")).perform_all(source())
    for expected in (1, 2, 3):
        next(outcomes)
        assert len(pulled) == expected


class Eager(World):
    """Pulls everything that it is given before it answers."""

    def perform_all(self, calls: CallStream, *, stop_on_failure: bool = False) -> Iterator[Outcome]:
        for made in [made for made in calls if made is not None]:
            yield Outcome(Status.OK, f"{made.method}: ok")


def test_refusals_behind_a_call_under_way_do_not_pile_up() -> None:
    pulled = 0

    def source() -> Iterator[Call]:
        nonlocal pulled
        for made in (READ, *[OUTSIDE] * 3000, READ):
            pulled += 1
            yield made

    outcomes = GuardedWorld(Eager(), Policy.load("default")).perform_all(source())
    assert next(outcomes).status is Status.OK
    assert pulled <= 256
    assert rules([*outcomes]) == ["paths.form"] * 3000 + [""]


class Rogue(World):
    """Answers too often or too rarely."""

    def __init__(self, answers: int) -> None:
        self.answers = answers

    def perform_all(self, calls: CallStream, *, stop_on_failure: bool = False) -> Iterator[Outcome]:
        list(calls)
        for _ in range(self.answers):
            yield Outcome(Status.OK, "ok")


@pytest.mark.parametrize("answers", [0, 1, 3])
def test_a_world_that_does_not_answer_every_call_once_is_a_broken_sandbox(answers: int) -> None:
    guard = GuardedWorld(Rogue(answers), Policy.load("default"))
    with pytest.raises(SandboxError, match="outcome"):
        list(guard.perform_all([READ, READ]))


def test_a_world_that_ends_early_is_a_broken_sandbox() -> None:
    class Lazy(World):
        def perform_all(self, calls: CallStream, *, stop_on_failure: bool = False) -> Iterator[Outcome]:
            return iter(())

    with pytest.raises(SandboxError, match="outcome"):
        list(GuardedWorld(Lazy(), Policy.load("default")).perform_all([READ]))


def test_a_cache_that_is_full_changes_no_decision_and_long_texts_are_not_kept() -> None:
    judge = Policy.load("default").judge
    for number in range(20_000):
        assert judge.judge(READ.opcode, {"path": f"src/{number}.py"}).allowed
    assert len(judge._cache) <= 16_384
    kept = len(judge._cache)
    assert not judge.judge(READ.opcode, {"path": "x" * 2_000_000}).allowed
    assert len(judge._cache) == kept

"""``GuardedWorld``: every call judged again, budgets included, before the world behind it sees anything."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol

from sandbox_runner.arguments import checked
from sandbox_runner.errors import SandboxError
from sandbox_runner.policy.budget import Meter, exhausted
from sandbox_runner.policy.policy import Policy
from sandbox_runner.policy.rules import Decision, byte_length
from sandbox_runner.policy.unsafe import warn_if_unsafe
from sandbox_runner.trail.operations import TrailOpcodes
from sandbox_runner.world.call import Call, Outcome, Status
from sandbox_runner.world.interface import CallStream, World

__all__ = ["OUTPUT_OF_ONE_CALL", "GuardedWorld", "Refusal", "output_bytes", "refused_outcome"]

OUTPUT_OF_ONE_CALL: Final = 2**20
"""Most bytes that one call of a program (tests, spells) counts against ``budget.output_bytes``."""

_TEXT_OF_ONE_CALL: Final = 4096
_PROGRAMS: Final = frozenset({TrailOpcodes.TEST_RUN, TrailOpcodes.SPELL_CAST})
_AHEAD: Final = 256
"""Outcomes, refusals included, that may wait for delivery before the guard makes the inner world catch up."""


def output_bytes(call: Call, outcome: Outcome) -> int:
    """What an outcome counts against ``budget.output_bytes``: its text and the output kept of what it ran.

    Never more than a call of its kind may count, so that the reserve for calls under way is a true bound
    whatever the world answers.
    """
    size = byte_length(outcome.text)
    for facts in (outcome.details, outcome.meta):
        printed = facts.get("output") if facts else None
        if isinstance(printed, str):
            size += byte_length(printed)
    return min(size, _most(call))


def _most(call: Call) -> int:
    return OUTPUT_OF_ONE_CALL if call.opcode in _PROGRAMS else _TEXT_OF_ONE_CALL


def refused_outcome(call: Call, rule: str, message: str) -> Outcome:
    """The outcome of a call that the policy refuses."""
    return Outcome(
        Status.REFUSED, f"{call.method}: ERROR refused: {rule}", {"rule": rule, "message": message}
    )


class Refusal(Protocol):
    """Why a step was refused before the run; an admission's ``Violation`` is one."""

    @property
    def rule(self) -> str:
        """The rule that refused it."""

    @property
    def message(self) -> str:
        """One sentence why."""


@checked
class GuardedWorld(World):
    """A world behind a policy.

    A refused call never reaches the inner world; its outcome is ``<method>: ERROR refused: <rule>``, with
    ``rule`` and ``message`` as details. The inner world keeps its window: calls are passed on while outcomes
    are outstanding, yet every decision is the one that would be taken with each call finished before the
    next. Where a decision hangs on outcomes that are still outstanding (output), they are awaited first.

    One guard is one run: its budgets are used up over all calls made through it.

    Args:
        inner: performs what is allowed.
        policy: the effective policy.
        refusals: steps that admission refused, with the reason; they stay refused.
        now: monotonic time in seconds; the clock starts with the first call.
    """

    def __init__(
        self,
        inner: World,
        policy: Policy,
        *,
        refusals: Mapping[int, Refusal] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        warn_if_unsafe(policy, "guard")
        self._inner = inner
        self._judge = policy.judge.judge
        self._meter = Meter(policy)
        self._refusals = refusals or {}
        self._now = now
        self._wall_clock_s = policy.budget.wall_clock_s
        self._deadline: float | None = None
        self._output_limit = policy.budget.output_bytes
        self._output_used = 0
        self._output_reserved = 0

    def perform_all(self, calls: CallStream, *, stop_on_failure: bool = False) -> Iterator[Outcome]:
        """Perform the allowed calls and refuse the others, in order.

        Raises:
            SandboxError: the inner world broke, or did not answer every call with one outcome.
        """
        legs = _Legs(self, iter(calls), stop_on_failure=stop_on_failure)
        while not legs.finished:
            for outcome in self._inner.perform_all(legs.admitted(), stop_on_failure=stop_on_failure):
                yield from legs.refusals()
                self._settle(legs.answered(), outcome)
                yield outcome
                if stop_on_failure and outcome.status.stops:
                    return
            legs.check_complete()
            yield from legs.refusals()

    def decide(self, call: Call, *, settled: bool) -> Decision | None:
        """Refuse a call, or permit it and charge it; ``None`` asks for the same question once ``settled``.

        ``settled`` says that no call is outstanding.
        """
        decision = self._static(call)
        if not decision.allowed:
            return decision
        if self._is_late():
            return exhausted("budget.wall_clock_s", self._wall_clock_s, "seconds")
        if self._output_used >= self._output_limit:
            return exhausted("budget.output_bytes", self._output_limit, "bytes of output")
        if self._output_used + self._output_reserved >= self._output_limit and not settled:
            return None
        refusal = self._meter.take(call.opcode, call.arguments)
        if refusal is None:
            self._output_reserved += _most(call)
        return refusal or decision

    def _static(self, call: Call) -> Decision:
        known = self._refusals.get(call.step)
        if known is not None:
            return Decision(False, known.rule, known.message)
        return self._judge(call.opcode, call.arguments)

    def _is_late(self) -> bool:
        now = self._now()
        if self._deadline is None:
            self._deadline = now + self._wall_clock_s
        return now >= self._deadline

    def _settle(self, call: Call, outcome: Outcome) -> None:
        self._output_reserved -= _most(call)
        self._output_used += output_bytes(call, outcome)


class _Legs:
    """One stream of calls, passed on in legs; the end of a leg makes the inner world deliver all outcomes.

    A leg ends where a refusal must be delivered and nothing else is under way, where the caller asks for a
    flush while refusals wait, and where a decision hangs on outstanding outcomes.
    """

    def __init__(self, guard: GuardedWorld, source: Iterator[Call | None], *, stop_on_failure: bool) -> None:
        self.pending: deque[Call | Outcome] = deque()  # in order: calls under way, and refusals to deliver
        self.finished = False
        self._guard = guard
        self._source = source
        self._stop_on_failure = stop_on_failure
        self._under_way = 0
        self._held: Call | None = None
        self._leg_open = False

    def admitted(self) -> Iterator[Call | None]:
        """The calls of the next leg, those that the inner world may see."""
        self._leg_open = True  # even if the inner world never asks for the first
        return self._leg()

    def _leg(self) -> Iterator[Call | None]:
        yield from self._admitted()
        self._leg_open = False

    def _admitted(self) -> Iterator[Call | None]:
        decide, pending = self._guard.decide, self.pending
        for call in self._calls():
            if call is None:
                if len(pending) > self._under_way:
                    return
                yield None
                continue
            decision = decide(call, settled=self._under_way == 0)
            if decision is None:
                self._held = call
                return
            if decision.allowed:
                pending.append(call)
                self._under_way += 1
                yield call
                continue
            pending.append(refused_outcome(call, decision.rule, decision.message))
            self.finished = self._stop_on_failure
            if self.finished or not self._under_way or len(pending) >= _AHEAD:
                return

    def _calls(self) -> Iterator[Call | None]:
        held, self._held = self._held, None
        if held is not None:
            yield held
        for call in self._source:  # noqa: UP028 - `yield from` would close the source when a leg ends
            yield call
        self.finished = True

    def refusals(self) -> list[Outcome]:
        """The refusals that are next to be delivered, taken off the queue."""
        due: list[Outcome] = []
        while self.pending and isinstance(head := self.pending[0], Outcome):
            due.append(head)
            self.pending.popleft()
        return due

    def answered(self) -> Call:
        """The call to which the next outcome belongs."""
        call = self.pending.popleft() if self.pending else None
        if not isinstance(call, Call):
            raise SandboxError("the world gave an outcome for which there was no call")
        self._under_way -= 1
        return call

    def check_complete(self) -> None:
        """Fail unless the leg was taken to its end and every call in it has its outcome."""
        if self._leg_open or self._under_way:
            raise SandboxError("the world ended without an outcome for every call")

"""The engine that replays a trail against a world, step by step or to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from sandbox_runner.arguments import checked
from sandbox_runner.errors import SandboxError, TrailError, VerificationError
from sandbox_runner.replay.details import LastRead, packed
from sandbox_runner.replay.event import TrailEvent, chain_link, outcome_digest, verify_chain
from sandbox_runner.replay.feed import ACTIONS, CallFeed
from sandbox_runner.replay.markers import (
    ShownOperands,
    dry_run_outcome,
    end_outcome,
    marker_outcome,
    shown_operands,
)
from sandbox_runner.replay.meta_trail import META_STYLES, MOST_STEPS, MetaStyle, build_meta_trail
from sandbox_runner.replay.result import RunState, TrailResult, Verdict, replayed_status, verdict_of
from sandbox_runner.trail.codec import TrailDecoder
from sandbox_runner.trail.operations import TrailOpcodes
from sandbox_runner.trail.program import TrailProgram
from sandbox_runner.trail.resolved import ResolvedStep, step_number
from sandbox_runner.trail.trail import Trail, load
from sandbox_runner.world.call import Outcome
from sandbox_runner.world.dispatch import adapt

__all__ = ["TrailExecutor"]


@checked
class TrailExecutor:
    """Replays a trail: one event per step, in order.

    The world pulls calls from a lazy stream and may pull ahead of the outcomes it has delivered; this class
    counts what is outstanding. An outcome that is outstanding at a pause stays in the world's stream and is
    delivered on resume, so continuing never repeats an effect. Only an explicit ``resume_from`` performs a
    step again.

    Args:
        world: a world of ours, or any object with the fourteen methods.
        bytecode: the trail, verified before anything runs.
        dry_run: make no world call; tell what would be called.
        fail_fast: finish at the first step that fails or is refused.
        principal: the agent on whose behalf the trail acts; by default the trail's own, else ``executor``.
        on_event: told of every event right after it is recorded.
        clock: wall clock for the events' timestamps, seconds since the epoch.
        meta_style: ``bound`` or ``reference``, see ``replay.meta_trail``.
        chain_head: asked for the head of the run's log whenever a meta-trail is built.
        refusals: outcomes of steps that admission refused; they make no world call.

    Raises:
        TrailDecodeError: the bytes are no trail.
        TrailVerificationError: the trail must not be replayed.
        TrailError: the trail has more steps than a meta-trail can tell of.
        ArgumentError: the object is no world, or another argument is none of its kind.
    """

    def __init__(
        self,
        world: object,
        bytecode: bytes | Trail,
        dry_run: bool = False,
        fail_fast: bool = False,
        *,
        principal: str | None = None,
        on_event: Callable[[TrailEvent], None] | None = None,
        clock: Callable[[], float] | None = None,
        meta_style: MetaStyle = "bound",
        chain_head: Callable[[], str] | None = None,
        refusals: Mapping[int, Outcome] | None = None,
    ) -> None:
        if meta_style not in META_STYLES:
            raise ValueError(f"meta_style must be one of {', '.join(META_STYLES)}, not {meta_style!r}")
        self.trail = bytecode if isinstance(bytecode, Trail) else load(bytecode)
        if len(self.trail.steps) > MOST_STEPS:
            raise TrailError(
                f"the trail has {len(self.trail.steps)} steps; its meta-trail would have more than the limit",
                hint=f"split it: a trail of up to {MOST_STEPS} steps can be replayed",
            )
        self.dry_run = dry_run
        self.fail_fast = fail_fast
        self.principal = principal or self.trail.agent or "executor"
        self._on_event = on_event
        self._clock = clock or time.time
        self._meta_style = meta_style
        self._chain_head = chain_head
        self._refusals = dict(refusals or {})
        self._steps = self.trail.steps
        self._events: list[TrailEvent] = []
        self._shared = LastRead()
        self._index = 0  # the step whose event comes next
        self._paused = False
        self._finished = False
        self._single = False
        self._elapsed = 0.0
        self._feed = CallFeed(
            adapt(world),
            self._steps,
            principal=self.principal,
            refused=self._refusals,
            stop_on_failure=fail_fast,
        )

    @property
    def program(self) -> TrailProgram:
        """The decoded program."""
        return self.trail.program

    @property
    def string_table(self) -> dict[str, str]:
        """The trail's texts by their hash, as the decoder gives them."""
        decoder = TrailDecoder()
        decoder.decode(self.trail.data)
        return decoder.string_table

    # -- driving ------------------------------------------------------------------------------------------

    def execute(self, resume_from: int | None = None) -> TrailResult:
        """Replay until the end, a pause, or (fail fast) a failure.

        Args:
            resume_from: index of the step to go on from. By default, where the replay stands. An earlier step
                performs everything from there on again, 0 restarts; events of the steps before it are kept.

        Raises:
            TrailError: there is no such step to resume from.
            SandboxError: the world broke. Events so far are kept and ``result()`` still answers.
        """
        if resume_from is not None:
            self._seek(resume_from)
        started = time.perf_counter()
        try:
            while not (self._finished or self._paused):
                self._advance()
        finally:
            self._elapsed += time.perf_counter() - started
        return self.result()

    def step(self) -> TrailEvent | None:
        """Replay one step and return its event; nothing when paused or finished. Raises like ``execute``."""
        if self._finished or self._paused:
            return None
        started = time.perf_counter()
        self._single = True  # one effect: the world may not pull ahead
        try:
            return self._advance()
        finally:
            self._single = False
            self._elapsed += time.perf_counter() - started

    def pause(self) -> None:
        """Hold the replay after the step it is at. May be called from within a world or ``on_event``."""
        self._paused = self._feed.hold = True

    def resume(self) -> None:
        """Lift a pause; ``step`` and ``execute`` go on where the replay stands."""
        self._paused = False

    # -- asking -------------------------------------------------------------------------------------------

    @property
    def state(self) -> RunState:
        """Where the replay stands."""
        if self._feed.fault is not None:
            return RunState.BROKEN
        if self._finished:
            return RunState.FINISHED
        return RunState.PAUSED if self._paused else RunState.READY

    def get_state(self) -> dict[str, Any]:
        """The replay's position and flags."""
        return {
            "current_index": self._index,
            "total_steps": len(self._steps),
            "events_count": len(self._events),
            "paused": self._paused,
            "finished": self._finished,
            "dry_run": self.dry_run,
            "fail_fast": self.fail_fast,
        }

    def get_events(self) -> list[TrailEvent]:
        """The events so far."""
        return list(self._events)

    def result(self) -> TrailResult:
        """What the replay came to so far, with the meta-trail of the events so far."""
        failed = sum(event.failed for event in self._events)
        meta_trail = build_meta_trail(
            self.trail,
            self._events,
            style=self._meta_style,
            timestamp=int(self._clock()) if self._meta_style == "reference" else None,
            chain_head=self._chain_head() if self._chain_head else None,
        )
        return TrailResult(
            success=self._finished and not failed,
            total_steps=len(self._events),
            completed_steps=len(self._events) - failed,
            failed_steps=failed,
            events=tuple(self._events),
            duration_ms=self._elapsed * 1000,
            execution_trail=meta_trail,
            execution_fingerprint=sha256(meta_trail).hexdigest(),
            state=self.state,
            source_sha256=self.trail.sha256,
            recorded_status=self.trail.status,
        )

    def verify(self) -> bool:
        """Whether this replay replayed the trail.

        True iff every step has its event with the trail's operands, the proofs chain without a gap from the
        trail's own digest, and at least one action succeeded (or none failed). Whether *every* step succeeded
        is ``result().success``.
        """
        if len(self._events) != len(self._steps):
            return False
        for step, event in zip(self._steps, self._events, strict=True):
            shown = (event.step_index, event.opcode, event.operands)
            if shown != (step.index, step.opcode, shown_operands(step, self.principal)):
                return False
        try:
            verify_chain(self._events, self.trail.sha256)
        except VerificationError:
            return False
        return verdict_of(self._events) is not Verdict.FAILED

    # -- the engine ---------------------------------------------------------------------------------------

    def _advance(self) -> TrailEvent:
        """Replay one step: the one engine behind ``step`` and ``execute``."""
        if self._feed.fault is not None:
            raise SandboxError(
                f"the replay broke at step {step_number(self._index)} and cannot go on: "
                "what the world did is unknown",
                hint="start a new replay, or restart this one with execute(resume_from=0)",
            ) from self._feed.fault
        step = self._steps[self._index]
        try:
            event = self._event(step, self._outcome(step))
        except BaseException as error:
            # The outcome may be taken already: going on would give the next one to this step.
            self._feed.fault = self._feed.fault or error
            raise
        self._events.append(event)
        self._index += 1
        self._finished = self._index == len(self._steps) or (self.fail_fast and event.failed)
        if self._on_event is not None:
            self._on_event(event)
        if self._finished:
            self._feed.settle()
        return event

    def _outcome(self, step: ResolvedStep) -> Outcome:
        refusal = self._refusals.get(step.index)
        if refusal is not None:
            return refusal
        if step.opcode is TrailOpcodes.TRAIL_END:
            return end_outcome(self.trail.status, replayed_status(self._events))
        if step.opcode not in ACTIONS:
            return marker_outcome(step)
        if self.dry_run:
            return dry_run_outcome(step)
        self._feed.hold = self._single or self._paused
        return self._feed.outcome_of(step)

    def _event(self, step: ResolvedStep, outcome: Outcome) -> TrailEvent:
        operands = shown_operands(step, self.principal)
        try:
            digest = outcome_digest(outcome.status, outcome.text, outcome.details)
        except ValueError as error:
            raise SandboxError(
                f"the world's outcome of step {step_number(step.index)} is no JSON: {error}"
            ) from error
        return TrailEvent(
            step_index=step.index,
            opcode=step.opcode,
            operands=ShownOperands(self._steps, step.index, self.principal),
            result=outcome.text,
            duration_ms=outcome.duration_ns / 1e6,
            timestamp=self._clock(),
            status=outcome.status,
            details=packed(outcome.details, self._shared),
            chain=chain_link(self._head(), step.index, step.opcode, operands, digest),
        )

    def _head(self) -> str:
        return self._events[-1].chain if self._events else self.trail.sha256

    def _seek(self, index: int) -> None:
        """Move to a step. Where the replay already stands there is nothing to do."""
        total = len(self._steps)
        if index == self._index and (index == total or not self._finished) and self._feed.fault is None:
            return
        if not 0 <= index < total:
            raise TrailError(
                f"there is no step with index {index} to resume from: the trail has 0 to {total - 1}"
            )
        if index > self._index and self._feed.outstanding:
            raise TrailError(
                f"cannot go from step {step_number(self._index)} to step {step_number(index)}: the world has "
                f"been given the steps up to {step_number(self._feed.given)} already; continue first"
            )
        self._feed.seek(index)
        self._events = [event for event in self._events if event.step_index < index]
        self._index = index
        self._finished = False

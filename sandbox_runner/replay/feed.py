"""Feeds a world with a trail's calls and hands out its outcomes, however far the world pulls ahead."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

from sandbox_runner.errors import SandboxError, SandboxRunnerError
from sandbox_runner.trail.operations import METHODS
from sandbox_runner.trail.resolved import ResolvedStep, step_number
from sandbox_runner.world.call import Call, Outcome
from sandbox_runner.world.dispatch import call_for
from sandbox_runner.world.interface import World

__all__ = ["ACTIONS", "CallFeed"]

ACTIONS = frozenset(operation.opcode for operation in METHODS.values())
"""The operations that call a world."""


class CallFeed:
    """One lazy stream of calls into a world and the outcomes that come back.

    Only calls travel: markers and refused steps are passed over. The world may have been given more calls
    than it has delivered outcomes for; those are *outstanding*, and stay in the world's stream until they are
    asked for.

    Args:
        world: performs the calls.
        steps: the trail's steps.
        principal: the agent on whose behalf they act.
        refused: indexes of steps that make no call.
        stop_on_failure: nothing is performed after a failure, nor after a refused step.
    """

    def __init__(
        self,
        world: World,
        steps: Sequence[ResolvedStep],
        *,
        principal: str,
        refused: Container[int],
        stop_on_failure: bool,
    ) -> None:
        self._world = world
        self._steps = steps
        self._principal = principal
        self._refused = refused
        self._stop_on_failure = stop_on_failure
        self._outcomes: Iterator[Outcome] | None = None
        self._pulled = 0  # the step the stream looks at next
        self._closing = False
        self.outstanding = 0
        self.hold = False
        """While set, the world is given one call at a time: it may not pull ahead."""
        self.fault: BaseException | None = None
        """What broke the stream; what the outstanding calls have done is unknown."""

    @property
    def given(self) -> int:
        """Index of the last step the world may have been given; -1 before the first."""
        return self._pulled - 1

    def outcome_of(self, step: ResolvedStep) -> Outcome:
        """The outcome of the next action; ``step`` is the step it belongs to.

        Raises:
            SandboxError: the world broke; also where it raised anything that is no error of ours.
        """
        if self._outcomes is None:
            self._outcomes = self._world.perform_all(self._calls(), stop_on_failure=self._stop_on_failure)
        outcome = self._next(self._outcomes, f"at step {step_number(step.index)} ({step.opcode.name})")
        if outcome is None or not self.outstanding:
            self.fault = SandboxError(f"the world delivered no outcome for step {step_number(step.index)}")
            raise self.fault
        self.outstanding -= 1
        return outcome

    def settle(self) -> None:
        """End the stream: no more calls. Outcomes that are still outstanding are dropped.

        Raises:
            SandboxError: the world broke while it ended, or delivered more than it was asked for.
        """
        outcomes, self._outcomes = self._outcomes, None
        if outcomes is None or self.fault is not None:
            return
        self._closing = True
        while self._next(outcomes, "after its last step") is not None:
            if not self.outstanding:
                self.fault = SandboxError("the world delivered more outcomes than it was given calls")
                raise self.fault
            self.outstanding -= 1
        self.outstanding = 0
        self._closing = False

    def seek(self, index: int) -> None:
        """Let the world become idle, then begin a new stream at the step ``index``."""
        self.settle()
        self._closing = False
        self._pulled = index
        self.outstanding = 0
        self.fault = None

    def _next(self, outcomes: Iterator[Outcome], where: str) -> Outcome | None:
        try:
            return next(outcomes, None)
        except SandboxRunnerError as error:
            self.fault = error
            raise
        except Exception as error:
            self.fault = error
            raise SandboxError(f"the world broke {where}: {type(error).__name__}: {error}") from error
        except BaseException as error:
            self.fault = error
            raise

    def _calls(self) -> Iterator[Call | None]:
        while self._pulled < len(self._steps) and not self._closing:
            if self.hold and self.outstanding:
                yield None
                continue
            step = self._steps[self._pulled]
            refused = self._pulled in self._refused
            self._pulled += 1
            if refused and self._stop_on_failure:
                return
            if step.opcode in ACTIONS and not refused:
                self.outstanding += 1
                yield call_for(step, self._principal)

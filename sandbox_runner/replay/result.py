"""What a replay came to as a whole."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from sandbox_runner.arguments import checked
from sandbox_runner.replay.event import TrailEvent, reading_form, verify_chain
from sandbox_runner.trail.operations import METHODS, TrailOpcodes
from sandbox_runner.visible import visible
from sandbox_runner.world.call import Status

__all__ = ["RunState", "TrailResult", "Verdict", "replayed_status", "verdict_of"]

_TITLE = "═══ {} ═══"
_MARKS = {Status.OK: "+", Status.SKIPPED: "-", Status.FAILED: "x", Status.REFUSED: "x"}
_ACTIONS = frozenset(operation.opcode for operation in METHODS.values())


class RunState(StrEnum):
    """Where a replay stands."""

    READY = "ready"
    """Steps remain and nothing holds the replay."""
    PAUSED = "paused"
    """Steps remain; the replay waits for ``resume``."""
    BROKEN = "broken"
    """The world broke; it is unknown what the steps it had been given have done."""
    FINISHED = "finished"
    """Every step is done, or a failure stopped a fail-fast replay."""


class Verdict(StrEnum):
    """The word in a summary's title."""

    SUCCESS = "SUCCESS"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"


_STATUSES = {Verdict.SUCCESS: 0, Verdict.FAILED: 1, Verdict.PARTIAL: 2}


def verdict_of(events: Iterable[TrailEvent]) -> Verdict:
    """SUCCESS if nothing failed, FAILED if no action succeeded, else PARTIAL.

    Actions are the steps that call a world: markers always complete and say nothing about success.
    """
    actions = failures = 0
    for event in events:
        failures += event.failed
        actions += event.opcode in _ACTIONS
    if not failures:
        return Verdict.SUCCESS
    return Verdict.PARTIAL if actions > failures else Verdict.FAILED


def replayed_status(events: Iterable[TrailEvent]) -> int:
    """The status a trail's END record would give to these events: 0 success, 1 error, 2 partial."""
    return _STATUSES[verdict_of(events)]


@checked
@dataclass(frozen=True, slots=True)
class TrailResult:
    """What a replay came to.

    Attributes:
        success: the replay is finished and no step failed or was refused.
        total_steps: number of events.
        completed_steps: events that neither failed nor were refused.
        failed_steps: events that failed or were refused.
        events: one per step, in order.
        duration_ms: time spent replaying, milliseconds.
        execution_trail: the meta-trail's bytes.
        execution_fingerprint: SHA-256 of the meta-trail, 64 hex digits.
        state: where the replay stands; a result can be asked for at any time.
        source_sha256: digest of the trail that was replayed.
        recorded_status: the status in the trail's own END record, to be compared with the replay's.
    """

    success: bool
    total_steps: int
    completed_steps: int
    failed_steps: int
    events: Sequence[TrailEvent] = field(default_factory=tuple)
    duration_ms: float = 0.0
    execution_trail: bytes = b""
    execution_fingerprint: str = ""
    state: RunState = RunState.FINISHED
    source_sha256: str = ""
    recorded_status: int | None = None

    @property
    def refused_steps(self) -> int:
        """How many of the failed steps were refused."""
        return sum(event.status is Status.REFUSED for event in self.events)

    @property
    def skipped_steps(self) -> int:
        """How many of the completed steps were skipped."""
        return sum(event.status is Status.SKIPPED for event in self.events)

    @property
    def chain_head(self) -> str:
        """The last event's chained proof; the trail's own digest when there is no event."""
        return self.events[-1].chain if self.events else self.source_sha256

    @property
    def status_word(self) -> str:
        """SUCCESS, PARTIAL or FAILED when finished, otherwise the state in capitals."""
        if self.state is not RunState.FINISHED:
            return self.state.upper()
        if self.success:
            return Verdict.SUCCESS
        if self.events:
            return verdict_of(self.events)
        return Verdict.PARTIAL if self.completed_steps else Verdict.FAILED

    def summary(self) -> str:
        """The replay on one screen: counters, then one line per event."""
        rows = (
            ("Total steps:", f"{self.total_steps}"),
            ("Completed:", f"{self.completed_steps}"),
            ("Failed:", f"{self.failed_steps}"),
            ("Duration:", f"{self.duration_ms:.1f} ms"),
            ("Fingerprint:", f"{self.execution_fingerprint[:32]}..."),
            ("Trail size:", f"{len(self.execution_trail)} bytes"),
        )
        lines = [_TITLE.format(f"TRAIL EXECUTION {self.status_word}")]
        lines += [f"  {label:<16}{value}" for label, value in rows]
        lines += ["", *map(_line, self.events), "", _TITLE.format("END OF EXECUTION")]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The format's dictionary form, with the meta-trail itself (base64) and what is new beside it."""
        return {
            "success": self.success,
            "total_steps": self.total_steps,
            "completed_steps": self.completed_steps,
            "failed_steps": self.failed_steps,
            "duration_ms": self.duration_ms,
            "execution_fingerprint": self.execution_fingerprint,
            "execution_trail_size": len(self.execution_trail),
            "execution_trail": b64encode(self.execution_trail).decode(),
            "state": str(self.state),
            "refused_steps": self.refused_steps,
            "skipped_steps": self.skipped_steps,
            "source_sha256": self.source_sha256,
            "recorded_status": self.recorded_status,
            "events": [event.to_dict() for event in self.events],
        }

    def to_json(self) -> str:
        """The dictionary form as JSON, indented by two."""
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> Self:
        """Read the dictionary form back.

        Raises:
            VerificationError: an event's proof does not fit, or the chain of the events does not hold.
        """
        with reading_form(cls, "form"):
            result = cls(
                success=form["success"],
                total_steps=form["total_steps"],
                completed_steps=form["completed_steps"],
                failed_steps=form["failed_steps"],
                events=tuple(TrailEvent.from_dict(event) for event in form["events"]),
                duration_ms=form["duration_ms"],
                execution_trail=b64decode(form["execution_trail"]),
                execution_fingerprint=form["execution_fingerprint"],
                state=RunState(form["state"]),
                source_sha256=form["source_sha256"],
                recorded_status=form["recorded_status"],
            )
        if result.source_sha256:
            verify_chain(result.events, result.source_sha256)
        return result


def _line(event: TrailEvent) -> str:
    mark = _MARKS[event.status]
    name = TrailOpcodes(event.opcode).name
    # A result is a stranger's text: a line break or an escape sequence would forge lines of the summary.
    shown = visible(event.result[:60])
    return f"  [{mark}] #{event.step_index:03d} {name:<14} {event.duration_ms:.1f}ms  {shown}"

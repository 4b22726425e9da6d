"""The walk along a log at the heart of verification: one pass, compared at once with trail and events."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sandbox_runner.errors import VerificationError
from sandbox_runner.record import fields, layout
from sandbox_runner.record.chain import ChainOrigin, link
from sandbox_runner.record.documents import RunState, RunStatus
from sandbox_runner.record.facts import argument_facts, cut_details, detail_facts, fact_bytes, shorten
from sandbox_runner.record.lines import CallLine, line_start, parse_line, read_lines
from sandbox_runner.record.outputs import NamedFile, may_name_file, named_file
from sandbox_runner.record.run_record import RunRecord
from sandbox_runner.replay import TrailEvent
from sandbox_runner.trail import ResolvedStep, Trail, step_number
from sandbox_runner.trail.operations import METHODS
from sandbox_runner.world import Outcome, Status, call_for

__all__ = ["ACTIONS", "LogWalk", "walk_log"]

ACTIONS: Final = frozenset(operation.opcode for operation in METHODS.values())
_CUT: Final = frozenset({"<cut>"})


@dataclass(slots=True)
class LogWalk:
    """What one pass over ``calls.jsonl`` came to; each ``..._fault`` is the first thing wrong in its view.

    Attributes:
        head, length, sha256: of the log as it is on disk.
        chain_fault: a line is malformed, changed, or does not follow from the one before.
        calls_fault: a line says something else than the trail asks for.
        events_fault: a line says something else than the run's events, or an event has no line.
        outputs_fault: a line names a file of an output that it cannot have, or that another one named.
        outputs: the files of outputs that lines name, by path.
    """

    head: str
    length: int = 0
    sha256: str = ""
    chain_fault: str | None = None
    calls_fault: str | None = None
    events_fault: str | None = None
    outputs_fault: str | None = None
    outputs: dict[str, NamedFile] = field(default_factory=dict)


def walk_log(record: RunRecord, trail: Trail | None, events: Sequence[TrailEvent]) -> LogWalk:
    """Read a record's log once. Never raises for what the log holds: faults are in the walk."""
    info = record.info
    origin = ChainOrigin(info.trail.sha256, info.policy.sha256, info.base_snapshot)
    walk = LogWalk(origin.genesis)
    digest = hashlib.sha256()
    view = _Comparison(trail, events, record)
    try:
        for raw in read_lines(record.path / layout.CALLS):
            digest.update(raw + b"\n")
            head = view.agrees(raw, walk)
            line = parse_line(raw, walk.length) if head is None or may_name_file(raw) else None
            if line is not None and walk.outputs_fault is None:
                walk.outputs_fault = _note_output(line, walk.outputs)
            if line is not None and head is None:
                _check_link(line, walk)
                walk.calls_fault = walk.calls_fault or view.against_trail(line)
                walk.events_fault = walk.events_fault or view.against_events(line)
                head = line.digest
            walk.head = head or walk.head
            walk.length += 1
    except VerificationError as error:
        walk.chain_fault = str(error)
    walk.sha256 = digest.hexdigest()
    walk.events_fault = walk.events_fault or view.without_line(len(events))
    return walk


def _note_output(line: CallLine, outputs: dict[str, NamedFile]) -> str | None:
    """Note the file that a line names; what is wrong with that, None if nothing."""
    try:
        file = named_file(line)
    except VerificationError as error:
        return str(error)
    if file is None:
        return None
    if file.path in outputs:
        return f"{layout.CALLS} line {line.seq + 1} names {file.path}, as a line before it does"
    if len(outputs) >= layout.OUTPUTS_LIMIT:
        return f"{layout.CALLS} names more than {layout.OUTPUTS_LIMIT} files of outputs"
    outputs[file.path] = file
    return None


def _check_link(line: CallLine, walk: LogWalk) -> None:
    where = f"{layout.CALLS} line {walk.length + 1}"
    if line.seq != walk.length:
        raise VerificationError(f"{where} carries number {line.seq}: a line was dropped, repeated or moved")
    if line.fact[fields.PREV] != walk.head:
        raise VerificationError(f"{where} does not follow from what is before it")


class _Comparison:
    """Remembers the last step seen while a log is walked, so that gaps and repeats show."""

    def __init__(self, trail: Trail | None, events: Sequence[TrailEvent], record: RunRecord) -> None:
        self._trail = trail
        self._events = events
        self._principal = record.info.principal
        self._dry = record.result is not None and record.result.status is RunStatus.DRY_RUN
        self._broken_off = record.state is not RunState.COMPLETE
        self._refused = record.result is not None and record.result.status is RunStatus.REFUSED
        self._trail_step = -1
        self._event_step = -1

    def agrees(self, raw: bytes, walk: LogWalk) -> str | None:
        """The digest of a line that is, up to its meta part, what the recorder writes for the next action.

        This is all there is to a line that holds, and a third of the work of looking into it. None says
        nothing but that the line must be looked into.
        """
        found = self._next_action()
        if found is None:
            return None
        event, step = found
        call = call_for(step, self._principal)
        outcome = Outcome(event.status, event.result, event.details)
        data = fact_bytes(call, outcome, seq=walk.length, prev=walk.head)
        digest = link(data)
        if not raw.startswith(line_start(digest, data)):
            return None
        self._trail_step = self._event_step = step.index
        return digest

    def _next_action(self) -> tuple[TrailEvent, ResolvedStep] | None:
        """The next event that must have a line, with its step; None where they do not fit each other."""
        steps = () if self._trail is None else self._trail.steps
        for at in range(self._event_step + 1, min(len(self._events), len(steps))):
            event = self._events[at]
            if event.opcode in ACTIONS:
                step = steps[at]
                return (event, step) if (event.step_index, event.opcode) == (at, step.opcode) else None
        return None

    def against_trail(self, line: CallLine) -> str | None:
        """What is wrong with a line beside the step it claims to be, None if nothing."""
        if self._trail is None:
            return None
        step, where = line.step, f"{layout.CALLS} line {line.seq + 1}"
        if not self._trail_step < step < len(self._trail.steps):
            return f"{where} is of step {step_number(step)}, which is not the next in the trail"
        self._trail_step = step
        asked = self._trail.steps[step]
        if asked.opcode not in ACTIONS or asked.opcode.name != line.fact[fields.OPCODE]:
            told = line.fact[fields.OPCODE]
            return f"{where} says {told}, step {step_number(step)} of the trail is {asked.opcode.name}"
        call = call_for(asked, self._principal)
        if call.method != line.fact[fields.METHOD]:
            told = line.fact[fields.METHOD]
            return f"{where} says method {told}, step {step_number(step)} calls {call.method}"
        if argument_facts(call.arguments) != line.fact[fields.ARGUMENTS]:
            return f"{where} has other arguments than step {step_number(step)} of the trail"
        return None

    def against_events(self, line: CallLine) -> str | None:
        """What is wrong with a line beside the event of its step, None if nothing."""
        step, where = line.step, f"{layout.CALLS} line {line.seq + 1}"
        if self._broken_off and step >= len(self._events):
            return None  # the run ended between the line and its event
        if self._refused and not self._events:  # admission refused the trail: its lines are what it refused
            told = line.fact[fields.STATUS]
            return None if told == Status.REFUSED else f"{where} says {told}, though nothing ran"
        if not 0 <= step < len(self._events):
            return f"{where} is of step {step_number(step)}, which has no event in {layout.RESULT}"
        if fault := self.without_line(step):
            return fault
        self._event_step = step
        return _disagreement(line, self._events[step], where)

    def without_line(self, before: int) -> str | None:
        """The first event after the last line seen and before ``before`` that should have one."""
        if self._dry:
            return None
        for event in self._events[self._event_step + 1 : before]:
            if event.opcode in ACTIONS and event.status is not Status.REFUSED:
                step = step_number(event.step_index)
                return f"step {step} has an event in {layout.RESULT} and no line in {layout.CALLS}"
        return None


def _disagreement(line: CallLine, event: TrailEvent, where: str) -> str | None:
    step = step_number(event.step_index)
    if event.status.value != line.fact[fields.STATUS]:
        return f"{where} says {line.fact[fields.STATUS]}, the event of step {step} says {event.status}"
    if shorten(event.result) != line.fact[fields.OUTCOME]:
        return f"{where} has another outcome than the event of step {step}"
    if not _same_details(event.details, line.fact[fields.DETAILS]):
        return f"{where} has other details than the event of step {step}"
    return None


def _same_details(details: Mapping[str, Any], fact: Mapping[str, Any]) -> bool:
    expected = detail_facts(details)
    return expected == fact or (fact.keys() == _CUT and cut_details(expected) == fact)

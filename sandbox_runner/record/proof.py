"""The checks on events and meta-trail: a run's result against the trail it replayed."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import orjson

from sandbox_runner.errors import VerificationError
from sandbox_runner.record import layout
from sandbox_runner.record.documents import RunResult, RunStatus
from sandbox_runner.record.run_record import RunRecord
from sandbox_runner.replay import MetaStyle, TrailEvent, build_meta_trail, verify_chain
from sandbox_runner.replay.details import LastRead, PackedDetails, packed
from sandbox_runner.replay.event import kept_operands
from sandbox_runner.replay.markers import ShownOperands
from sandbox_runner.trail import ResolvedStep, Trail, load, step_number
from sandbox_runner.trail.operations import TrailOpcodes
from sandbox_runner.world import Status

__all__ = ["check_counts", "check_events", "check_meta_trail", "read_events"]

_EVENT_BYTES = 320  # an event's own object, its numbers, its place in the list
_SIZE = sys.getsizeof
_HOLDERS = frozenset({dict, list})
_SMALL = 2_048  # bytes of operands or details that are left as they are


def read_events(result: RunResult, trail: Trail | None, principal: str) -> list[TrailEvent]:
    """The events of a result, in memory that is bounded by ``layout.EVENTS_MEMORY``.

    Where operands or details are long, they stay JSON, or are read from the trail if its step has the same.

    Raises:
        VerificationError: an event is malformed, its own proof does not fit it, or they are too much.
    """
    events: list[TrailEvent] = []
    room = layout.EVENTS_MEMORY
    shared = LastRead()
    for number, form in enumerate(result.events):
        try:
            event = TrailEvent.from_dict(form)
            TrailOpcodes(event.opcode)
            operands, details = _memory(event.operands), _memory(event.details)
            if max(operands, details) > _SMALL:
                event = _slim(event, number, trail, principal, shared)
                operands, details = _memory(kept_operands(event)), _memory(event.details)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise VerificationError(f"event {number} of {layout.RESULT} is malformed: {error!r}") from error
        room -= (
            _EVENT_BYTES
            + operands
            + details
            + sum(map(sys.getsizeof, (event.result, event.proof, event.chain)))
        )
        if room < 0:
            raise VerificationError(
                f"the events of {layout.RESULT} take more than {layout.EVENTS_MEMORY >> 20} MiB"
            )
        events.append(event)
    return events


def _slim(
    event: TrailEvent, number: int, trail: Trail | None, principal: str, shared: LastRead
) -> TrailEvent:
    """The same event with its operands and details in less memory."""
    operands = _of_trail(event, number, trail, principal) or packed(event.operands, shared)
    return replace(event, operands=operands, details=packed(event.details, shared))


def _of_trail(event: TrailEvent, number: int, trail: Trail | None, principal: str) -> ShownOperands | None:
    """The operands of the step that an event is of, where it has the same."""
    if trail is None or number >= len(trail.steps):
        return None
    try:  # as JSON: True and 1 are equal, and no two operands
        asked = orjson.dumps(_operands(trail.steps[number], trail, principal), option=orjson.OPT_SORT_KEYS)
        if orjson.dumps(event.operands, option=orjson.OPT_SORT_KEYS) != asked:
            return None
    except orjson.JSONEncodeError:  # an integer beyond 64 bits
        return None
    return ShownOperands(trail.steps, number, principal)


def _memory(value: Any) -> int:
    """What operands or details take, bytes; a plain loop, for every event pays for it."""
    kind, size = type(value), _SIZE(value)
    if kind is dict:
        for key, item in value.items():
            size += _SIZE(key) + (_memory(item) if type(item) in _HOLDERS else _SIZE(item))
    elif kind is list:
        for item in value:
            size += _memory(item) if type(item) in _HOLDERS else _SIZE(item)
    elif kind is PackedDetails:
        size += value.size
    return int(size)


def check_events(events: Sequence[TrailEvent], trail: Trail, principal: str) -> None:
    """Every event is the next step of the trail, with its operands, and follows from the events before it.

    Raises:
        VerificationError: the text names the first event that does not.
    """
    if len(events) > len(trail.steps):
        raise VerificationError(
            f"{layout.RESULT} has {len(events)} events, the trail {len(trail.steps)} steps"
        )
    for number, (event, step) in enumerate(zip(events, trail.steps, strict=False)):
        if (event.step_index, event.opcode) != (number, step.opcode):
            raise VerificationError(
                f"event {number + 1} of {layout.RESULT} is not step {step_number(number)} of the trail"
            )
        if event.operands != _operands(step, trail, principal):
            raise VerificationError(f"event {number + 1} of {layout.RESULT} has other operands than its step")
    verify_chain(events, trail.sha256)


def check_counts(result: RunResult, events: Sequence[TrailEvent]) -> None:
    """The counts of a result are those of its events, and its status does not claim more than they say.

    Raises:
        VerificationError: they differ.
    """
    counts = result.steps
    stated = (counts.ok, counts.failed, counts.refused, counts.skipped)
    seen = Counter(event.status for event in events)
    if events and stated != tuple(seen[status] for status in Status):
        raise VerificationError(f"the counts of {layout.RESULT} are not those of its events")
    stopped = seen[Status.FAILED] + seen[Status.REFUSED]
    if result.status is RunStatus.SUCCESS and (stopped or result.exit_code or not events):
        raise VerificationError(f"{layout.RESULT} says {result.status}, its events do not")


def check_meta_trail(record: RunRecord, result: RunResult, trail: Trail, events: Sequence[TrailEvent]) -> str:
    """The meta-trail is exactly what trail, events and chain head compile to; returns what was seen.

    Raises:
        VerificationError: it differs; the text names the first step.
    """
    data = record.meta_trail()
    if data is None or result.meta_trail_sha256 is None:
        if events:
            raise VerificationError(f"{layout.META_TRAIL} is missing, yet {len(events)} steps were replayed")
        return "nothing was replayed"
    if hashlib.sha256(data).hexdigest() != result.meta_trail_sha256:
        raise VerificationError(f"{layout.META_TRAIL} is not the meta-trail that {layout.RESULT} names")
    meta = load(data)
    kept_a_log = result.status is not RunStatus.DRY_RUN
    style: MetaStyle = "reference" if record.info.options.get("meta_style") == "reference" else "bound"
    expected = build_meta_trail(
        trail,
        events,
        style=style,
        timestamp=meta.timestamp if style == "reference" else None,
        chain_head=result.chain_head if style == "bound" and kept_a_log else None,
    )
    if data != expected:
        raise VerificationError(_difference(meta.steps, load(expected).steps))
    return f"{style}, {len(meta.steps)} steps, sha256 {result.meta_trail_sha256}"


def _operands(step: ResolvedStep, trail: Trail, principal: str) -> dict[str, Any]:
    """The operands an event of this step carries, as ``replay`` defines them."""
    if step.opcode is TrailOpcodes.TRAIL_BEGIN:
        return {"trail_id": trail.trail_id_hash}
    if step.opcode is TrailOpcodes.TRAIL_END:
        return {"status": trail.status}
    if step.opcode is TrailOpcodes.LEVEL_UP:
        return {**step.arguments, "agent": principal}
    return dict(step.arguments)


def _difference(found: Sequence[ResolvedStep], expected: Sequence[ResolvedStep]) -> str:
    for number, (one, other) in enumerate(zip_longest(found, expected)):
        if one != other:
            return f"step {step_number(number)} of {layout.META_TRAIL} is not what events and log give"
    return f"{layout.META_TRAIL} is not in its canonical form"

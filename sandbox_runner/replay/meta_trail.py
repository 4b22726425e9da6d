"""The meta-trail: a trail that says what a replay did. It makes no world call: replaying it is always safe.

``bound`` (the default) proves which trail was replayed and to what outcomes. Its steps are::

    TRAIL_BEGIN  agent trail-executor, trail id execution-meta-trail, time of the source trail
    COMMENT      exec: source sha256:<digest of the source trail's bytes>
    ...          one step for each event, see below
    COMMENT      exec: events sha256:<the last event's chained proof>
    COMMENT      exec: chain sha256:<head of the run's log>          only where the run keeps a log
    TRAIL_END    0: nothing failed, 1: no action succeeded, 2: some failed

The step for an event::

    NOP, LABEL, COMMENT   the same again; a text over 255 bytes ends in ``… [sha256:<digest of the text>]``
    BEGIN, END            COMMENT  exec: trail_begin, exec: trail_end
    everything else       COMMENT  exec:<OPCODE> → <text> [<status> <outcome digest>]

Every comment is cut, at a character boundary, to the 255 bytes of a version 1 string. Equal trails with equal
outcomes give equal bytes: nothing in it depends on the clock or the machine.

``reference`` reproduces the bytes of the format's first implementation: wall clock, texts cut to 80
characters, labels lost, nothing bound. Only its over-long comments, which made unreadable trails, are cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import chain
from typing import Any, Literal

from sandbox_runner.replay.event import TrailEvent
from sandbox_runner.replay.result import replayed_status
from sandbox_runner.trail.compiler import compile_worklog
from sandbox_runner.trail.limits import DEFAULT_LIMITS
from sandbox_runner.trail.operations import TrailOpcodes
from sandbox_runner.trail.trail import Trail

__all__ = ["META_STYLES", "MOST_STEPS", "MetaStyle", "build_meta_trail"]

MetaStyle = Literal["bound", "reference"]
META_STYLES: tuple[MetaStyle, ...] = ("bound", "reference")

MOST_STEPS = DEFAULT_LIMITS.steps - 5
"""How many steps a trail may have so that its meta-trail, with frame and digests, is still a trail."""

_LIMIT = 255  # bytes of a version 1 string
_REFERENCE_CUT = 80  # characters
_FRAME = {TrailOpcodes.TRAIL_BEGIN: "exec: trail_begin", TrailOpcodes.TRAIL_END: "exec: trail_end"}

Entry = dict[str, Any]


def build_meta_trail(
    source: Trail,
    events: Sequence[TrailEvent],
    *,
    style: MetaStyle = "bound",
    timestamp: int | None = None,
    chain_head: str | None = None,
) -> bytes:
    """Compile the meta-trail of a replay: version 1 where it fits, else version 2.

    Args:
        source: the trail that was replayed.
        events: its events so far.
        style: ``bound`` or ``reference``, see the module's text.
        timestamp: whole seconds for the BEGIN record; by default the source trail's.
        chain_head: 64 hex digits, the head of the run's own log (bound style only).
    """
    begin = {
        "op": "TRAIL_BEGIN",
        "agent": "trail-executor",
        "trail_id": "execution-meta-trail",
        "ts": source.timestamp if timestamp is None else timestamp,
    }
    body: Iterable[Entry]
    if style == "reference":
        body = map(_reference_entry, events)
        status = _reference_status(events)
    else:
        body = _bound_body(source, events, chain_head)
        status = replayed_status(events)
    return compile_worklog(chain([begin], body, [{"op": "TRAIL_END", "status": status}]), format="auto")


def _bound_body(source: Trail, events: Sequence[TrailEvent], chain_head: str | None) -> Iterator[Entry]:
    yield _comment(f"exec: source sha256:{source.sha256}")
    yield from map(_bound_entry, events)
    yield _comment(f"exec: events sha256:{events[-1].chain if events else source.sha256}")
    if chain_head is not None:
        yield _comment(f"exec: chain sha256:{chain_head}")


def _bound_entry(event: TrailEvent) -> Entry:
    opcode = TrailOpcodes(event.opcode)
    if opcode in _FRAME:
        return _comment(_FRAME[opcode])
    if opcode is TrailOpcodes.NOP:
        return {"op": "NOP"}
    if opcode is TrailOpcodes.COMMENT and not event.failed:
        return _comment(_whole_or_digest(event.operands["comment"]))
    if opcode is TrailOpcodes.LABEL and not event.failed:
        return {"op": "LABEL", "label": _whole_or_digest(event.operands["label"])}
    head = f"exec:{opcode.name} → "
    tail = f" [{event.status} {event.outcome_digest}]"
    room = _LIMIT - len(head.encode()) - len(tail)
    return _comment(head + _cut(event.result, room) + tail)


def _reference_entry(event: TrailEvent) -> Entry:
    opcode = TrailOpcodes(event.opcode)
    if opcode in _FRAME:
        return _comment(_FRAME[opcode])
    if opcode is TrailOpcodes.NOP:
        return {"op": "NOP"}
    if opcode is TrailOpcodes.COMMENT:
        return _comment(_cut(event.operands["comment"], _LIMIT))
    if opcode is TrailOpcodes.LABEL:
        return {"op": "LABEL", "label": ""}
    return _comment(_cut(f"exec:{opcode.name} → {event.result[:_REFERENCE_CUT]}", _LIMIT))


def _reference_status(events: Sequence[TrailEvent]) -> int:
    failed = sum(event.failed for event in events)
    if not failed:
        return 0
    return 1 if failed == len(events) else 2


def _comment(text: str) -> Entry:
    return {"op": "COMMENT", "comment": text}


def _whole_or_digest(text: str) -> str:
    data = text.encode()
    if len(data) <= _LIMIT:
        return text
    tail = f"… [sha256:{sha256(data).hexdigest()}]"
    return _cut(text, _LIMIT - len(tail.encode())) + tail


def _cut(text: str, room: int) -> str:
    """The longest beginning of ``text`` that takes at most ``room`` bytes of UTF-8."""
    data = text[:room].encode()
    return data[:room].decode(errors="ignore") if len(data) > room else text[:room]

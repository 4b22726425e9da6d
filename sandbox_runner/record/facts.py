"""From a call and its outcome to a fact: what happened, free of what differs between two machines."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

from sandbox_runner.record import fields
from sandbox_runner.record.encoding import canonical_fact
from sandbox_runner.record.outputs import in_line
from sandbox_runner.world.call import Call, Outcome
from sandbox_runner.world.canonical import canonical_json

__all__ = [
    "HEAD_CHARACTERS",
    "META_TEXT_LIMIT",
    "TEXT_LIMIT",
    "argument_facts",
    "cut_details",
    "detail_facts",
    "fact_bytes",
    "fact_of",
    "meta_details",
    "shorten",
]

TEXT_LIMIT: Final = 512
"""Bytes of UTF-8 up to which a text stands in a fact whole; a longer one stands as digest, length, head."""

HEAD_CHARACTERS: Final = 128
"""Characters of a long text that stay readable."""

META_TEXT_LIMIT: Final = 16 * 1024
"""The same limit for ``Outcome.meta``, which holds the raw output that people read."""

SAFE_INTEGER: Final = 2**53 - 1
"""The largest integer that canonical JSON can hold (RFC 7493)."""

_FACT_LIMIT: Final = 256 * 1024
_DEPTH: Final = 12
_ITEMS: Final = 2_000


def fact_of(call: Call, outcome: Outcome, *, seq: int, prev: str) -> dict[str, Any]:
    """The fact of one call: see ``fields`` for its keys and ``chain`` for what binds it to the one before."""
    return {
        fields.ARGUMENTS: argument_facts(call.arguments),
        fields.DETAILS: detail_facts(outcome.details),
        fields.METHOD: call.method,
        fields.OPCODE: call.opcode.name,
        fields.OUTCOME: shorten(outcome.text),
        fields.PREV: prev,
        fields.SEQ: seq,
        fields.STATUS: outcome.status.value,
        fields.STEP: call.step,
    }


def fact_bytes(call: Call, outcome: Outcome, *, seq: int, prev: str) -> bytes:
    """The canonical bytes of a call's fact: what is chained. Details that make it too long are cut."""
    fact = fact_of(call, outcome, seq=seq, prev=prev)
    data = canonical_fact(fact)
    if len(data) > _FACT_LIMIT:
        data = canonical_fact({**fact, fields.DETAILS: cut_details(fact[fields.DETAILS])})
    return data


def argument_facts(arguments: Mapping[str, str | float]) -> dict[str, Any]:
    """A call's arguments as they stand in its fact; verification computes the same from the trail."""
    return {name: _plain(value, TEXT_LIMIT) for name, value in arguments.items()}


def detail_facts(details: Mapping[str, Any]) -> dict[str, Any]:
    """An outcome's details as they stand in its fact; verification computes the same from the event."""
    return {_text(str(key)): _plain(value, TEXT_LIMIT) for key, value in details.items()}


def cut_details(details: dict[str, Any]) -> dict[str, Any]:
    """What stands in a fact instead of details that would make it too long."""
    return {"<cut>": shorten(canonical_json(details).decode())}


def meta_details(outcome: Outcome) -> dict[str, Any]:
    """What the outcome says of this one replay (``Outcome.meta``), bounded."""
    return {
        _text(str(key)): in_line(_text(value).encode())
        if key == fields.OUTPUT and isinstance(value, str)
        else _plain(value, META_TEXT_LIMIT)
        for key, value in outcome.meta.items()
    }


def shorten(text: str, limit: int = TEXT_LIMIT) -> str | dict[str, Any]:
    """A text of at most ``limit`` bytes as it is, a longer one as ``{"bytes", "head", "sha256"}``.

    A lone surrogate, which no UTF-8 can hold, becomes its visible escape first.
    """
    text = _text(text)
    if len(text) * 4 <= limit:
        return text
    data = text.encode()
    if len(data) <= limit:
        return text
    return {
        fields.BYTES: len(data),
        fields.HEAD: text[:HEAD_CHARACTERS],
        fields.SHA256: hashlib.sha256(data).hexdigest(),
    }


def _text(text: str) -> str:
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode()


def _plain(value: Any, limit: int, depth: int = 0) -> Any:
    """Any value as one that canonical JSON can hold, bounded in depth and breadth; what is cut says so."""
    if isinstance(value, str):
        return shorten(value, limit)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _number(value)
    if depth < _DEPTH and isinstance(value, Mapping):
        return _object(value, limit, depth + 1)
    if depth < _DEPTH and isinstance(value, list | tuple):
        return _array(value, limit, depth + 1)
    return f"<{type(value).__name__}>"


def _object(value: Mapping[Any, Any], limit: int, depth: int) -> dict[str, Any]:
    kept = {_text(str(key)): _plain(item, limit, depth) for key, item in islice(value.items(), _ITEMS)}
    return kept if len(value) <= _ITEMS else {**kept, "<left out>": len(value) - _ITEMS}


def _array(value: Sequence[Any], limit: int, depth: int) -> list[Any]:
    kept = [_plain(item, limit, depth) for item in value[:_ITEMS]]
    return kept if len(value) <= _ITEMS else [*kept, f"<{len(value) - _ITEMS} left out>"]


def _number(value: float) -> float | str:
    """A whole number as an integer: 5.0 and 5 are one fact. What JSON readers disagree on, as words."""
    if abs(value) <= SAFE_INTEGER:
        return int(value) if value == int(value) else value
    return f"<{value}>" if isinstance(value, float) else f"<integer of {value.bit_length()} bits>"

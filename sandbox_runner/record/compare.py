"""Where two values, two logs, two records first differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any

from sandbox_runner.record import fields
from sandbox_runner.record.lines import CallLine
from sandbox_runner.record.run_record import RunRecord

__all__ = ["Divergence", "compare_records", "first_difference", "first_divergence"]

_ORDER = (
    fields.STEP,
    fields.OPCODE,
    fields.METHOD,
    fields.ARGUMENTS,
    fields.STATUS,
    fields.OUTCOME,
    fields.DETAILS,
)


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first thing in which a replay was not what was recorded.

    Attributes:
        step: the step in the trail; None where the records differ as a whole.
        field: what differs, with dots into details: ``details.passed``.
        recorded, replayed: the two values, JSON-able.
    """

    step: int | None
    field: str
    recorded: Any
    replayed: Any

    def to_dict(self) -> dict[str, Any]:
        """The form of ``verify --replay --json``."""
        return asdict(self)


def first_divergence(recorded: Iterable[CallLine], replayed: Iterable[CallLine]) -> Divergence | None:
    """The first call whose fact differs, ``seq`` and ``prev`` aside; None when all facts are equal.

    A call that only one log has is a divergence of the field ``call``.
    """
    for one, other in zip_longest(recorded, replayed):
        if one is None or other is None:
            line = other if one is None else one
            return Divergence(line.step, "call", _name(one), _name(other))
        if one.digest == other.digest:
            continue
        for name in _ORDER:
            if difference := first_difference(one.fact[name], other.fact[name], name):
                return Divergence(one.step, *difference)
    return None


def compare_records(recorded: RunRecord, replayed: RunRecord) -> Divergence | None:
    """The first divergence of two sealed records: calls, then events, then what came out as a whole."""
    found = first_divergence(recorded.calls(), replayed.calls())
    if found is None and recorded.result is not None and replayed.result is not None:
        found = _events(recorded.result.events, replayed.result.events)
    if found is not None:
        return found
    for name, one, other in zip(_WHOLE, _whole(recorded), _whole(replayed), strict=True):
        if one != other:
            return Divergence(None, name, one, other)
    return None


def first_difference(one: Any, other: Any, path: str) -> tuple[str, Any, Any] | None:
    """Path and values of the first place where two JSON values differ; objects are walked by sorted key."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in sorted(one.keys() | other.keys()):
            if key not in one or key not in other:
                return f"{path}.{key}", one.get(key), other.get(key)
            if found := first_difference(one[key], other[key], f"{path}.{key}"):
                return found
        return None
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for at, (left, right) in enumerate(zip(one, other, strict=True)):
            if found := first_difference(left, right, f"{path}[{at}]"):
                return found
        return None
    return None if one == other else (path, one, other)


_WHOLE = ("chain_head", "meta_trail_sha256", "snapshot", "status")
_EVENT = ("step_index", "opcode_name", "operands", "status", "result", "details")


def _whole(record: RunRecord) -> Iterator[Any]:
    result = record.result
    return (None if result is None else getattr(result, name) for name in _WHOLE)


def _events(
    recorded: Iterable[Mapping[str, Any]], replayed: Iterable[Mapping[str, Any]]
) -> Divergence | None:
    for one, other in zip_longest(recorded, replayed):
        if one is None or other is None:
            event = other if one is None else one
            kept, new = (None if form is None else form.get("opcode_name") for form in (one, other))
            return Divergence(event.get("step_index"), "event", kept, new)
        for name in _EVENT:
            if difference := first_difference(one.get(name), other.get(name), name):
                return Divergence(one.get("step_index"), *difference)
    return None


def _name(line: CallLine | None) -> str | None:
    return None if line is None else line.fact[fields.OPCODE]

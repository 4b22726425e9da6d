"""What the page shows, picked from a record: plain values, no markup."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Literal

from sandbox_runner.record import fields
from sandbox_runner.record.lines import CallLine, subject_of
from sandbox_runner.record.run_record import RunRecord
from sandbox_runner.text import visible
from sandbox_runner.world import Status

__all__ = [
    "ROW_LIMIT",
    "FileChange",
    "Pair",
    "Step",
    "TestRun",
    "duration_text",
    "pairs_of",
    "runs_of_tests",
    "size_text",
    "steps_of",
]

ROW_LIMIT: Final = 2_000
"""Steps the page lists, and lines of one text; beyond them it says how many are left out. The log has all."""

_LOUD: Final = frozenset({Status.FAILED, Status.REFUSED})
_OUTPUT: Final = ("output", "stdout", "stderr", "tail", "text")
_TEXT_LIMIT: Final = 400
_CASES: Final = "outcomes"  # of a test run: "<how it ended> <the test's name>", each
_COUNTS: Final = ("passed", "failed", "errors", "skipped", "xfailed", "xpassed", "executed", "expected")
_NOT_SHOWN: Final = frozenset({*_COUNTS, "exit"})  # the counts have their own place, the text says the exit
_GOOD: Final = frozenset({"passed", "skipped", "xfailed"})


@dataclass(frozen=True, slots=True)
class FileChange:
    """One path of the workspace that the run changed.

    Attributes:
        path: relative to the workspace, printable.
        kind: what happened to it.
        note: sizes, line counts or modes, in words.
        patch: lines of a unified diff without their line ends; empty for what is no text.
    """

    path: str
    kind: Literal["added", "removed", "changed"]
    note: str = ""
    patch: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """A name and its value, as words."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the timeline; ``start`` and ``width`` are per mille of the whole, ``took`` is in words."""

    index: int
    opcode: str
    subject: str
    status: str
    text: str
    facts: tuple[Pair, ...]
    start: float
    width: float
    cases: tuple[Pair, ...] = ()
    output: tuple[str, ...] = ()
    took: str = ""

    @property
    def loud(self) -> bool:
        """Whether the step failed or was refused."""
        return self.status in _LOUD


@dataclass(frozen=True, slots=True)
class TestRun:
    """One TEST_RUN and what was reported about it: counts that are not zero, its tests, failed ones first."""

    __test__ = False  # the name is the operation's, not a test's

    step: Step
    counts: tuple[Pair, ...]
    cases: tuple[Pair, ...]
    facts: tuple[Pair, ...]


def steps_of(record: RunRecord) -> list[Step]:
    """The record's steps: its calls, and its markers where the record is sealed.

    Raises:
        VerificationError: the log is damaged.
    """
    lines = {line.step: line for line in record.calls()}
    total = sum(_took_ns(line) for line in lines.values()) or 1
    clock, steps = 0, []
    for index, event in _indexed_events(record, lines):
        line = lines.get(index)
        took = 0 if line is None else _took_ns(line)
        steps.append(_step(index, event, line, start=1000 * clock / total, width=1000 * took / total))
        clock += took
    return steps


def runs_of_tests(steps: Iterable[Step]) -> list[TestRun]:
    """The test runs among the steps, with counts apart from other facts."""
    return [_test_run(step) for step in steps if step.opcode == "TEST_RUN"]


def _test_run(step: Step) -> TestRun:
    values = {pair.name: pair.value for pair in step.facts}
    counts = tuple(Pair(name, values[name]) for name in _COUNTS if values.get(name, "0") != "0")
    facts = tuple(pair for pair in step.facts if pair.name not in _NOT_SHOWN)
    return TestRun(step, counts, tuple(sorted(step.cases, key=lambda case: case.value in _GOOD)), facts)


def pairs_of(value: Mapping[str, Any]) -> tuple[Pair, ...]:
    """A JSON object as names and words, nested objects by dotted names, empty values left out."""
    return tuple(_pairs(value, ""))


def duration_text(nanoseconds: float) -> str:
    """A duration in the unit that reads best: ``640 µs``, ``12 ms``, ``3.2 s``, ``4 min 5 s``."""
    if nanoseconds < 1e6:
        return f"{nanoseconds / 1e3:.0f} µs"
    if nanoseconds < 1e9:
        return f"{nanoseconds / 1e6:.3g} ms"
    if nanoseconds < 60e9:
        return f"{nanoseconds / 1e9:.3g} s"
    return f"{nanoseconds // 60e9:.0f} min {nanoseconds % 60e9 / 1e9:.0f} s"


def size_text(count: float) -> str:
    """A number of bytes in the unit that reads best: ``752 B``, ``64 KiB``, ``512 MiB``."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} GiB"


def _indexed_events(
    record: RunRecord, lines: Mapping[int, CallLine]
) -> Iterator[tuple[int, Mapping[str, Any] | None]]:
    events = () if record.result is None else record.result.events
    yield from enumerate(events)
    for index in sorted(lines):
        if index >= len(events):
            yield index, None


def _step(
    index: int, event: Mapping[str, Any] | None, line: CallLine | None, *, start: float, width: float
) -> Step:
    text = "" if event is None else _cut(str(event.get("result", "")))
    if line is None:
        marker = event or {}
        return Step(
            index=index,
            opcode=str(marker.get("opcode_name", "")),
            subject=_cut(" ".join(str(value) for value in marker.get("operands", {}).values())),
            status=str(marker.get(fields.STATUS, Status.OK)),
            text=text,
            facts=pairs_of(marker.get(fields.DETAILS, {})),
            start=start,
            width=width,
        )
    details = dict(line.fact[fields.DETAILS])
    cases = tuple(_cases(details.pop(_CASES, ())))
    return Step(
        index=index,
        opcode=str(line.fact[fields.OPCODE]),
        subject=_cut(subject_of(line)),
        status=line.status.value,
        text=text or line.outcome,
        facts=pairs_of(details),
        cases=cases,
        output=tuple(_output(line.meta.get(fields.DETAILS, {}))),
        took=duration_text(_took_ns(line)),
        start=start,
        width=width,
    )


def _took_ns(line: CallLine) -> int:
    """What the guest spent; where it says nothing, the whole way of the call."""
    for name in (fields.GUEST_NS, fields.DURATION_NS):
        value = line.meta.get(name)
        if isinstance(value, int) and value > 0:
            return value
    return 0


def _cases(value: Any) -> Iterator[Pair]:
    for case in value if isinstance(value, list) else ():
        if isinstance(case, str):
            ended, _, name = case.partition(" ")
            yield Pair(_cut(name), _cut(ended))


def _output(meta: Any) -> Iterator[str]:
    if not isinstance(meta, Mapping):
        return
    for name in _OUTPUT:
        text = meta.get(name)
        if isinstance(text, Mapping):
            text = f"{text.get(fields.HEAD, '')}\n[cut: {text.get(fields.BYTES)} bytes in all]"
        if isinstance(text, str) and text.strip():
            yield from islice(text.strip("\n").split("\n"), ROW_LIMIT)


def _pairs(value: Mapping[str, Any], prefix: str) -> Iterator[Pair]:
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping) and item.keys() != {fields.BYTES, fields.HEAD, fields.SHA256}:
            yield from _pairs(item, f"{name}.")
        elif item not in (None, "", [], ()):
            yield Pair(name, _cut(_words(item)))


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping) and fields.HEAD in value:
        return f"{value[fields.HEAD]}… ({value.get(fields.BYTES)} bytes)"
    if isinstance(value, list | tuple) and all(isinstance(item, str | int) for item in value):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _cut(text: str) -> str:
    return visible(text if len(text) <= _TEXT_LIMIT else f"{text[:_TEXT_LIMIT]}…")

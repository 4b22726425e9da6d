"""What the page shows, picked from a record: plain values, no markup."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final, Literal

from sandbox_runner.record import fields
from sandbox_runner.record.lines import CallLine, subject_of
from sandbox_runner.record.outputs import output_in_line
from sandbox_runner.record.run_record import RunRecord
from sandbox_runner.visible import visible
from sandbox_runner.world import Status

__all__ = [
    "MEMORY_BYTES",
    "ROW_LIMIT",
    "FileChange",
    "Pair",
    "Shown",
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
_TEXT_LIMIT: Final = 400
_PAGE_CHARACTERS: Final = 16 * 1024 * 1024  # of facts, cases and output of all steps shown
_MARKUP: Final = 64  # characters
MEMORY_BYTES: Final = 192 * 1024 * 1024
"""The most memory that a report takes, bytes: some copies of a page whose texts are escaped."""
_CASES: Final = "outcomes"  # of a test run: "<how it ended> <the test's name>", each
_COUNTS: Final = ("passed", "failed", "errors", "skipped", "xfailed", "xpassed", "executed", "expected")
_NOT_SHOWN: Final = frozenset({*_COUNTS, "exit"})  # the counts have their own place, the text says the exit
_FACTS: Final = 200  # of one step
_TAIL: Final = 20  # lines of an output that are shown at once where a step failed
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


_LEFT_OUT: Final = (Pair("left out", "the page is full; `sandbox-runner log` shows what this step said"),)


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

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines of the output."""
        return self.output[-_TAIL:]

    @property
    def telling(self) -> tuple[Pair, ...]:
        """The facts without counts of nothing."""
        return tuple(pair for pair in self.facts if pair.value != "0" or pair.name not in _COUNTS)

    @property
    def characters(self) -> int:
        """What the step puts on the page; a line or pair counts for the markup around it, too."""
        pairs = sum(len(pair.name) + len(pair.value) + _MARKUP for pair in (*self.facts, *self.cases))
        return pairs + sum(len(line) + _MARKUP for line in (*self.output, *self.tail))


@dataclass(frozen=True, slots=True)
class TestRun:
    """One TEST_RUN and what was reported about it: counts that are not zero, its tests, failed ones first."""

    __test__ = False  # the name is the operation's, not a test's

    step: Step
    counts: tuple[Pair, ...]
    cases: tuple[Pair, ...]
    facts: tuple[Pair, ...]


def steps_of(record: RunRecord) -> Iterator[Step]:
    """The record's steps, one at a time: its calls, and its markers where the record is sealed.

    Raises:
        VerificationError: the log is damaged.
    """
    total = sum(line.took_ns for line in record.calls()) or 1
    clock = 0
    for index, event, line in _with_lines(record):
        took = 0 if line is None else line.took_ns
        yield _step(index, event, line, start=1000 * clock / total, width=1000 * took / total)
        clock += took


class Shown:
    """The steps that a page shows, taken from all of them; in bounded memory, whatever they hold.

    Attributes:
        steps: the first ones. loud: the first that failed or were refused. tests: the first test runs.
        count: how many there are in all.
    """

    def __init__(self, steps: Iterable[Step]) -> None:
        self.steps: list[Step] = []
        self.loud: list[Step] = []
        self.tests: list[Step] = []
        self.count = 0
        room = _PAGE_CHARACTERS
        for step in steps:
            self.count += 1
            wanted = [
                rows
                for rows, fits in ((self.steps, True), (self.loud, step.loud), (self.tests, _is_test(step)))
                if fits and len(rows) < ROW_LIMIT
            ]
            if wanted:
                room -= step.characters
                kept = step if room >= 0 else replace(step, facts=_LEFT_OUT, cases=(), output=())
                for rows in wanted:
                    rows.append(kept)


def runs_of_tests(steps: Iterable[Step]) -> list[TestRun]:
    """The test runs among the steps, with counts apart from other facts."""
    return [_test_run(step) for step in steps if _is_test(step)]


def _is_test(step: Step) -> bool:
    return step.opcode == "TEST_RUN"


def _test_run(step: Step) -> TestRun:
    values = {pair.name: pair.value for pair in step.facts}
    counts = tuple(Pair(name, values[name]) for name in _COUNTS if values.get(name, "0") != "0")
    facts = tuple(pair for pair in step.facts if pair.name not in _NOT_SHOWN)
    return TestRun(step, counts, tuple(sorted(step.cases, key=lambda case: case.value in _GOOD)), facts)


def pairs_of(value: Mapping[str, Any]) -> tuple[Pair, ...]:
    """A JSON object as names and words, nested objects by dotted names, empty values left out."""
    pairs = tuple(islice(_pairs(value, ""), _FACTS + 1))
    if len(pairs) <= _FACTS:
        return pairs
    return (*pairs[:_FACTS], Pair("left out", f"all beyond {_FACTS} values"))


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


def _with_lines(record: RunRecord) -> Iterator[tuple[int, Mapping[str, Any] | None, CallLine | None]]:
    """Events with the lines of their steps, then lines without events; a line out of order is passed over."""
    events = () if record.result is None else record.result.events
    lines = record.calls()
    line = next(lines, None)
    for index, event in enumerate(events):
        while line is not None and line.step < index:
            line = next(lines, None)
        found = line is not None and line.step == index
        yield index, event, line if found else None
        if found:
            line = next(lines, None)
    last = len(events) - 1
    while line is not None:
        if line.step > last:
            last = line.step
            yield last, None, line
        line = next(lines, None)


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
    cases = tuple(islice(_cases(details.pop(_CASES, ())), ROW_LIMIT))
    return Step(
        index=index,
        opcode=str(line.fact[fields.OPCODE]),
        subject=_cut(subject_of(line)),
        status=line.status.value,
        text=text or line.outcome,
        facts=pairs_of(details),
        cases=cases,
        output=tuple(_output(line)),
        took=duration_text(line.took_ns),
        start=start,
        width=width,
    )


def _cases(value: Any) -> Iterator[Pair]:
    for case in value if isinstance(value, list) else ():
        if isinstance(case, str):
            ended, _, name = case.partition(" ")
            yield Pair(_cut(name), _cut(ended))


def _output(line: CallLine) -> Iterator[str]:
    """What a line tells of what was printed: the beginning, how much is not here, the end."""
    output = output_in_line(line)
    if output is None:
        return
    yield from _text_lines(output.head)
    if output.missing:
        yield f"[... {output.missing} bytes are not here; the log has what was kept of them ...]"
        yield from _text_lines(output.tail)


def _text_lines(data: bytes) -> list[str]:
    return data.decode("utf-8", "replace").strip("\n").split("\n")[:ROW_LIMIT]


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

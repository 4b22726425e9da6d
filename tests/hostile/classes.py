"""The classes of attack as ``classes.toml`` lists them, and the judgement over what came of them.

A class is tried by a *probe* (hostile code that runs inside a sandbox and says what it got), carried by
*tests*, or both. What must come of it is written beside it, for each runtime, or for the host where no
sandbox takes part:

    shut                  nothing of it may succeed
    own kernel            some may succeed, in a kernel of the runtime's own; the host's is never asked
    depends on the host   the kernel or the Engine decides; ``sandbox-runner doctor`` says how it is here
    open                  known not to hold, and not mended yet: nothing tries it, and the table says so

An answer that is not listed does not hold.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

__all__ = [
    "CLASSES",
    "HOST",
    "RUNTIMES",
    "Answer",
    "AttackClass",
    "Expected",
    "Result",
    "Verdict",
    "expected_verdict",
    "judge",
    "load",
]

CLASSES = Path(__file__).with_name("classes.toml")
RUNTIMES = ("runc", "runsc")
HOST = "host"
WAYS = ("test", "fresh test", "process 1")
_DEFAULT_WAYS = ("test", "process 1")
_DENIED = frozenset({"EPERM", "EACCES"})  # holds everywhere, so it need not be listed
_KEYS = frozenset(
    {"id", "title", "sources", "tests", "probe", "ways", "follow", "alone", "answers", *RUNTIMES, HOST}
)


class Expected(StrEnum):
    """What must come of a class."""

    SHUT = "shut"
    OWN_KERNEL = "own kernel"
    HOST_DECIDES = "depends on the host"
    OPEN = "open"


class Verdict(StrEnum):
    """What came of it."""

    HELD = "held"
    OWN_KERNEL = "own kernel"
    HOST_DECIDES = "depends on the host"
    OPEN = "open"
    NOT_HELD = "NOT HELD"
    NOT_TRIED = "not tried"


_HOLDING = {
    Expected.SHUT: Verdict.HELD,
    Expected.OWN_KERNEL: Verdict.OWN_KERNEL,
    Expected.HOST_DECIDES: Verdict.HOST_DECIDES,
    Expected.OPEN: Verdict.OPEN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackClass:
    """One class.

    Attributes:
        id: its name in commands and pages.
        area: the heading it stands under.
        title: what is tried, in plain words.
        sources: where it comes from: the project's lists, advisories, others' scenarios.
        expected: what must come of it, by column: a runtime or ``host``.
        answers: what a probe may answer, by column, beside a plain denial. ``ATTEMPT = ANSWER`` allows an
            answer for one attempt only.
        probe: ``module.function`` of ``probes/``.
        ways: how the probe is run: as a test, as a test in a new process, in place of the guest.
        follow: a later test looks whether something of it still acts.
        alone: in a run of its own, as the test session itself, because it may end the sandbox.
        tests: node ids of tests that carry it.
    """

    id: str
    area: str
    title: str
    sources: tuple[str, ...]
    expected: Mapping[str, Expected]
    answers: Mapping[str, frozenset[str]]
    probe: str | None = None
    ways: tuple[str, ...] = _DEFAULT_WAYS
    follow: bool = False
    alone: bool = False
    tests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What one attempt came to: a probe's by its way, or a test by its node id."""

    way: str
    attempt: str
    text: str
    holds: bool | None = None  # None: the class's list of answers decides


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one class in one column.

    Attributes:
        verdict: the word of the table.
        against: answers that are not listed.
        seen: every answer.
    """

    verdict: Verdict
    against: tuple[Answer, ...] = ()
    seen: tuple[Answer, ...] = ()


def judge(attack: AttackClass, column: str, answers: Iterable[Answer], *, tried: bool = True) -> Result:
    """Compare answers with those that are listed; no answer at all holds nothing.

    Args:
        attack: the class.
        column: a runtime, or ``host``.
        answers: what came of it there.
        tried: whether anything of it was asked to run there.
    """
    seen = tuple(dict.fromkeys(answers))
    if attack.expected[column] is Expected.OPEN:
        return Result(expected_verdict(attack, column))
    if not tried:
        return Result(Verdict.NOT_TRIED)
    if not seen:
        return Result(Verdict.NOT_HELD, (Answer("nothing", "tried it", "no answer"),))
    listed = attack.answers.get(column, frozenset()) | _DENIED
    against = tuple(answer for answer in seen if not _holds(answer, listed))
    if against:
        return Result(Verdict.NOT_HELD, against, seen)
    return Result(expected_verdict(attack, column), (), seen)


def expected_verdict(attack: AttackClass, column: str) -> Verdict:
    """The word of the table when all is as it must be."""
    return _HOLDING[attack.expected[column]]


def _holds(answer: Answer, listed: frozenset[str]) -> bool:
    if answer.holds is not None:
        return answer.holds
    return answer.text in listed or f"{answer.attempt} = {answer.text}" in listed


def load(path: Path = CLASSES) -> tuple[AttackClass, ...]:
    """Read the classes.

    Raises:
        ValueError: a class is incomplete, or says something that nothing reads.
    """
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    classes = [_class(area["title"], row) for area in document["area"] for row in area["class"]]
    ids = [attack.id for attack in classes]
    if len(set(ids)) < len(ids):
        raise ValueError(f"{path.name}: an id stands twice: {min(i for i in ids if ids.count(i) > 1)}")
    return tuple(classes)


def _class(area: str, row: Mapping[str, Any]) -> AttackClass:
    where = f"class {row.get('id', row)}"
    if unknown := set(row) - _KEYS:
        raise ValueError(f"{where}: unknown keys: {', '.join(sorted(unknown))}")
    expected = {column: Expected(row[column]) for column in (*RUNTIMES, HOST) if column in row}
    if not expected or (HOST in expected and len(expected) > 1):
        raise ValueError(f"{where}: say what must come of it under runc and runsc, or on the host")
    ways = tuple(row.get("ways", ("test",) if row.get("alone") else _DEFAULT_WAYS))
    if set(ways) - set(WAYS):
        raise ValueError(f"{where}: the ways are {', '.join(WAYS)}")
    return AttackClass(
        id=row["id"],
        area=area,
        title=row["title"],
        sources=tuple(row["sources"]),
        expected=expected,
        answers=_answers(row.get("answers", []), expected),
        probe=row.get("probe"),
        ways=ways,
        follow=row.get("follow", False),
        alone=row.get("alone", False),
        tests=tuple(row.get("tests", ())),
    )


def _answers(
    told: Sequence[str] | Mapping[str, Sequence[str]], columns: Iterable[str]
) -> dict[str, frozenset[str]]:
    """One list for every runtime, or a list for each; what stands under ``both`` holds for all."""
    if not isinstance(told, Mapping):
        told = {"both": told}
    return {column: frozenset({*told.get("both", ()), *told.get(column, ())}) for column in columns}

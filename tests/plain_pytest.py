"""Plain pytest as the oracle of tests: one outcome per test, from what pytest's terminal was told."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OBSERVER = Path(__file__).with_name("pytest_observer.py")
COUNTED = ("passed", "failed", "skipped", "errors", "xfailed", "xpassed")
_FAILURES = {"failed", "error"}
_LONGEST_NAME = 8192  # characters of a node id; a report holds no more of it


@dataclass(frozen=True, slots=True)
class Told:
    """One test: its node id, the categories of its last attempt, and what stands beside them."""

    name: str
    outcomes: tuple[str, ...]
    reruns: int = 0
    subtests: tuple[tuple[str, int], ...] = ()

    def form(self) -> list[Any]:
        """As a report's digest has it."""
        name = self.name
        if len(name) > _LONGEST_NAME:
            digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
            name = f"{name[:_LONGEST_NAME]}... sha256:{digest}"
        return [name, list(self.outcomes), self.reruns, [list(pair) for pair in self.subtests]]


@dataclass(frozen=True, slots=True)
class Observed:
    """What a session came to.

    Attributes:
        tests: in the order in which they began; a module that was not collected is among them.
        beside: what pytest counts beside their outcomes: subtests, and failures before a test was run again.
        dropped: what pytest counts in attempts that were not the last.
        end: the exit code, where there was one.
    """

    tests: tuple[Told, ...]
    end: int | None
    beside: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)

    def counts(self) -> dict[str, int]:
        """Outcomes by category, in the names of a run's details."""
        found = self.beside + Counter(outcome for test in self.tests for outcome in test.outcomes)
        found = Counter({"errors" if name == "error" else name: count for name, count in found.items()})
        return {name: found[name] for name in dict.fromkeys((*COUNTED, *sorted(found)))}

    def digest(self) -> str:
        """What a run's details call ``report_sha256``."""
        total = 0
        for test in self.tests:
            text = json.dumps(test.form(), separators=(",", ":")).encode()
            total += int.from_bytes(hashlib.shake_256(text).digest(512), "big")
        text = json.dumps([f"{total % 2**4096:x}", self.end], separators=(",", ":")).encode()
        return hashlib.sha256(text).hexdigest()


def observed(lines: Iterable[bytes]) -> Observed:
    """Read what the observer wrote.

    Attempts are told apart by node id and worker, and by where pytest says that one has finished. One is not
    the last of its test where its last report has an outcome that pytest does not have.
    """
    records = [json.loads(line) for line in lines]
    end = records.pop() if records and isinstance(records[-1], int) else None
    tests = [Told(record["module"], (record["category"],)) for record in records if "module" in record]
    by_test: dict[tuple[str, str], list[list[dict[str, Any]]]] = {}
    for record in records:
        if "test" in record:
            attempts = by_test.setdefault((record["test"], record["worker"]), [[]])
            if record["when"] == "teardown" and not attempts[-1] and len(attempts) > 1:
                attempts.pop()  # it was another worker's that had finished
            attempts[-1].append(record)
        for key, attempts in by_test.items():
            if key[0] == record.get("finish") and _is_over(attempts[-1]):
                attempts.append([])
    beside: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    for (name, _), every in by_test.items():
        attempts = list(filter(None, every))
        while attempts:
            last = next((at for at, attempt in enumerate(attempts) if _is_final(attempt)), len(attempts) - 1)
            tests.append(_test(name, attempts[: last + 1], beside, dropped))
            del attempts[: last + 1]
    return Observed(tuple(tests), end, beside, dropped)


def _is_over(attempt: Sequence[dict[str, Any]]) -> bool:
    """Whether it can be what has finished: another worker may be in the middle of the same test."""
    return any(record["when"] == "teardown" for record in attempt) or not _is_final(attempt)


def _is_final(attempt: Sequence[dict[str, Any]]) -> bool:
    own = [record["outcome"] for record in attempt if not record["subtest"]]
    return not own or own[-1] in {"passed", "failed", "skipped"}


def _test(
    name: str, attempts: list[list[dict[str, Any]]], beside: Counter[str], dropped: Counter[str]
) -> Told:
    subtests: Counter[str] = Counter()
    outcomes = []
    for attempt in attempts:
        for record in attempt:
            category, failed = record["category"], record["category"] in _FAILURES
            kept = attempt is attempts[-1]
            if record["subtest"]:
                if kept or failed:
                    subtests["xfailed" if record["xfail"] else record["outcome"]] += 1
                if category and not category.startswith("subtests "):
                    (beside if kept or failed else dropped)[category] += 1
            elif category and kept:
                outcomes.append(category)
            elif category:
                (beside if failed else dropped)[category] += 1
    return Told(name, tuple(outcomes), len(attempts) - 1, tuple(sorted(subtests.items())))

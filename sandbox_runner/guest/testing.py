"""test_run: pytest as the sandbox uid, judged from its report and its exit together.

A pass needs all of: exit 0, a report that is whole and says the same, at least one test executed, as many as
were expected, and nothing that failed. The report is read after everything of the sandbox uid is dead, so
nobody adds to it later; a missing or broken end is "incomplete", whatever the exit code says.

Tests are counted as pytest's last line counts them, the last attempt of each alone; what failed counts in
every attempt, for pytest fails the session for it. Outcomes that only a plugin knows are named and nothing
else: they are no pass, and a test that has no other was not executed.
"""

from __future__ import annotations

import os
from time import monotonic

from sandbox_runner.guest.digest import constructor, sha256_hex
from sandbox_runner.guest.lean import json_decoder, json_encoder
from sandbox_runner.guest.outcome import Outcome, StepError, listing, step_error
from sandbox_runner.guest.paths import close_parent, normal, open_parent, split_target
from sandbox_runner.guest.process import Program, run
from sandbox_runner.guest.scratch import clear_scratch
from sandbox_runner.guest.sinks import HeadTail, Whole
from sandbox_runner.guest.texts import python_command
from sandbox_runner.guest.tools import require_tool
from sandbox_runner.guest.wire import OUTPUT_LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox_runner.guest.context import Guest
    from sandbox_runner.guest.process import Ended

__all__ = ["TestReport", "read_report", "test_run"]

_REPORT_LIMIT = 8 << 20  # bytes of a report; nothing else of it is held but a line and what is listed
_LINE_LIMIT = 64 << 10  # bytes of a line; a node id has some hundreds
_KEPT = 64 << 10  # characters of lines that are kept for the listing, and a last line beyond
_LINE_COST = 64  # characters that each such line counts for beside its own
_decode, _encode = json_decoder(), json_encoder(ascii_only=True)
_COUNTED = ("passed", "failed", "skipped", "errors", "xfailed", "xpassed")
_PLURALS = {"error": "errors"}  # where a count is not named as its outcome is
_EXECUTED = frozenset(("passed", "failed", "xfailed", "xpassed"))
_MOST = 1 << 31  # of any count in one line
_WORD = 64  # characters of a name that a plugin gave
_WORDS = 32  # such names; the rest are one
_MANY = 8  # outcomes of one test; no session sends more
_SUMMARY = 1024  # characters
_PLACES = 512  # bytes of a digest that is added up


class TestReport:
    """What a session said about itself.

    Attributes:
        counts: tests by outcome: passed, failed, skipped, errors, xfailed, xpassed; failed subtests too.
        other: how many came to outcomes that only a plugin knows, by name.
        subtests: subtests by outcome.
        reruns: attempts that were not the last of their test.
        executed: tests whose own code ran and came to an outcome that pytest knows.
        outcomes: how many outcomes of tests were told.
        shown: the first of them, as outcome and node id.
        summary: pytest's own last line, without its time.
        end: pytest's exit code, or ``None`` where the report has no proper end.
        missing: pytest could not be imported.
    """

    __test__ = False  # no test, whatever pytest thinks of its name
    __slots__ = (
        *("_digest", "_room", "counts", "end", "executed", "missing", "other", "outcomes", "reruns", "shown"),
        *("subtests", "summary"),
    )

    def __init__(self) -> None:
        self.counts = dict.fromkeys(_COUNTED, 0)
        self.other: dict[str, int] = {}
        self.subtests: dict[str, int] = {}
        self.reruns = 0
        self.executed = 0
        self.outcomes = 0
        self.shown: list[str] = []
        self.summary = ""
        self.end: int | None = None
        self.missing = False
        self._room = _KEPT
        self._digest = 0

    def tell(
        self, name: str, outcomes: list[str], reruns: int = 0, subtests: dict[str, int] | None = None
    ) -> None:
        """Take in a test, or a module that was not collected; only the first are held."""
        told = [name, outcomes, reruns, sorted((subtests or {}).items())]
        self._digest = (self._digest + _number(_encode(told))) % (1 << 8 * _PLACES)
        for outcome in outcomes:
            self.count(outcome)
        marks = [*outcomes, "subtests-failed"] if (subtests or {}).get("failed") else outcomes
        self.outcomes += len(marks)
        for mark in marks:
            if self._room > 0:
                self.shown.append(f"{_word(mark).replace(' ', '-')} {name}")
                self._room -= len(self.shown[-1]) + _LINE_COST
        self.reruns += reruns
        for kind, number in (subtests or {}).items():
            _add(self.subtests, kind, number)

    def count(self, outcome: str, number: int = 1) -> None:
        """Count reports under the name that pytest has for them."""
        key = _PLURALS.get(outcome, outcome)
        if key in self.counts and outcome != "errors":
            self.counts[key] += number
        else:
            _add(self.other, outcome, number)

    def failed(self) -> int:
        """Whatever failed, be it a part of a test."""
        return max(self.counts["failed"] + self.counts["errors"], self.subtests.get("failed", 0))

    def sha256(self) -> str:
        """The digest of all that was told, in whatever order: of the JSON text ``[sum, end]``.

        ``sum`` is in hexadecimal, modulo 2**4096, over each test: the first 512 bytes of the SHAKE256 of the
        JSON ``[node id, [outcome, ...], reruns, [[subtests' outcome, how many], ...]]``, as a big-endian
        number. Texts of JSON are ASCII, without blanks. Two sessions that differ in nothing but the order of
        tests have one digest, and a test that is told twice counts twice.
        """
        return sha256_hex(_encode([f"{self._digest:x}", self.end]).encode())


def _number(text: str) -> int:
    shake = constructor("shake_256", ("_sha3", "hashlib"))
    return int.from_bytes(shake(text.encode()).digest(_PLACES), "big")


def _add(counts: dict[str, int], name: str, number: int) -> None:
    name = _word(name)
    if name not in counts and name not in _COUNTED and len(counts) >= _WORDS:
        name = "of other kinds"
    counts[name] = counts.get(name, 0) + number


def _word(name: str) -> str:
    """A name that a plugin gave an outcome, printable and short, as no other is shown."""
    plain = "".join(c if " " <= c <= "~" and c != "\\" else f"\\u{{{ord(c):x}}}" for c in name[: _WORD + 1])
    if len(plain) <= _WORD:
        return plain
    return f"{plain[:_WORD]}...{sha256_hex(name.encode('utf-8', 'surrogatepass'))[:16]}"


def read_report(data: bytes | bytearray, *, cut: bool) -> TestReport:
    """Read a report of any origin: what is malformed, cut or said after the end makes it incomplete."""
    report = TestReport()
    whole = not cut and data.endswith(b"\n")
    at, end = 0, data.find(b"\n")
    while end >= 0:
        if report.end is not None:  # somebody spoke after the end
            whole = False
        if end - at > _LINE_LIMIT or not _take_line(report, data[at:end]):
            whole = False
            break
        at, end = end + 1, data.find(b"\n", end + 1)
    if not whole:
        report.end = None
    return report


def _take_line(report: TestReport, line: bytes | bytearray) -> bool:
    try:
        record = _decode(line.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        return False
    return type(record) is dict and _take(report, record)


def _take(report: TestReport, record: dict[str, Any]) -> bool:
    if len(record) != 1:
        return False
    ((kind, value),) = record.items()
    if kind == "end":
        report.end = value if type(value) is int and abs(value) < _MOST else None
        return report.end is not None
    if kind == "missing":
        report.missing = True
        return True
    if kind == "summary" and type(value) is str:
        report.summary = "".join(c if c.isprintable() else "?" for c in value[:_SUMMARY])
        return True
    if kind == "collect" and type(value) is str:
        report.tell(value, ["error"])
        return True
    return kind == "test" and type(value) is list and _take_test(report, *value[:5])


def _take_test(report: TestReport, *value: Any) -> bool:
    if len(value) not in {3, 4}:
        return False
    name, outcomes, ran, *rest = value
    beside = rest[0] if rest else [0, {}, {}]
    if type(name) is not str or type(outcomes) is not list or type(ran) is not bool:
        return False
    if type(beside) is not list or len(beside) != 3 or len(outcomes) > _MANY:
        return False
    if not all(type(item) is str for item in outcomes):
        return False
    reruns, subtests, counted = beside
    if not (_is_count(reruns) and _are_counts(subtests) and _are_counts(counted)):
        return False
    report.tell(name, outcomes, reruns, subtests)
    for outcome, number in counted.items():
        report.count(outcome, number)
    if ran and not _EXECUTED.isdisjoint((*outcomes, *counted)):
        report.executed += 1
    return True


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MOST


def _are_counts(value: Any) -> bool:
    return type(value) is dict and all(map(_is_count, value.values()))


def test_run(guest: Guest, test_path: str, expected: int) -> Outcome:
    """Run the tests of a path (a file, a directory, or a file and a node id after ``::``)."""
    target = _existing(guest, test_path)
    settings = {"honour": guest.config.tests.honour_project_config, "path": target}
    seconds = min(guest.config.tests.timeout_s, guest.config.limits.call_s)
    output = guest.output = HeadTail(guest.config.limits.output_bytes, keep=OUTPUT_LIMIT)
    said = Whole(_REPORT_LIMIT)
    started = monotonic()
    if guest.server is not None:
        ended = guest.server.run(guest, settings, output, said, seconds)
    else:
        argv = python_command(require_tool("python3"), "pytest_session", _encode(settings))
        ended = run(guest, Program(argv, cwd=guest.root, sinks=[((1, 2), output), ((3,), said)]), seconds)
    took = monotonic() - started
    clear_scratch(guest)
    report = read_report(said.data, cut=said.cut)
    details = _details(guest, report, ended, expected)
    details["output"] = output.text()
    details["meta"] = {"seconds": round(took, 3), "processes_left": ended.left, "output_bytes": output.total}
    if report.summary:
        details["meta"]["summary"] = report.summary
    reason = _why_not(report, ended, test_path, expected, seconds)
    if reason:
        raise StepError(reason, details)
    return Outcome(f"test_run: {test_path} (exit=0)", details)


test_run.__test__ = False  # type: ignore[attr-defined]


def _existing(guest: Guest, test_path: str) -> str:
    """The target as pytest is given it: the file part in its one normal form, and never an option."""
    path, node = split_target(test_path)
    parts = normal(path)
    target = "./" + b"/".join(parts).decode() + node
    if not parts:
        return target
    with guest.identity:
        parent = open_parent(guest.root, parts, path)
        try:
            os.stat(parts[-1], dir_fd=parent)
        except FileNotFoundError:
            raise StepError("file not found: " + path) from None
        except OSError as error:
            raise step_error(error, path) from None
        finally:
            close_parent(guest.root, parent)
    return target


def _details(guest: Guest, report: TestReport, ended: Ended, expected: int) -> dict[str, Any]:
    shown = listing(report.shown)
    return {
        **report.counts,
        "complete": report.end is not None,
        "executed": report.executed,
        "exhausted": ended.exhausted,
        "exit": ended.code,
        "expected": expected,
        "other": report.other,
        "outcomes": shown,
        "outcomes_truncated": report.outcomes > len(shown),
        "report_sha256": report.sha256(),
        "reruns": report.reruns,
        "self_reported": True,
        "signal": ended.signal,
        "subtests": report.subtests,
        "verdict_source": "project" if guest.config.tests.honour_project_config else "pytest",
    }


def _why_not(report: TestReport, ended: Ended, path: str, expected: int, seconds: float) -> str | None:
    """Why this is no pass, or ``None``."""
    if ended.timed_out:
        return f"timeout after {seconds:g}s: {path}"
    if report.missing:
        return "the image has no pytest; use an image that has it"
    whole = report.end is not None and report.end == ended.code
    wanted = expected in {0, report.executed}
    failed = report.failed()
    if whole and ended.code == 0 and report.executed > 0 and wanted and not failed:
        return None
    other = sum(report.other.values())
    note = (f", other={other}" if other else "") + ("" if whole else ", incomplete")
    passed = report.counts["passed"]
    return f"{path} ({ended.manner()}, passed={passed}, failed={failed}, expected={expected}{note})"

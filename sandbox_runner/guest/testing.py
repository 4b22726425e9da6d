"""test_run: pytest as the sandbox uid, judged from its report and its exit together.

A pass needs all of: exit 0, a report that is whole and says the same, at least one test executed, and as
many as were expected. The report is read after everything of the sandbox uid is dead, so nobody adds to it
later; a missing or broken end is "incomplete", whatever the exit code says.
"""

from __future__ import annotations

import os
from time import monotonic

from sandbox_runner.guest.digest import sha256
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
_KEPT = 64 << 10  # characters of cases that are kept for the listing, and a last case beyond
_decode, _encode = json_decoder(), json_encoder(ascii_only=True)
_RAN = {"passed": "passed", "failed": "failed", "xfailed": "xfailed", "xpassed": "xpassed"}
_OUTCOMES = frozenset((*_RAN, "skipped"))
_PHASES = frozenset(("setup", "call", "teardown"))


class TestReport:
    """What a session said about itself.

    Attributes:
        counts: tests by outcome: passed, failed, skipped, errors, xfailed, xpassed.
        executed: tests whose own code ran.
        cases: how many outcomes were told, in whatever phase.
        shown: the first of them, as outcome and node id.
        end: pytest's exit code, or ``None`` where the report has no proper end.
        missing: pytest could not be imported.
    """

    __test__ = False  # no test, whatever pytest thinks of its name
    __slots__ = ("_digest", "_room", "cases", "counts", "end", "executed", "missing", "shown")

    def __init__(self) -> None:
        self.counts = dict.fromkeys(("passed", "failed", "skipped", "errors", "xfailed", "xpassed"), 0)
        self.executed = 0
        self.cases = 0
        self.shown: list[str] = []
        self.end: int | None = None
        self.missing = False
        self._room = _KEPT
        self._digest = sha256.new(b"[[", size=_REPORT_LIMIT)

    def tell(self, name: str, outcome: str) -> None:
        """Take in one outcome; however many there are, only the first are held."""
        self._digest.update((("," if self.cases else "") + _encode([name, outcome])).encode())
        self.cases += 1
        if self._room > 0:
            self.shown.append(f"{outcome} {name}")
            self._room -= len(self.shown[-1])

    def sha256(self) -> str:
        """The digest of all that was told: of the JSON ``[[[node id, outcome], ...], end]``."""
        whole = self._digest.copy()
        whole.update(f"],{_encode(self.end)}]".encode())
        return str(whole.hexdigest())


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
        record = _decode(line.decode())
    except (ValueError, RecursionError):
        return False
    return type(record) is dict and _take(report, record)


def _take(report: TestReport, record: dict[str, Any]) -> bool:
    if len(record) != 1:
        return False
    ((kind, value),) = record.items()
    if kind == "end":
        report.end = value if type(value) is int else None
        return report.end is not None
    if kind == "missing":
        report.missing = True
        return True
    if kind == "collect" and type(value) is str:
        report.counts["errors"] += 1
        report.tell(value, "error")
        return True
    return kind == "case" and type(value) is list and _take_case(report, value)


def _take_case(report: TestReport, value: list[Any]) -> bool:
    if len(value) != 3 or not all(type(item) is str for item in value):
        return False
    name, phase, outcome = value
    if phase not in _PHASES or outcome not in _OUTCOMES:
        return False
    if phase == "call" and outcome != "skipped":
        report.executed += 1
    counted = outcome if phase == "call" or outcome != "failed" else "errors"
    report.counts[counted] += 1
    report.tell(name, "error" if counted == "errors" else outcome)
    return True


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
        "outcomes": shown,
        "outcomes_truncated": report.cases > len(shown),
        "report_sha256": report.sha256(),
        "self_reported": True,
        "signal": ended.signal,
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
    if whole and ended.code == 0 and report.executed > 0 and wanted:
        return None
    counts = report.counts
    failed = counts["failed"] + counts["errors"]
    note = "" if whole else ", incomplete"
    return f"{path} ({ended.manner()}, passed={counts['passed']}, failed={failed}, expected={expected}{note})"

"""Records from elsewhere: documents, logs and events as large as their reader's limits let them be."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from sandbox_runner.errors import VerificationError
from sandbox_runner.record import (
    PolicyInfo,
    RunDirectory,
    RunInfo,
    RunRecord,
    RunStatus,
    StepCounts,
    TrailInfo,
    layout,
    now_text,
    verify_record,
)
from sandbox_runner.record.attestation import read_envelope
from sandbox_runner.record.chain import link
from sandbox_runner.record.encoding import canonical_fact
from sandbox_runner.record.lines import line_start
from sandbox_runner.record.report import render_report
from sandbox_runner.record.report.view import MEMORY_BYTES as REPORT_MEMORY
from sandbox_runner.trail import Trail, compile_worklog, load
from sandbox_runner.trail.operations import TrailOpcodes
from tests.bench.reading import Case, Reader, read_one

__all__ = ["READERS"]

_MIB = 1 << 20
RUN = "run"


def _trail(calls: int) -> Trail:
    entries = [{"op": "FILE_READ", "path": "a"}] * calls
    begin = {"op": "TRAIL_BEGIN", "agent": "a", "trail_id": "t", "ts": 1}
    return load(compile_worklog([begin, *entries, {"op": "TRAIL_END", "status": 0}]))


def _record(folder: Path, calls: int = 1) -> Path:
    """A sealed record of a run that did nothing."""
    trail = _trail(calls)
    facts = TrailInfo(
        sha256=trail.sha256,
        bytes=len(trail.data),
        version=trail.version,
        steps=len(trail.steps),
        agent=trail.agent,
        trail_id=trail.trail_id,
    )
    policy = PolicyInfo(name="p", sha256="44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")
    info = RunInfo(run_id=RUN, created_at=now_text(), trail=facts, policy=policy)
    with RunDirectory.create(folder, info, trail=trail.data, policy=b"{}") as directory:
        directory.seal(status=RunStatus.FAILED, exit_code=1, steps=StepCounts())
    return folder / RUN


def _load(folder: Path) -> None:
    RunRecord.load(folder / RUN)


def _verify(folder: Path) -> None:
    checks = verify_record(folder / RUN, require_signature=False)
    failed = [
        f"{check.name}: {check.detail}"
        for check in checks
        if not check.ok and "not checked" not in check.detail
    ]
    raise VerificationError("; ".join(failed))


def _log(folder: Path) -> None:
    record = RunRecord.load(folder / RUN)
    for _ in record.calls():
        pass


def _in_doubt(folder: Path) -> None:
    RunRecord.load(folder / RUN).in_doubt()


def _report(folder: Path) -> None:
    render_report(RunRecord.load(folder / RUN))


def _envelope(folder: Path) -> None:
    read_envelope(folder / RUN)


def _members(count: int) -> bytes:
    return b"{" + b",".join(b'"%x":"%x"' % (number, number) for number in range(count)) + b"}"


def _result(folder: Path, *, events: Iterable[bytes] = (), facts: bytes = b"{}") -> None:
    """Put these events and facts into the result of a record."""
    path = _record(folder) / layout.RESULT
    document = path.read_bytes()
    listed = b",\n  ".join(events)
    document = document.replace(
        b'"events": []', b'"events": [\n  ' + listed + b"\n]" if listed else b'"events": []'
    )
    path.write_bytes(document.replace(b'"facts": {}', b'"facts": ' + facts))


def members_beside_events(folder: Path) -> None:
    """A result whose facts take as much memory as values can."""
    _result(folder, facts=_members(layout.VALUE_LIMITS[layout.RESULT] - 1_000))


def lines_without_end(folder: Path) -> None:
    """A result of nothing but short lines."""
    path = _record(folder) / layout.RESULT
    path.write_bytes(b"{\n" + b"\n" * (900 * _MIB))


def a_line_without_end(folder: Path) -> None:
    """A result that is one line, mostly a hole."""
    path = _record(folder) / layout.RESULT
    with path.open("r+b") as file:
        file.truncate(1000 * _MIB)


def an_event_without_end(folder: Path) -> None:
    """A result whose one event has no end."""
    path = _record(folder) / layout.RESULT
    with path.open("wb") as file:
        file.write(b'{\n"events": [\n  {"a":"')
        file.truncate(1000 * _MIB)


def event(result: str, details: bytes = b"{}", operands: bytes = b"{}") -> bytes:
    text = json.dumps(result)
    return (
        b'{"chain":"%b","details":%b,"duration_ms":0,"opcode":%d,"opcode_name":"FILE_READ","operands":%b,"proof":"p",'
        b'"result":%b,"status":"ok","step_index":1,"timestamp":0}'
        % (b"0" * 64, details, TrailOpcodes.FILE_READ, operands, text.encode())
    )


def wide_events(folder: Path) -> None:
    """Events whose texts are four bytes a character."""
    told = event("\U0001f600" + "t" * (4 * _MIB))
    _result(folder, events=[told] * 80)


def events_of_members(folder: Path) -> None:
    """Events whose details take much as objects."""
    told = event("", _members(layout.EVENT_VALUES - 100))
    _result(folder, events=[told] * 100)


def unlike_operands(folder: Path) -> None:
    """Events with operands that their steps have not."""
    told = event("", operands=b'{"a":' + b"[" * 100 + b"1" + b"]" * 100 + b"}")
    _result(folder, events=[told] * 200_000)


def many_events(folder: Path) -> None:
    """As many short events as a trail has steps."""
    told = event("x" * 40)
    _result(folder, events=[told] * 1_000_000)


def lines_of_members(folder: Path) -> None:
    """Lines of a log that take much as objects."""
    fact = (
        b'{"arguments":{},"details":%b,"method":"file_read","opcode":"FILE_READ","outcome":"","prev":"",'
        b'"seq":0,"status":"ok","step":0}'
    )
    line = b'{"digest":"","fact":%b,"meta":{}}\n' % (fact % _members(layout.LINE_VALUES - 100))
    (_record(folder) / layout.CALLS).write_bytes(line[: layout.LINE_LIMIT] * 20)


def lines_of_tests(folder: Path) -> None:
    """A log of test runs, each with as many cases and as much output as a line may hold."""
    path = _record(folder) / layout.CALLS
    previous = ""
    with path.open("wb") as file:
        for number in range(2_000):
            cases = [f"failed {'<' * 380}{case}" for case in range(200)]
            fact = {
                "arguments": {},
                "details": {"outcomes": cases, **{f"key {key}": "&" * 390 for key in range(200)}},
                "method": "test_run",
                "opcode": "TEST_RUN",
                "outcome": "t",
                "prev": previous,
                "seq": number,
                "status": "failed",
                "step": number + 3,
            }
            data = canonical_fact(fact)
            previous = link(data)
            meta = json.dumps({"details": {"output": "<\n" * 30_000}}, separators=(",", ":")).encode()
            file.write(line_start(previous, data) + meta + b"}\n")


def a_log_line_without_end(folder: Path) -> None:
    """A log that is one line, a hole."""
    with (_record(folder) / layout.CALLS).open("r+b") as file:
        file.truncate(2000 * _MIB)


def run_of_members(folder: Path) -> None:
    """A run.json whose labels take much as objects."""
    path = _record(folder) / layout.RUN
    path.write_bytes(path.read_bytes().replace(b'"labels": {}', b'"labels": ' + _members(99_000)))


def run_of_lists(folder: Path) -> None:
    """A run.json of nothing but lists."""
    path = _record(folder) / layout.RUN
    lists = b"[" + b",".join([b"[]"] * (1_300_000)) + b"]"
    path.write_bytes(path.read_bytes().replace(b'"options": {}', b'"options": {"a":' + lists + b"}"))


def policy_of_lists(folder: Path) -> None:
    """A policy.json of nothing but lists."""
    (_record(folder) / layout.POLICY).write_bytes(b'{"a":[' + b",".join([b"[]"] * 1_300_000) + b"]}")


def attestation_of_lists(folder: Path) -> None:
    """An envelope of nothing but lists."""
    (_record(folder) / layout.ATTESTATION).write_bytes(b"[" + b",".join([b"[]"] * 5_000_000) + b"]")


def attestation_of_text(folder: Path) -> None:
    """An envelope with the largest payload."""
    form = b'{"payload":"%b","payloadType":"t","signatures":[]}\n' % (b"A" * (15 * _MIB))
    (_record(folder) / layout.ATTESTATION).write_bytes(form)


def sent_without_end(folder: Path) -> None:
    """A journal of nothing but calls that were never answered, of a run that died."""
    path = _record(folder)
    run = path / layout.RUN
    run.write_bytes(run.read_bytes().replace(b'"state": "complete"', b'"state": "running"'))
    lines = (b'{"method":"file_read","seq":%d,"step":1}\n' % number for number in range(2_000_000))
    (path / layout.DISPATCHED).write_bytes(b"".join(lines))


def _reader(
    memory: int, read: Callable[[Path], None], *cases: tuple[Callable[[Path], None], str, bool]
) -> Reader:
    return Reader(
        memory,
        read,
        {make.__name__.replace("_", " "): Case(make, refused, quick) for make, refused, quick in cases},
    )


READERS = {
    "a record's documents": _reader(
        layout.DOCUMENTS_MEMORY,
        _load,
        (members_beside_events, "", False),
        (lines_without_end, "holds", False),
        (a_line_without_end, "holds", True),
        (an_event_without_end, "holds", False),
        (run_of_members, "", False),
        (run_of_lists, "values", True),
    ),
    "a record's verification": _reader(
        layout.VERIFY_MEMORY,
        _verify,
        (wide_events, "MiB", False),
        (events_of_members, "", False),
        (unlike_operands, "", False),
        (many_events, "", False),
        (policy_of_lists, "values", False),
        (attestation_of_lists, "values", True),
        (attestation_of_text, "payload", False),
    ),
    "a record's log": _reader(
        layout.LOG_MEMORY,
        _log,
        (lines_of_members, "form", True),
        (a_log_line_without_end, "line of more", True),
    ),
    "a run's report": _reader(
        REPORT_MEMORY,
        _report,
        (lines_of_tests, "", False),
    ),
    "a record's journal": _reader(layout.LOG_MEMORY, _in_doubt, (sent_without_end, "", False)),
}
"""Whatever reads a run record."""


if __name__ == "__main__":
    read_one(READERS)

"""Notes beside a trail: what its bytes have no room for, bound to it by digest."""

import json
from typing import Any

import pytest

from sandbox_runner.errors import TrailError
from sandbox_runner.trail import TrailPrinter, compile_worklog, load, read_notes, write_notes

WORKLOG: list[dict[str, Any]] = [
    {"op": "TRAIL_BEGIN", "agent": "ada", "trail_id": "t", "ts": 5, "desc": "start"},
    {"op": "FILE_READ", "path": "x", "desc": "look\x07", "ts": 6, "note": "n"},
    {"op": "NOP", "timestamp": 7.5},
    {"op": "NOP", "desc": None},
    {"op": "TRAIL_END"},
]
TRAIL = load(compile_worklog(WORKLOG))
NOTES = write_notes(WORKLOG, TRAIL) or b""


def test_what_a_trail_cannot_hold_is_kept_beside_it_and_bound_to_it() -> None:
    assert json.loads(NOTES)["trail_sha256"] == TRAIL.sha256
    assert read_notes(NOTES, TRAIL) == {
        0: {"desc": "start"},
        1: {"desc": "look\x07", "note": "n", "ts": 6},
        2: {"timestamp": 7.5},
    }


def test_a_worklog_without_notes_makes_none() -> None:
    plain = [{"op": "TRAIL_BEGIN", "ts": 5}, {"op": "TRAIL_END"}]
    assert write_notes(plain, load(compile_worklog(plain))) is None


def test_a_listing_shows_notes_escaped() -> None:
    listing = TrailPrinter().print_bytecode(TRAIL.data, notes=read_notes(NOTES, TRAIL))
    assert "; look\\u0007" in listing
    assert "timestamp: 6" in TrailPrinter().print_bytecode(TRAIL.data, "verbose", read_notes(NOTES, TRAIL))


def changed(**fields: Any) -> bytes:
    return json.dumps(json.loads(NOTES) | fields).encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no notes"),
        (b"[" * 200_000, "no notes"),
        (b"[]", "no notes"),
        (b"\xff", "no notes"),
        (b"{}", "no notes"),
        (changed(steps=[]), "no notes"),
        (changed(steps={"x": {}}), "no notes"),
        (changed(notes=2), "version"),
        (changed(trail_sha256="0" * 64), "another trail"),
        (changed(trail_sha256=None), "another trail"),
        (changed(steps={"5": {}}), "does not have"),
        (changed(steps={"-1": {}}), "does not have"),
        (changed(steps={"1": {"desc": ["x"]}}), "neither text nor a number"),
        (changed(steps={"1": {"ts": float("nan")}}), "no notes"),  # JSON has no such number
    ],
)
def test_what_is_no_note_of_this_trail_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(TrailError, match=reason):
        read_notes(data, TRAIL)

"""Reports come from hostile code: they are counted or called incomplete, never believed too much."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_runner.guest.testing import read_report


def lines(*records):
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


PASS, END = {"case": ["t.py::a", "call", "passed"]}, {"end": 0}


def test_outcomes_are_counted_by_what_happened_to_the_test():
    report = read_report(
        lines(
            PASS,
            {"case": ["b", "call", "failed"]},
            {"case": ["c", "setup", "skipped"]},
            {"case": ["d", "call", "skipped"]},
            {"case": ["e", "setup", "failed"]},
            {"case": ["f", "call", "xfailed"]},
            {"case": ["g", "call", "xpassed"]},
            {"collect": "broken.py"},
            {"end": 1},
        ),
        cut=False,
    )
    assert report.counts == {"passed": 1, "failed": 1, "skipped": 2, "errors": 2, "xfailed": 1, "xpassed": 1}
    assert report.executed == 4
    assert report.end == 1


def test_a_test_whose_teardown_fails_is_executed_and_an_error():
    report = read_report(lines(PASS, {"case": ["t.py::a", "teardown", "failed"]}, {"end": 1}), cut=False)
    assert (report.executed, report.counts["passed"], report.counts["errors"]) == (1, 1, 1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        lines(PASS),
        lines(PASS, END)[:-1],
        lines(PASS, END, PASS),
        lines(PASS, END, END),
        lines(END) + b"x",
        b"\x00" + lines(PASS, END),
        b"[" * 100_000 + b"\n" + lines(END),
        lines({"case": ["a", "call", "won"]}, END),
        lines({"case": ["a", "soon", "passed"]}, END),
        lines({"case": ["a", "call"]}, END),
        lines({"case": [1, "call", "passed"]}, END),
        lines({"end": "0"}),
        lines({"end": True}),
        lines({"end": 0, "case": ["a", "call", "passed"]}),
        lines([], END),
        lines({"other": 1}, END),
    ],
)
def test_what_is_malformed_cut_or_goes_on_after_the_end_is_incomplete(data):
    assert read_report(data, cut=False).end is None


def test_a_report_that_was_cut_is_incomplete():
    assert read_report(lines(PASS, END), cut=True).end is None


@given(st.binary(max_size=300))
def test_no_report_breaks_the_reader(data):
    read_report(data, cut=False)


def test_cases_before_a_break_still_count():
    report = read_report(lines(PASS, PASS) + b"garbage", cut=False)
    assert (report.executed, report.end) == (2, None)

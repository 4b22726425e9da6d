"""Reports come from hostile code: they are counted or called incomplete, never believed too much."""

import hashlib
import json
import tracemalloc

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


NAMES = st.text(max_size=8)


@given(
    st.lists(st.tuples(NAMES, st.sampled_from(["passed", "failed", "xpassed"])), max_size=20),
    st.integers(0, 5),
)
def test_the_digest_is_that_of_all_outcomes_as_one_json_text(cases, end):
    told = [{"case": [name, "call", outcome]} for name, outcome in cases]
    report = read_report(lines(*told, {"end": end}), cut=False)
    whole = json.dumps([[list(case) for case in cases], end], separators=(",", ":"))
    assert report.sha256() == hashlib.sha256(whole.encode()).hexdigest()
    assert report.cases == len(cases)


def test_a_line_of_any_length_is_read_up_to_a_limit():
    assert read_report(lines({"case": ["a" * 60_000, "call", "passed"]}, END), cut=False).end == 0
    assert read_report(lines({"case": ["a" * 70_000, "call", "passed"]}, END), cut=False).end is None


SHORT = b'{"case":["","call","passed"]}\n'


@pytest.mark.parametrize(
    "data",
    [
        SHORT * ((2 << 20) // len(SHORT)),
        b"[" + b"1," * ((4 << 20) - 8) + b"1]\n",
        b"{" + b'"":1,' * 1_600_000 + b'"a":1}\n',
        b"\n" * (8 << 20),
        (b'{"case":["' + b"a" * 60_000 + b'","call","passed"]}\n') * 130,
    ],
    ids=["many cases", "a long list", "many keys", "empty lines", "long names"],
)
def test_a_report_takes_little_more_memory_than_its_bytes(data):
    """The guest shares a small reserve with the test server; ``data`` itself is counted by its own limit."""
    tracemalloc.start()
    try:
        read_report(data, cut=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 << 20


@given(st.binary(max_size=300))
def test_no_report_breaks_the_reader(data):
    read_report(data, cut=False)


def test_cases_before_a_break_still_count():
    report = read_report(lines(PASS, PASS) + b"garbage", cut=False)
    assert (report.executed, report.end) == (2, None)

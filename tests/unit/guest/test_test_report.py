"""Reports come from hostile code: they are counted or called incomplete, never believed too much."""

import hashlib
import json
import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_runner.guest.testing import TestReport, read_report


def lines(*records):
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def read(*records) -> TestReport:
    return read_report(lines(*records), cut=False)


def told(name="t.py::a", *outcomes, ran=True, beside=None):
    return {"test": [name, list(outcomes or ("passed",)), ran, *([] if beside is None else [beside])]}


PASS, END = told(), {"end": 0}
NONE = {"passed": 0, "failed": 0, "skipped": 0, "errors": 0, "xfailed": 0, "xpassed": 0}


def test_outcomes_are_counted_by_what_happened_to_the_test():
    report = read(
        PASS,
        told("b", "failed"),
        told("c", "skipped", ran=False),
        told("d", "skipped"),
        told("e", "error", ran=False),
        told("f", "xfailed"),
        told("g", "xpassed"),
        {"collect": "broken.py"},
        {"end": 1},
    )
    assert report.counts == {"passed": 1, "failed": 1, "skipped": 2, "errors": 2, "xfailed": 1, "xpassed": 1}
    assert report.executed == 4
    assert report.end == 1
    assert report.other == report.subtests == {}


def test_a_test_whose_teardown_fails_is_one_test_executed_and_an_error():
    report = read(told("t.py::a", "passed", "error"), {"end": 1})
    assert (report.executed, report.counts) == (1, {**NONE, "passed": 1, "errors": 1})
    assert report.shown == ["passed t.py::a", "error t.py::a"]


def test_subtests_and_reruns_stand_beside_their_test():
    report = read(told("a", "passed", beside=[2, {"passed": 3, "failed": 1}, {"failed": 1}]), {"end": 1})
    assert (report.executed, report.reruns, report.subtests) == (1, 2, {"passed": 3, "failed": 1})
    assert report.counts == {**NONE, "passed": 1, "failed": 1}
    assert report.failed() == 1
    assert report.shown == ["passed a", "subtests-failed a"]


def test_a_failed_subtest_is_a_failure_where_pytest_counts_none():
    assert read(told("a", "passed", beside=[0, {"failed": 2}, {}]), END).failed() == 2


def test_an_outcome_that_nobody_knows_is_named_and_is_no_pass_and_breaks_nothing():
    report = read(told("a", "quarantined"), told("b", "quarantined"), told("c", "errors"), END)
    assert (report.end, report.executed, report.counts) == (0, 0, NONE)
    assert report.other == {"quarantined": 2, "errors": 1}  # `errors` is no word of pytest's
    assert report.shown[0] == "quarantined a"


@given(st.text(max_size=100), st.text(max_size=100))
def test_names_of_plugins_are_short_and_printable_and_are_not_confused(one: str, other: str):
    report = read(told("a", "~" + one, "~" + other), END)
    assert all(" " <= c <= "~" for word in report.other for c in word)
    assert all(line.count(" ") == 1 for line in report.shown)
    assert all(len(word) < 100 for word in report.other)
    assert len(report.other) == len({one, other})


def test_a_report_names_few_outcomes_however_many_there_are():
    report = read(*(told("a", f"kind-{number}") for number in range(1000)), END)
    assert len(report.other) == 33
    assert sum(report.other.values()) == 1000


def test_pytests_own_line_is_bounded_and_printable():
    report = read({"summary": "1 passed\x1b[2J\n\u202e" + "x" * 5000}, END)
    assert report.summary.startswith("1 passed?[2J??x")
    assert len(report.summary) == 1024


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
        *(
            lines({"test": value}, END)
            for value in (
                [],
                "a",
                {},
                ["a", ["passed"]],
                ["a", "passed", True],
                ["a", [1], True],
                [1, ["passed"], True],
                ["a", ["passed"], 1],
                ["a", ["passed"] * 9, True],
                ["a", ["passed"], True, []],
                ["a", ["passed"], True, {}],
                ["a", ["passed"], True, [0, {}]],
                ["a", ["passed"], True, [-1, {}, {}]],
                ["a", ["passed"], True, [True, {}, {}]],
                ["a", ["passed"], True, [1 << 31, {}, {}]],
                ["a", ["passed"], True, [0, {"failed": -1}, {}]],
                ["a", ["passed"], True, [0, {}, {"passed": 1.5}]],
                ["a", ["passed"], True, [0, {}, []]],
                ["a", ["passed"], True, [0, {}, {}], 0],
                ["a", ["passed"], True, [0, {}, {}], 0, 0],
            )
        ),
        lines({"summary": 1}, END),
        lines({"collect": None}, END),
        lines({"end": "0"}),
        lines({"end": True}),
        lines({"end": 1 << 64}),
        lines({"end": 0, "collect": "a"}),
        lines([], END),
        lines({"other": 1}, END),
    ],
)
def test_what_is_malformed_cut_or_goes_on_after_the_end_is_incomplete(data):
    assert read_report(data, cut=False).end is None


def test_a_report_that_was_cut_is_incomplete():
    assert read_report(lines(PASS, END), cut=True).end is None


def digest_of(tests, end):
    """The digest, as its description says."""
    numbers = (
        hashlib.shake_256(json.dumps(test, separators=(",", ":")).encode()).digest(512) for test in tests
    )
    whole = sum(int.from_bytes(number, "big") for number in numbers) % 2**4096
    return hashlib.sha256(json.dumps([f"{whole:x}", end], separators=(",", ":")).encode()).hexdigest()


NAMES = st.text(max_size=8)
TESTS = st.tuples(
    NAMES,
    st.lists(st.sampled_from(["passed", "failed", "error", "odd"]), max_size=2),
    st.integers(0, 3),
    st.dictionaries(st.sampled_from(["passed", "failed", "skipped"]), st.integers(1, 5)),
)


@given(st.lists(TESTS, max_size=20), st.integers(0, 5), st.randoms())
def test_the_digest_is_that_of_all_tests_in_whatever_order(tests, end, chance: random.Random):
    records = [
        told(name, beside=[reruns, subtests, {}]) | {"test": [name, outcomes, True, [reruns, subtests, {}]]}
        for name, outcomes, reruns, subtests in tests
    ]
    forms = [
        [name, outcomes, reruns, sorted(map(list, sub.items()))] for name, outcomes, reruns, sub in tests
    ]
    digest = read(*records, {"end": end}).sha256()
    assert digest == digest_of(forms, end)
    chance.shuffle(records)
    assert read(*records, {"end": end}).sha256() == digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([told("a"), told("b", "failed")], [told("a", "failed"), told("b")]),
        ([told("a")], [told("a"), told("a")]),
        ([told("a"), told("a")], []),
        ([told("a", "passed", "error")], [told("a"), told("a", "error")]),
        ([told("a")], [told("a", beside=[1, {}, {}])]),
        ([told("a")], [told("a", beside=[0, {"passed": 1}, {}])]),
    ],
)
def test_what_differs_has_another_digest(one, other):
    assert read(*one, END).sha256() != read(*other, END).sha256()


def test_a_line_of_any_length_is_read_up_to_a_limit():
    assert read(told("a" * 60_000), END).end == 0
    assert read(told("a" * 70_000), END).end is None


SHORT = b'{"test":["",["passed"],true]}\n'


@pytest.mark.parametrize(
    "data",
    [
        SHORT * ((2 << 20) // len(SHORT)),
        b"[" + b"1," * ((4 << 20) - 8) + b"1]\n",
        b"{" + b'"":1,' * 1_600_000 + b'"a":1}\n',
        b"\n" * (8 << 20),
        (b'{"test":["' + b"a" * 60_000 + b'",["passed"],true]}\n') * 130,
        b"".join(b'{"test":["a",["%d"],true]}\n' % number for number in range(60_000)),
        (b'{"test":["a",[' + b'"",' * 7 + b'""],true]}\n') * 60_000,
    ],
    ids=[
        "many cases",
        "a long list",
        "many keys",
        "empty lines",
        "long names",
        "many kinds",
        "many outcomes",
    ],
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


def test_tests_before_a_break_still_count():
    report = read_report(lines(PASS, PASS) + b"garbage", cut=False)
    assert (report.executed, report.end) == (2, None)

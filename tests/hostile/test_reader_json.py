"""Counting the values of a text of JSON before it is read: never too few, and texts do not count."""

import json
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_runner.bounded_json import check_values, read_json
from sandbox_runner.errors import TrailError
from sandbox_runner.trail import compile_worklog, load
from sandbox_runner.trail.notes import read_notes

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(alphabet='[]{},:"\\aé\U0001f600\n', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text('[,"\\{', max_size=3), inner, max_size=4)
    ),
    max_leaves=40,
)


def counted(value) -> int:
    """Every value there is, at all levels; an empty holder costs as much as one with a thing in it."""
    inner = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else None
    return 1 + _below(inner) if inner is not None else 1


def _below(inner: list) -> int:
    return sum(map(counted, inner)) if inner else 1


def accepts(data: bytes, most: int) -> bool:
    try:
        check_values(data, most)
    except ValueError:
        return False
    return True


@given(value=VALUES, ascii_only=st.booleans(), blanks=st.booleans())
def test_a_text_is_accepted_exactly_up_to_the_number_of_its_values(value, ascii_only, blanks):
    data = json.dumps(value, ensure_ascii=ascii_only, indent=1 if blanks else None).encode()
    number = counted(value)
    padded = data + b" " * 3 * number
    assert accepts(padded, number)
    assert not accepts(padded, number - 1)
    assert read_json(data, values=number) == value


@given(data=st.binary(max_size=200) | st.text(alphabet='[]{},:"\\a', max_size=200).map(str.encode))
def test_whatever_is_read_holds_no_more_values_than_were_allowed(data):
    for most in (1, 3, 10):
        try:
            value = read_json(data, values=most)
        except ValueError:
            continue
        assert counted(value) <= most


@pytest.mark.parametrize(
    "data",
    [
        b'"' + b"[" * 3_000_000 + b'"',
        b'{"a":"' + b",{" * 1_500_000 + b'"}',
        b'["' + b'\\"[,' * 1_000_000 + b'"]',
    ],
    ids=["brackets", "commas", "escapes"],
)
def test_contents_full_of_brackets_and_commas_are_one_value(data):
    check_values(data, 10)


@pytest.mark.parametrize(
    "data",
    [
        b'"' + b'\\"' * 2_000_000,
        b"[" + b'"",' * 1_500_000,
        b'"' * 4_000_001,
        b"[" * 4_000_000,
        b"\\" * 4_000_000,
    ],
    ids=["a text without end", "texts", "quotes", "nested", "backslashes"],
)
def test_no_text_makes_the_counting_slow(data):
    began = time.process_time()
    for most in (1, 1_000, 10_000_000):
        accepts(data, most)
    assert time.process_time() - began < 20.0  # a second; quadratic it would be hours


def test_notes_of_nothing_but_lists_are_refused_in_little_memory():
    begin = {"op": "TRAIL_BEGIN", "agent": "a", "trail_id": "t", "ts": 1}
    trail = load(compile_worklog([begin, {"op": "TRAIL_END", "status": 0}]))
    data = b'{"notes":1,"steps":[' + b"[]," * 3_000_000 + b"[]]}"
    tracemalloc.start()
    try:
        with pytest.raises(TrailError):
            read_notes(data, trail)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()

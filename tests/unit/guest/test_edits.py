"""What an edit finds in a file, held against plainer ways to find it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_runner.guest.edits import line_ends, line_ends_changed, locate, occurrences

few = st.text("ab\r\n", max_size=30).map(str.encode)


@given(few, st.text("ab\r\n", min_size=1, max_size=4).map(str.encode))
def test_every_place_counts_whether_places_overlap_or_not(data: bytes, sought: bytes) -> None:
    places = [at for at in range(len(data)) if data.startswith(sought, at)]
    assert occurrences(data, sought) == (len(places), True)
    at, reason, _ = locate(data, sought, "f")
    assert (at, reason) == (places[0], "") if len(places) == 1 else (at == -1 and reason)


@pytest.mark.parametrize("length", [1, 4, 100, 99_999, 8 << 20, (16 << 20) - 3])
def test_counting_ends_soon_however_often_a_text_overlaps_itself(length: int) -> None:
    data = b"a" * (16 << 20)
    started = time.process_time()
    count, whole = occurrences(data, b"a" * length)
    assert time.process_time() - started < 2
    assert count >= 2
    assert whole == (length > 16_000_000)
    _, reason, _ = locate(data, b"a" * length, "f")
    assert reason == f"old text found {'' if whole else 'more than '}{count} times in f"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        *((b"", "none"), (b"a", "none"), (b"a\n", "LF"), (b"a\r\nb\r\n", "CRLF"), (b"a\rb", "CR")),
        *((b"a\r\nb\n", "mixed"), (b"a\n\rb", "mixed"), (b"\r\r\n", "mixed")),
    ],
)
def test_line_ends_have_a_name(data: bytes, name: str) -> None:
    assert line_ends(data) == name


@pytest.mark.parametrize(
    ("data", "old", "have", "given_"),
    [
        (b"a\r\nb\r\n", b"a\nb", "CRLF", "LF"),
        (b"a\nb\n", b"a\r\nb", "LF", "CRLF"),
        (b"a\rb\r", b"a\nb", "CR", "LF"),
        (b"a\nb\nc", b"a\r\nb\nc", "LF", "mixed"),
        (b"a\r\nb\nc", b"a\nb\nc", "mixed", "LF"),
    ],
)
def test_a_text_that_differs_in_line_ends_alone_is_told_so(
    data: bytes, old: bytes, have: str, given_: str
) -> None:
    at, reason, facts = locate(data, old, "f")
    assert at == -1
    assert reason.startswith(
        f"old text not found in f: its line ends are {given_}, those of the file are {have}"
    )
    assert facts == {"line_ends": {"file": have, "old": given_}}


@given(few, few)
def test_only_a_change_of_line_ends_is_told(before: bytes, after: bytes) -> None:
    names = line_ends(before), line_ends(after)
    told = line_ends_changed(before, after)
    assert bool(told) == (names[0] != names[1] and "none" not in names)


@given(few.filter(lambda data: b"\n" in data))
def test_what_a_reader_with_other_line_ends_gives_is_always_explained(data: bytes) -> None:
    plain = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    _, reason, facts = locate(data, plain, "f")
    assert not reason or facts["line_ends"]["old"] == "LF"

"""Output of any length in bounded memory, with what is missing said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_runner.guest.sinks import HeadTail, Whole


@given(chunks=st.lists(st.binary(max_size=50), max_size=40), limit=st.integers(2, 60))
def test_beginning_and_end_survive_and_what_is_missing_is_counted(chunks, limit):
    sink, data = HeadTail(limit), b"".join(chunks)
    for chunk in chunks:
        sink.take(chunk)
    half = limit // 2
    assert sink.total == len(data)
    assert sink.cut == (len(data) > 2 * half)
    if sink.cut:
        text = sink.text()
        assert f"[... {len(data) - 2 * half} bytes cut ...]" in text
        assert text.startswith(data[:half].decode("utf-8", "replace"))
        assert text.endswith(data[-half:].decode("utf-8", "replace"))
    else:
        assert sink.text() == data.decode("utf-8", "replace")


def test_a_flood_keeps_memory_flat():
    sink = HeadTail(1000)
    for _ in range(10_000):
        sink.take(b"x" * 997)
    assert len(sink._head) + len(sink._tail) < 5000
    assert sink.total == 9_970_000


def test_however_much_is_asked_for_an_answer_has_room_for_it():
    sink = HeadTail(1 << 30)
    sink.take(bytes(1 << 20))
    assert len(sink.text()) < 140_000


@pytest.mark.parametrize(
    ("sizes", "cut", "kept"), [([4, 6], False, 10), ([4, 7], True, 10), ([20], True, 10)]
)
def test_a_whole_output_says_when_it_is_none(sizes, cut, kept):
    sink = Whole(10)
    for size in sizes:
        sink.take(bytes(size))
    assert (sink.cut, len(sink.data)) == (cut, kept)


@given(
    chunks=st.lists(st.binary(max_size=50), max_size=60),
    limit=st.integers(2, 60),
    keep=st.integers(0, 300),
)
def test_more_is_kept_than_the_text_tells_and_every_byte_is_accounted_for(chunks, limit, keep):
    sink, plain, data = HeadTail(limit, keep), HeadTail(limit), b"".join(chunks)
    for chunk in chunks:
        sink.take(chunk)
        plain.take(chunk)
    assert (sink.text(), sink.cut) == (plain.text(), plain.cut)
    kept, cut_at = sink.kept()
    missing = len(data) - len(kept)
    assert bytes(kept) == data[:cut_at] + data[cut_at + missing :]
    assert not missing or len(kept) >= keep
    assert missing or cut_at == len(data)


def test_a_flood_that_is_kept_keeps_memory_flat():
    sink = HeadTail(1000, 8 << 20)
    for _ in range(1000):
        sink.take(b"x" * 65_536)
    assert len(sink._head) + len(sink._tail) <= 9 << 20
    assert len(sink.kept()[0]) == 8 << 20

"""Frames: what one side writes the other reads, and nothing malformed gets through or costs memory."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_runner.guest.wire import (
    BODY_LIMIT,
    HEADER_LIMIT,
    FrameDecoder,
    FrameError,
    encode_frame,
    split_blobs,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=8,
)
FRAMES = st.lists(
    st.tuples(st.dictionaries(st.text("abcxyz"), JSON, max_size=4), st.binary(max_size=200)), max_size=5
)


def raw(header: bytes, body: bytes = b"") -> bytes:
    return len(header).to_bytes(4, "big") + len(body).to_bytes(4, "big") + header + body


@given(frames=FRAMES, cuts=st.lists(st.integers(1, 50), min_size=1))
def test_frames_arrive_whole_and_in_order_however_the_stream_is_cut(frames, cuts):
    stream = b"".join(encode_frame(header, body) for header, body in frames)
    decoder, found, at, turn = FrameDecoder(), [], 0, 0
    while at < len(stream):
        step = cuts[turn % len(cuts)]
        decoder.feed(stream[at : at + step])
        at, turn = at + step, turn + 1
        while (frame := decoder.next_frame()) is not None:
            found.append(frame)
    assert found == frames
    assert decoder.buffered == 0


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[]",
        b"1",
        b"null",
        b"{",
        b'{"a":NaN}',
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":1}}',
        b"\xff",
        b"[" * 100_000,
    ],
    ids=["empty", "list", "number", "null", "cut", "nan", "twice", "twice inside", "no utf-8", "deep"],
)
def test_a_header_that_is_no_json_object_ends_the_stream(header):
    decoder = FrameDecoder()
    decoder.feed(raw(header))
    with pytest.raises(FrameError):
        decoder.next_frame()


@pytest.mark.parametrize(("header", "body"), [(HEADER_LIMIT + 1, 0), (0xFFFFFFFF, 0), (2, BODY_LIMIT + 1)])
def test_a_length_over_its_limit_is_refused_before_a_byte_of_it_is_kept(header, body):
    decoder = FrameDecoder()
    decoder.feed(header.to_bytes(4, "big") + body.to_bytes(4, "big"))
    with pytest.raises(FrameError, match="limit"):
        decoder.next_frame()


def test_nothing_over_a_limit_is_written():
    with pytest.raises(FrameError):
        encode_frame({"a": "x" * HEADER_LIMIT})
    with pytest.raises(FrameError):
        encode_frame({}, bytes(BODY_LIMIT + 1))
    with pytest.raises(FrameError):
        encode_frame({"a": float("nan")})
    with pytest.raises(FrameError):
        encode_frame({"a": object()})


def test_the_decoder_says_how_much_the_next_frame_still_needs():
    decoder = FrameDecoder()
    assert decoder.wanted == 8
    data = encode_frame({"a": 1}, b"body")
    decoder.feed(data[:8])
    assert decoder.next_frame() is None
    assert decoder.wanted == len(data) - 8
    decoder.feed(data[8:])
    assert decoder.wanted == 0
    assert decoder.next_frame() == ({"a": 1}, b"body")


def test_blobs_are_cut_in_the_order_of_their_lengths():
    assert split_blobs({"b": 2, "a": 0, "c": 1}, b"xyz") == {"b": b"xy", "a": b"", "c": b"z"}


@pytest.mark.parametrize(
    "lengths", [{"a": 2}, {"a": 4}, {"a": -1, "b": 4}, {"a": True, "b": 2}, {"a": "3"}, {}, [3], None]
)
def test_blobs_must_account_for_every_byte_and_no_more(lengths):
    with pytest.raises(FrameError):
        split_blobs(lengths, b"xyz")


def test_a_header_is_plain_utf8_json():
    assert json.loads(encode_frame({"ä": "→"})[8:].decode()) == {"ä": "→"}

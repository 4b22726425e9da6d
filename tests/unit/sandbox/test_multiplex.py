from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_runner.errors import ChannelError
from sandbox_runner.sandbox.multiplex import STDERR, STDOUT, Demultiplexer


def packed(stream: int, payload: bytes) -> bytes:
    return bytes((stream, 0, 0, 0)) + len(payload).to_bytes(4, "big") + payload


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    points = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(points)]


@given(
    st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=40)), max_size=12),
    st.lists(st.integers(0, 600), max_size=12),
)
def test_any_cutting_of_the_stream_gives_the_same_two_streams(
    packets: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    data = b"".join(packed(stream, payload) for stream, payload in packets)
    demultiplexer = Demultiplexer()
    got = {STDOUT: b"", STDERR: b""}
    for piece in split(data, cuts):
        for stream, part in demultiplexer.feed(memoryview(piece)):
            got[stream] += bytes(part)
    for stream, received in got.items():
        assert received == b"".join(payload for number, payload in packets if number == stream)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b"\x00\x00\x00\x00\x00\x00\x00\x01", id="stdin"),
        pytest.param(b"\x03\x00\x00\x00\x00\x00\x00\x01", id="unknown stream"),
        pytest.param(b"\x01\x00\x01\x00\x00\x00\x00\x01", id="padding that is not zero"),
        pytest.param(b"\x01\x00\x00\x00\x7f\xff\xff\xff", id="two gigabytes"),
        pytest.param(b"HTTP/1.1", id="another protocol"),
    ],
)
def test_a_header_that_docker_does_not_write_ends_the_stream(header: bytes) -> None:
    with pytest.raises(ChannelError, match="out of step"):
        list(Demultiplexer().feed(memoryview(header + b"x")))

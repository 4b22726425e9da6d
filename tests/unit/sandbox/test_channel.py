"""The channel against guests that work, lie, stall, dribble and flood."""

import socket
import threading
import time
import tracemalloc

import pytest

from sandbox_runner.errors import ChannelError, GuestError
from sandbox_runner.guest.wire import BODY_LIMIT, HEADER_LIMIT, encode_frame

SOON = 0.3  # an allowance in seconds that a lying guest overstays
PATIENT = 30.0


def echo(guest):
    guest.serve(lambda header, body: ({"echo": header["value"]}, body))


def test_requests_sent_ahead_are_answered_in_order(guest_channel) -> None:
    channel = guest_channel(echo)
    for value in range(20):
        channel.send("echo", {"value": value}, b"x" * value, allowance_s=PATIENT)
    assert channel.outstanding == 20
    for value in range(20):
        answer = channel.receive()
        assert (answer.header, answer.body) == ({"echo": value}, b"x" * value)
    assert channel.outstanding == 0


def test_large_bodies_both_ways_at_once_do_not_wait_for_each_other_for_ever(guest_channel) -> None:
    channel = guest_channel(echo)
    body = bytes(4 << 20)
    for value in range(4):
        channel.send("echo", {"value": value}, body, allowance_s=PATIENT)
    assert [len(channel.receive().body) for _ in range(4)] == [len(body)] * 4


def test_an_answer_in_parts_is_streamed_and_the_next_request_works(guest_channel) -> None:
    def parts(guest):
        header, _ = guest.read_request()
        for number in range(3):
            guest.answer({"id": header["id"], "ok": True, "more": number < 2}, bytes([number]))
        echo(guest)

    channel = guest_channel(parts)
    assert [answer.body for answer in channel.stream("scan", {}, allowance_s=PATIENT)] == [
        b"\0",
        b"\1",
        b"\2",
    ]
    assert channel.request("echo", {"value": 7}, allowance_s=PATIENT).header == {"echo": 7}


def test_answers_given_up_on_do_not_meet_the_next_request(guest_channel) -> None:
    def parts(guest):
        header, _ = guest.read_request()
        for number in range(5):
            guest.answer({"id": header["id"], "ok": True, "more": number < 4}, b"")
        echo(guest)

    channel = guest_channel(parts)
    stream = channel.stream("scan", {}, allowance_s=PATIENT)
    next(stream)
    stream.close()
    channel.send("echo", {"value": 1}, allowance_s=PATIENT)
    channel.send("echo", {"value": 2}, allowance_s=PATIENT)
    channel.abandon()
    assert channel.outstanding == 0
    assert channel.request("echo", {"value": 3}, allowance_s=PATIENT).header == {"echo": 3}


def test_a_fault_of_the_guest_is_told_on_one_bounded_line(guest_channel) -> None:
    def faulty(guest):
        header, _ = guest.read_request()
        guest.answer({"id": header["id"], "ok": False, "fault": {"message": "no\nspace " + "x" * 9000}})

    with pytest.raises(GuestError, match="could not do call: no space xxx") as caught:
        guest_channel(faulty).request("call", {}, allowance_s=PATIENT)
    assert len(str(caught.value)) < 600


def stall(guest):
    guest.read_request()
    guest.read_request()


def test_a_long_wait_is_slept_through(guest_channel) -> None:
    channel = guest_channel(stall)
    began = time.process_time()
    with pytest.raises(ChannelError):
        channel.request("call", {}, allowance_s=1.0)
    assert time.process_time() - began < 0.2


def dribble(guest):
    header, _ = guest.read_request()
    for byte in encode_frame({"id": header["id"], "ok": True}, bytes(1000)):
        guest.send_raw(bytes([byte]))
        time.sleep(0.01)


def dribble_headers_of_nothing(guest):
    guest.read_request()
    while True:
        guest.send_raw(b"")
        guest.connection.sendall(b"\x01\0\0\0\0\0\0\0")
        time.sleep(0.01)


def promise_much(guest):
    guest.read_request()
    guest.claim(100, BODY_LIMIT)
    guest.read_request()


@pytest.mark.parametrize("script", [stall, dribble, dribble_headers_of_nothing, promise_much])
def test_a_guest_that_does_not_finish_is_an_error_within_the_allowance(guest_channel, script) -> None:
    channel = guest_channel(script)
    with pytest.raises(ChannelError, match=r"0\.3 s"):
        channel.request("call", {}, allowance_s=SOON)
    assert not channel.ended


def answering(text):
    def script(guest):
        guest.read_request()
        guest.answer_json(text)
        guest.read_request()

    return script


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"id": 1, "ok": true}', id="another request's number"),
        pytest.param('{"id": -1, "ok": true}', id="a negative number"),
        pytest.param('{"id": true, "ok": true}', id="a number that is none"),
        pytest.param('{"id": 0.0, "ok": true}', id="a fraction"),
        pytest.param('{"ok": true}', id="no number"),
        pytest.param('{"id": 0, "id": 0, "ok": true}', id="a number twice"),
        pytest.param("[]", id="no object"),
        pytest.param("{", id="no JSON"),
        pytest.param('{"id": 0, "ok": NaN}', id="no JSON number"),
        pytest.param('{"id": ' + "9" * 5000 + "}", id="an enormous number"),
        pytest.param("[" * 100_000, id="deep nesting"),
        pytest.param('{"a":' * 20_000 + "1" + "}" * 20_000, id="deep objects"),
        pytest.param('{"id": 0, "ok": true, "x": "\udcff"}', id="no UTF-8"),
    ],
)
def test_an_answer_that_is_none_is_a_channel_error(guest_channel, text) -> None:
    def script(guest):
        guest.read_request()
        raw = text.encode("utf-8", "surrogateescape")
        guest.send_raw(len(raw).to_bytes(4, "big") + bytes(4) + raw)
        guest.read_request()

    with pytest.raises(ChannelError):
        guest_channel(script).request("call", {}, allowance_s=PATIENT)


@pytest.mark.parametrize(
    ("header", "body"), [(HEADER_LIMIT + 1, 0), (2, BODY_LIMIT + 1), (0xFFFFFFFF, 0xFFFFFFFF)]
)
def test_a_length_over_its_limit_is_refused_before_a_byte_is_kept(guest_channel, header, body) -> None:
    def script(guest):
        guest.read_request()
        guest.claim(header, body)
        guest.read_request()

    with pytest.raises(ChannelError, match="limit"):
        guest_channel(script).request("call", {}, allowance_s=PATIENT)


def test_a_fault_that_is_not_ok_by_any_other_word_is_a_fault(guest_channel) -> None:
    with pytest.raises(GuestError):
        guest_channel(answering('{"id": 0, "ok": 1}')).request("call", {}, allowance_s=PATIENT)


def test_memory_stays_flat_under_a_flood_that_nobody_asked_for(guest_channel) -> None:
    def flood(guest):
        header, _ = guest.read_request()
        guest.answer({"id": header["id"], "ok": True})
        frame = encode_frame({"id": 99, "ok": True}, bytes(1 << 20))
        for _ in range(64):
            guest.send_raw(frame)

    channel = guest_channel(flood)
    tracemalloc.start()
    try:
        channel.request("call", {}, allowance_s=PATIENT)
        time.sleep(0.2)
        with pytest.raises(ChannelError, match="something else"):
            channel.request("call", {}, allowance_s=PATIENT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20


def test_stderr_is_kept_short_and_apart(guest_channel) -> None:
    def noisy(guest):
        header, _ = guest.read_request()
        for _ in range(100):
            guest.send_raw(encode_frame({"id": header["id"], "ok": True}) * 20, stream=2)
        guest.send_raw(b"last words", stream=2)
        guest.answer({"id": header["id"], "ok": True, "real": 1})

    channel = guest_channel(noisy)
    assert channel.request("call", {}, allowance_s=PATIENT).header == {"real": 1}
    assert channel.last_words.endswith("last words")
    assert len(channel.last_words) <= 4096


def test_a_long_bundle_is_handed_over_whole_or_refused_in_time(guest_channel) -> None:
    taken: list[int] = []

    def take(guest):
        while len(data := guest.connection.recv(1 << 16)) and sum(taken) + len(data) < 4 << 20:
            taken.append(len(data))

    channel = guest_channel(take)
    channel.write(bytes(4 << 20))
    channel.flush(allowance_s=PATIENT)
    assert channel.unsent == 0
    over = threading.Event()
    deaf = guest_channel(lambda _: over.wait(PATIENT))
    deaf.write(bytes(4 << 20))
    with pytest.raises(ChannelError, match="took nothing"):
        deaf.flush(allowance_s=SOON)
    over.set()


def test_an_end_of_the_stream_is_told_apart_from_silence(guest_channel) -> None:
    channel = guest_channel(lambda guest: guest.read_request())
    with pytest.raises(ChannelError, match="ended"):
        channel.request("call", {}, allowance_s=PATIENT)
    assert channel.ended


def test_another_thread_can_end_a_wait(guest_channel) -> None:
    channel = guest_channel(stall)
    timer = threading.Timer(0.1, channel.hang_up)
    timer.start()
    with pytest.raises(ChannelError):
        channel.request("call", {}, allowance_s=600)
    timer.join()


def test_a_request_over_the_wires_limit_is_refused_before_it_is_sent(guest_channel) -> None:
    channel = guest_channel(echo)
    with pytest.raises(ChannelError, match="cannot be sent"):
        channel.send("call", {"args": "x" * HEADER_LIMIT}, allowance_s=PATIENT)
    assert channel.outstanding == 0
    assert channel.request("echo", {"value": 1}, allowance_s=PATIENT).header == {"echo": 1}


def test_a_lone_request_is_refused_while_others_are_open(guest_channel) -> None:
    channel = guest_channel(echo)
    channel.send("echo", {"value": 1}, allowance_s=PATIENT)
    with pytest.raises(ChannelError, match="others were open"):
        channel.request("echo", {"value": 2}, allowance_s=PATIENT)


def test_a_quiet_channel_is_told_from_one_with_something_in_it(guest_channel) -> None:
    spoke = threading.Event()

    def babble(guest):
        guest.read_request()
        guest.answer({"id": 0, "ok": True})
        guest.read_request()
        guest.answer({"id": 7})
        spoke.set()
        guest.read_request()

    channel = guest_channel(babble)
    channel.request("call", {}, allowance_s=PATIENT)
    assert channel.quiet
    channel.send("call", {}, allowance_s=PATIENT)
    channel.flush()
    assert spoke.wait(10)
    assert not channel.quiet


def test_answers_that_came_before_the_end_are_had_though_the_stream_takes_no_more(guest_channel) -> None:
    """Which request met the end is told by the answers before it."""
    gone = threading.Event()

    def script(guest) -> None:
        for _ in range(2):
            header, _ = guest.read_request()
            guest.answer({"id": header["id"], "ok": True})
        guest.connection.shutdown(socket.SHUT_RDWR)
        gone.set()

    channel = guest_channel(script)
    for _ in range(3):
        channel.send("call", {}, allowance_s=5)
    channel.flush()
    assert gone.wait(5)
    for _ in range(3):  # a broken pipe is met here, not told here
        channel.send("call", {}, b"x" * (1 << 17), allowance_s=5)
    assert channel.receive().body == channel.receive().body == b""
    with pytest.raises(ChannelError, match=r"ended|broke"):
        channel.receive()
    assert channel.ended

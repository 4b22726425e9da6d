"""The guest's end of the stream: answers are held only while requests wait, a dead host is noticed."""

import fcntl
import os
import select

import pytest

from sandbox_runner.guest.host import HostGoneError, HostStream
from sandbox_runner.guest.wire import FrameDecoder, encode_frame


@pytest.fixture(name="ends")
def _ends():
    source, requests = os.pipe()
    answers, sink = os.pipe()
    fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, 1 << 18)  # nobody reads while a test writes
    fds = {"requests": requests, "answers": answers, "source": source, "sink": sink}
    yield fds
    for fd in fds.values():
        try:
            os.close(fd)
        except OSError:
            continue


def readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


def test_answers_to_pipelined_requests_leave_together_before_the_guest_waits(ends):
    host = HostStream(ends["source"], ends["sink"])
    os.write(ends["requests"], b"".join(encode_frame({"id": n}) for n in range(3)))
    for n in range(3):
        assert host.next_frame() == ({"id": n}, b"")
        host.send({"id": n})
        assert not readable(ends["answers"])
    os.close(ends["requests"])
    with pytest.raises(HostGoneError):
        host.next_frame()
    decoder = FrameDecoder()
    decoder.feed(os.read(ends["answers"], 1 << 16))
    assert [decoder.next_frame() for _ in range(4)] == [({"id": n}, b"") for n in range(3)] + [None]


def test_answers_that_are_ready_leave_when_there_are_many_or_on_request(ends):
    host = HostStream(ends["source"], ends["sink"])
    host.send({"id": 1})
    assert not readable(ends["answers"])
    host.flush()
    assert readable(ends["answers"])
    os.read(ends["answers"], 1 << 16)
    host.send({"id": 2}, bytes(1 << 15))
    host.send({"id": 3}, bytes(1 << 15))
    assert readable(ends["answers"])


def test_a_host_that_hangs_up_is_noticed_while_requests_are_unread(ends):
    host = HostStream(ends["source"], ends["sink"])
    os.write(ends["requests"], b"x" * 1000)
    os.close(ends["requests"])
    poller = select.poll()
    poller.register(host.source, host.events)
    ((_fd, event),) = poller.poll(1000)
    with pytest.raises(HostGoneError):
        host.notice(event)


def test_a_host_that_no_longer_reads_is_gone(ends):
    host = HostStream(ends["source"], ends["sink"])
    os.close(ends["answers"])
    host.send({"id": 1})
    with pytest.raises(HostGoneError):
        host.flush()


def test_requests_are_read_ahead_only_up_to_a_limit(ends):
    host = HostStream(ends["source"], ends["sink"])
    assert host.events == select.POLLIN
    host._decoder.feed(bytes(1 << 20))
    assert host.events == 0

"""Requests and answers over one attached stream, with a limit on everything the other side may send.

The guest answers strictly in the order of the requests, so the only acceptable frame is an answer to the
oldest open request. That makes memory flat against any guest: reading stops as soon as that answer is whole,
and a frame nobody asked for is an error. While an answer is awaited, reading and writing go on together, so
neither side can wait for the other for ever. One thread uses a channel at a time; ``hang_up`` alone may come
from another.
"""

from __future__ import annotations

import os
import select
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sandbox_runner.errors import ChannelError, GuestError
from sandbox_runner.guest.wire import BODY_LIMIT, HEADER_LIMIT, FrameDecoder, FrameError, encode_frame
from sandbox_runner.sandbox.engine import Attachment
from sandbox_runner.sandbox.fast_json import HEADER_MEMORY, decode, encode
from sandbox_runner.sandbox.multiplex import STDOUT, Demultiplexer

__all__ = ["MEMORY_BYTES", "Answer", "Channel"]

MEMORY_BYTES = 3 * (BODY_LIMIT + HEADER_LIMIT) + HEADER_MEMORY
"""The most memory that one answer takes, bytes: as it comes, with room to grow, and as it is handed over.
Whoever keeps answers has a limit of its own on all of them."""

_RECEIVE_BYTES = 1 << 18
_FLUSH_BYTES = 1 << 16  # queued requests leave at once past this size, else when an answer is awaited
_LOOK_OUT_S = 0.0005  # twice what a call takes that touches one small file
_LAST_ANSWERS_S = 2.0  # how long a stream that takes no more may still give what it has
_STDERR_BYTES = 4_096  # the guest's last words, for an error's text


class Answer(NamedTuple):
    """One answer of the guest: its header without ``id`` and ``ok``, and its body."""

    header: Mapping[str, Any]
    body: bytes


class _Open(NamedTuple):
    """A request that is not answered yet."""

    number: int
    kind: str
    allowance_s: float


class Channel:
    """The host's end of the stream.

    Attributes:
        ended: whether the other side is gone, as opposed to slow or wrong.

    Every method raises ``ChannelError`` when the stream ended, stalled, or carried what is no answer; the
    channel cannot be used afterwards. ``GuestError`` is the guest's own report of a fault.
    """

    def __init__(self, attachment: Attachment) -> None:
        self._attachment = attachment
        self._socket = attachment.connection
        self._poll = select.poll()
        self._watched = select.POLLIN
        self._poll.register(self._socket, self._watched)
        self._buffer = memoryview(bytearray(_RECEIVE_BYTES))
        self._demultiplexer = Demultiplexer()
        self._decoder = FrameDecoder(decode)
        self._queue: deque[memoryview] = deque()
        self._queued = 0
        self._open: deque[_Open] = deque()
        self._next = 0
        self._abandoned = 0
        self.ended = False
        # Why the stream takes no more, and until when it may still give.
        self._deaf: tuple[str, float] | None = None
        self._errors = bytearray()

    @property
    def outstanding(self) -> int:
        """Requests sent and not answered yet."""
        return len(self._open) - self._abandoned

    @property
    def unsent(self) -> int:
        """Bytes accepted and not yet taken by the stream."""
        return self._queued

    @property
    def quiet(self) -> bool:
        """Whether the stream is open and nothing has come that nobody asked for."""
        self._watch(select.POLLIN)
        return not self.ended and not self._poll.poll(0)

    @property
    def last_words(self) -> str:
        """What the guest wrote on stderr last."""
        return self._errors.decode("utf-8", "replace").strip()

    def write(self, data: bytes) -> None:
        """Queue bytes that are no frame: the bundle that boots the guest."""
        if self._deaf is not None:
            return
        self._queue.append(memoryview(data))
        self._queued += len(data)

    def send(self, kind: str, header: Mapping[str, Any], body: bytes = b"", *, allowance_s: float) -> None:
        """Queue one request; its answer must be whole ``allowance_s`` after the answers before it.

        Raises:
            ChannelError: the request is over a limit of the wire.
        """
        number = self._next
        try:
            frame = encode_frame({"id": number, "do": kind, **header}, body, encode)
        except FrameError as error:
            raise ChannelError(f"A {kind} request cannot be sent: {error}.") from error
        self._next += 1
        self._open.append(_Open(number, kind, allowance_s))
        self.write(frame)
        if self._queued >= _FLUSH_BYTES:
            self._write_some()

    def flush(self, *, allowance_s: float = 0.0) -> None:
        """Hand over what is queued: all of it within ``allowance_s``, or by default what is taken at once."""
        self._write_some()
        if self._deaf is not None and allowance_s:
            raise ChannelError(f"The stream to the guest broke: {self._deaf[0]}.")
        end = time.monotonic() + allowance_s
        while self._queue and allowance_s:
            self._watch(select.POLLOUT)
            if not self._poll.poll(max(0.0, end - time.monotonic()) * 1000):
                raise ChannelError(f"The stream to the guest took nothing for {allowance_s:g} s.")
            self._write_some()

    def abandon(self) -> None:
        """Give up on every open answer: each is taken and dropped before the next one is waited for."""
        self._abandoned = len(self._open)

    def receive(self) -> Answer:
        """Wait for the answer to the oldest open request; an answer in parts counts each part on its own."""
        if self._abandoned:
            self._drop_abandoned()
        request, header, body = self._part()
        if header.get("ok") is not True:
            raise GuestError(f"The guest could not do {request.kind}: {_told(header.get('fault'))}.")
        del header["id"], header["ok"]
        return Answer(header, body)

    def request(
        self, kind: str, header: Mapping[str, Any], body: bytes = b"", *, allowance_s: float
    ) -> Answer:
        """Send one request and wait for its answer, while no other is open."""
        self._must_be_idle(kind)
        self.send(kind, header, body, allowance_s=allowance_s)
        return self.receive()

    def stream(
        self, kind: str, header: Mapping[str, Any], body: bytes = b"", *, allowance_s: float
    ) -> Iterator[Answer]:
        """Send one request whose answer comes in parts, ``more`` telling whether another follows."""
        self._must_be_idle(kind)
        self.send(kind, header, body, allowance_s=allowance_s)
        more = True
        try:
            while more:
                answer = self.receive()
                more = answer.header.get("more") is True
                yield answer
        finally:
            self.abandon()

    def hang_up(self) -> None:
        """End the stream; whoever waits for an answer gets a ``ChannelError``. Any thread may call this."""
        self._attachment.hang_up()

    def close(self) -> None:
        """End the stream and free the descriptor."""
        self._attachment.close()

    def _must_be_idle(self, kind: str) -> None:
        if self.outstanding:
            raise ChannelError(f"A {kind} request came while {self.outstanding} others were open.")

    def _drop_abandoned(self) -> None:
        """Take the answers nobody waits for; they may come in parts, but not for ever."""
        end = time.monotonic() + sum(request.allowance_s for request in self._open)
        while self._abandoned:
            before = len(self._open)
            self._part()
            self._abandoned -= before - len(self._open)
            if time.monotonic() > end:
                raise ChannelError("The guest did not end answers that were given up on.")

    def _part(self) -> tuple[_Open, dict[str, Any], bytes]:
        """The next frame, which must be the answer, or a part of it, to the oldest open request."""
        request = self._open[0]
        header, body = self._frame(request)
        if type(header.get("id")) is not int or header["id"] != request.number:
            raise ChannelError(
                f"The guest answered something else than the {request.kind} request it was given."
            )
        if header.get("more") is not True:
            self._open.popleft()
        return request, header, body

    def _frame(self, request: _Open) -> tuple[dict[str, Any], bytes]:
        end = time.monotonic() + request.allowance_s
        try:
            while (frame := self._decoder.next_frame()) is None:
                self._wait(end, request)
        except FrameError as error:
            raise ChannelError(f"The guest sent what is no frame: {error}.") from error
        return frame

    def _wait(self, end: float, request: _Open) -> None:
        """Let the stream take and give what it can, until something arrived."""
        if self._queue:
            self._write_some()
        self._watch(select.POLLIN | select.POLLOUT if self._queue else select.POLLIN)
        if self._deaf is not None:
            end = min(end, self._deaf[1])
        left = end - time.monotonic()
        events = self._due(request) or self._poll.poll(max(0.0, left) * 1000)
        if not events and self._deaf is not None:
            self.ended = True
            raise ChannelError(f"The stream to the guest broke: {self._deaf[0]}.")
        if not events:
            raise ChannelError(
                f"The guest did not answer a {request.kind} request within {request.allowance_s:g} s."
            )
        if events[0][1] & ~select.POLLOUT:
            self._read_some()
        # A dribbling guest makes the poll succeed for ever, so the clock decides here as well.
        if time.monotonic() > end:
            raise ChannelError(
                f"The guest's answer to a {request.kind} request took over {request.allowance_s:g} s."
            )

    def _due(self, request: _Open) -> list[tuple[int, int]]:
        """Look out for the answer to a single call before going to sleep.

        A call takes some tenths of a millisecond, and being woken up a good part of that. Whoever else wants
        the processor goes first, and after a moment the answer is one to sleep for.
        """
        if request.kind != "call" or len(self._open) > 1:
            return []
        end = time.monotonic() + _LOOK_OUT_S
        while not (events := self._poll.poll(0)) and time.monotonic() < end:
            os.sched_yield()
        return events

    def _watch(self, events: int) -> None:
        if events != self._watched:
            self._watched = events
            self._poll.modify(self._socket, events)

    def _read_some(self) -> None:
        try:
            count = self._socket.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError as error:
            self.ended = True
            raise ChannelError(f"The stream to the guest broke: {error.strerror}.") from error
        if count == 0:
            self.ended = True
            raise ChannelError("The stream to the guest ended.")
        for stream, piece in self._demultiplexer.feed(self._buffer[:count]):
            if stream == STDOUT:
                self._decoder.feed(piece)
            else:
                self._errors += piece
                del self._errors[:-_STDERR_BYTES]

    def _write_some(self) -> None:
        """Hand over queued bytes for as long as the stream takes them without waiting."""
        try:
            while self._queue:
                sent = self._socket.send(self._queue[0])
                self._queued -= sent
                if sent == len(self._queue[0]):
                    self._queue.popleft()
                else:
                    self._queue[0] = self._queue[0][sent:]
        except BlockingIOError:
            return
        except OSError as error:
            # Answers that came before the end are still to be had, and tell which request met it.
            self._deaf = (error.strerror or "", time.monotonic() + _LAST_ANSWERS_S)
            self._queue.clear()
            self._queued = 0


def _told(fault: object) -> str:
    """The guest's words about its fault, on one bounded line."""
    text = fault.get("message") if isinstance(fault, dict) else fault
    return " ".join(str(text).split())[:500].rstrip(".") or "no reason given"

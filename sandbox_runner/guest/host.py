"""The stream to the host: frames in, frames out, and the news that the host is gone."""

from __future__ import annotations

import os
import select

from sandbox_runner.guest.wire import FrameDecoder, encode_frame, encode_head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox_runner.guest.wire import Frame, Header

__all__ = ["HostGoneError", "HostStream"]

_READ = 1 << 16
_FLUSH = 1 << 16  # answers are collected up to this size while more requests are already here
_AHEAD = 1 << 20  # how far requests are read ahead while a program runs


class HostGoneError(Exception):
    """The host closed its end: the run is over and nothing may survive it."""


class HostStream:
    """Requests from one descriptor, answers to another.

    Answers are held back while whole requests are still waiting, so a pipelining host costs one write for
    many calls. ``flush`` sends them; reading from an empty stream does so by itself.
    """

    __slots__ = ("_decoder", "_held", "_held_bytes", "_sink", "source")

    def __init__(self, source: int, sink: int) -> None:
        self.source = source
        self._sink = sink
        self._decoder = FrameDecoder()
        self._held: list[bytes] = []
        self._held_bytes = 0

    def next_frame(self) -> Frame:
        """Wait for the next request.

        Raises:
            HostGoneError: the stream ended.
            FrameError: it carries something that is no frame.
        """
        while True:
            frame = self._decoder.next_frame()
            if frame is not None:
                return frame
            self.flush()
            self._read()

    def send(self, header: Header, body: bytes | bytearray = b"") -> None:
        """Answer; see ``flush`` for when it leaves. A long body goes out as it is, without another copy."""
        if len(body) >= _FLUSH:
            self._held.append(encode_head(header, len(body)))
            self.flush()
            self._write(body)
            return
        data = encode_frame(header, body)
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes >= _FLUSH:
            self.flush()

    def flush(self) -> None:
        """Send what was held back.

        Raises:
            HostGoneError: nobody reads any more.
        """
        if not self._held:
            return
        data = b"".join(self._held)
        self._held = []
        self._held_bytes = 0
        self._write(data)

    def _write(self, data: bytes | bytearray) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._sink, view) :]
        except BrokenPipeError:
            raise HostGoneError from None

    @property
    def events(self) -> int:
        """What to poll the source for while a program runs: a hang-up always, requests only up to a limit."""
        return select.POLLIN if self._decoder.buffered < _AHEAD else 0

    def notice(self, event: int) -> None:
        """Take in what a poll of the source reported.

        Raises:
            HostGoneError: it reported the end.
        """
        if event & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
            raise HostGoneError
        if event & select.POLLIN:
            self._read()

    def _read(self) -> None:
        data = os.read(self.source, max(_READ, min(self._decoder.wanted, _AHEAD)))
        if not data:
            raise HostGoneError
        self._decoder.feed(data)

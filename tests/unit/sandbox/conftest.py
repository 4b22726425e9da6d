"""A guest that does as it is told: the other end of a channel, in a thread, over a real socket pair."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from sandbox_runner.guest.wire import FrameDecoder, encode_frame
from sandbox_runner.sandbox.channel import Channel
from sandbox_runner.sandbox.engine import Attachment


class FakeGuest:
    """What the host sees as Docker's stream: frames in, multiplexed bytes out."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.decoder = FrameDecoder()
        self.requests: list[dict] = []

    def read_request(self) -> tuple[dict, bytes] | None:
        """The host's next request; None when it hung up."""
        while (frame := self.decoder.next_frame()) is None:
            data = self.connection.recv(1 << 16)
            if not data:
                return None
            self.decoder.feed(data)
        self.requests.append(frame[0])
        return frame

    def send_raw(self, payload: bytes, stream: int = 1) -> None:
        for start in range(0, len(payload), 1 << 15):
            piece = payload[start : start + (1 << 15)]
            self.connection.sendall(bytes((stream, 0, 0, 0)) + len(piece).to_bytes(4, "big") + piece)

    def answer(self, header: dict, body: bytes = b"") -> None:
        self.send_raw(encode_frame(header, body))

    def claim(self, header_bytes: int, body_bytes: int) -> None:
        """A frame's prefix alone: promises what may never come."""
        self.send_raw(header_bytes.to_bytes(4, "big") + body_bytes.to_bytes(4, "big"))

    def answer_json(self, text: str) -> None:
        self.send_raw(len(text.encode()).to_bytes(4, "big") + bytes(4) + text.encode())

    def serve(self, reply: Callable[[dict, bytes], tuple[dict, bytes]]) -> None:
        while (frame := self.read_request()) is not None:
            header, body = reply(*frame)
            self.answer({"id": frame[0]["id"], "ok": True, **header}, body)


@pytest.fixture
def guest_channel() -> Iterator[Callable[[Callable[[FakeGuest], None]], Channel]]:
    """Give a script for the guest, get the channel to it."""
    opened: list[tuple[Channel, socket.socket, threading.Thread]] = []

    def connect(script: Callable[[FakeGuest], None]) -> Channel:
        host, guest = socket.socketpair()

        def run() -> None:
            # A guest that misbehaves is hung up on.
            with guest, contextlib.suppress(OSError):
                script(FakeGuest(guest))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        channel = Channel(Attachment(host, lambda: None))
        opened.append((channel, guest, thread))
        return channel

    yield connect
    for channel, guest, thread in opened:
        channel.close()
        with contextlib.suppress(OSError):
            guest.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        assert not thread.is_alive()

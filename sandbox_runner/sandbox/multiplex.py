"""Docker's framing of an attached container's output: a header of eight bytes, then bytes of one stream.

Pure: bytes in, payloads out. The daemon writes these headers, not the container; whatever does not fit them
means that the stream is out of step, and nothing after it can be trusted.
"""

from __future__ import annotations

import struct

from sandbox_runner.errors import ChannelError

__all__ = ["STDERR", "STDOUT", "Demultiplexer"]

STDOUT = 1
STDERR = 2
_HEADER = struct.Struct(">II")  # the stream's number and three zero bytes; the length of what follows
_STREAMS = {STDOUT << 24: STDOUT, STDERR << 24: STDERR}
_LARGEST = (
    1 << 20
)  # the daemon copies in pieces of 32 KiB; a mebibyte leaves room for any other that does not


class Demultiplexer:
    """Splits one byte stream into the container's stdout and stderr; holds no more than one header."""

    def __init__(self) -> None:
        self._cut = b""  # a header of which only the beginning has come
        self._stream = STDOUT
        self._left = 0

    def feed(self, data: memoryview) -> list[tuple[int, memoryview]]:
        """(stream, bytes) pairs of what arrived; the views are valid until the caller reuses its buffer.

        Raises:
            ChannelError: a header that Docker does not write.
        """
        pieces: list[tuple[int, memoryview]] = []
        position, end = 0, len(data)
        while position < end:
            if not self._left:
                position = self._open(data, position)
                continue
            piece = data[position : position + self._left]
            position += len(piece)
            self._left -= len(piece)
            pieces.append((self._stream, piece))
        return pieces

    def _open(self, data: memoryview, position: int) -> int:
        """Read a header, or as much of it as there is; returns where the payload begins."""
        if self._cut or len(data) - position < _HEADER.size:
            taken = bytes(data[position : position + _HEADER.size - len(self._cut)])
            position += len(taken)
            self._cut += taken
            if len(self._cut) < _HEADER.size:
                return position
            kind, length = _HEADER.unpack(self._cut)
            self._cut = b""
        else:
            kind, length = _HEADER.unpack_from(data, position)
            position += _HEADER.size
        if kind not in _STREAMS or length > _LARGEST:
            raise ChannelError("The container's stream is out of step: a header that Docker does not write.")
        self._stream, self._left = _STREAMS[kind], length
        return position

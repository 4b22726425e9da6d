"""Docker's framing of an attached container's output: a header of eight bytes, then bytes of one stream.

Pure: bytes in, payloads out. The daemon writes these headers, not the container; whatever does not fit them
means that the stream is out of step, and nothing after it can be trusted.
"""

from __future__ import annotations

from collections.abc import Iterator

from sandbox_runner.errors import ChannelError

__all__ = ["STDERR", "STDOUT", "Demultiplexer"]

STDOUT = 1
STDERR = 2
_HEADER = 8
_LARGEST = (
    1 << 20
)  # the daemon copies in pieces of 32 KiB; a mebibyte leaves room for any other that does not


class Demultiplexer:
    """Splits one byte stream into the container's stdout and stderr; holds no more than one header."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._stream = STDOUT
        self._left = 0

    def feed(self, data: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Yield (stream, bytes) for what arrived; the views are valid until the caller reuses its buffer.

        Raises:
            ChannelError: a header that Docker does not write.
        """
        position = 0
        while position < len(data):
            if not self._left:
                taken = data[position : position + _HEADER - len(self._header)]
                self._header += taken
                position += len(taken)
                if len(self._header) == _HEADER:
                    self._open()
                continue
            piece = data[position : position + self._left]
            position += len(piece)
            self._left -= len(piece)
            yield self._stream, piece

    def _open(self) -> None:
        stream, length = self._header[0], int.from_bytes(self._header[4:], "big")
        if stream not in {STDOUT, STDERR} or any(self._header[1:4]) or length > _LARGEST:
            raise ChannelError("The container's stream is out of step: a header that Docker does not write.")
        self._stream, self._left = stream, length
        self._header.clear()

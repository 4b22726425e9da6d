"""Frames: the one format in which host and guest talk, used by both sides.

    u32 header length | u32 body length | header (UTF-8 JSON object) | body (raw bytes)        big endian

Both lengths are checked before a byte of either is kept, so a peer cannot make the other side allocate. The
decoder does no I/O: whoever reads the stream feeds it, which leaves deadlines and transports to the caller.
"""

from __future__ import annotations

from sandbox_runner.guest.lean import Struct, json_decoder, json_encoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Header = dict[str, Any]
    Frame = tuple[Header, bytes]

__all__ = [
    "BODY_LIMIT",
    "HEADER_LIMIT",
    "OUTPUT_LIMIT",
    "PUSHES_BYTES",
    "PUSHES_LIMIT",
    "FrameDecoder",
    "FrameError",
    "decode_json",
    "encode_frame",
    "encode_head",
    "encode_json",
    "split_blobs",
]

HEADER_LIMIT = 1 << 20
"""Longest header, in bytes."""
BODY_LIMIT = 32 << 20
"""Longest body, in bytes."""
OUTPUT_LIMIT = 8 << 20
"""Most bytes of what one call's programs printed that the answer carries as its body."""
PUSHES_LIMIT = 1_000
"""Most branches that a run can have pushed."""
PUSHES_BYTES = 2 * BODY_LIMIT
"""Their bundles together, in bytes."""

_PREFIX = 8
_LENGTHS = Struct(">II")
_to_text, _from_text = json_encoder(), json_decoder()


def encode_json(value: Any) -> bytes:
    """A value as JSON in UTF-8 without blanks.

    Raises:
        ValueError, TypeError, RecursionError: JSON cannot say it; NaN and infinity are among that.
    """
    return _to_text(value).encode()


def decode_json(data: bytes | bytearray) -> Any:
    """One JSON text in UTF-8 without blanks around it; no constants beyond JSON's own, no key twice.

    Raises:
        ValueError: it is none; ``RecursionError`` where it is nested too deeply.
    """
    return _from_text(data.decode())


class FrameError(Exception):
    """The stream carries something that is no frame; it cannot be read any further."""


def encode_frame(
    header: Header, body: bytes | bytearray = b"", encode: Callable[[Any], bytes] = encode_json
) -> bytes:
    """One frame as bytes; ``encode`` is another way to the same JSON.

    Raises:
        FrameError: header or body is over its limit, or the header is no JSON.
    """
    return encode_head(header, len(body), encode) + body


def encode_head(header: Header, length: int, encode: Callable[[Any], bytes] = encode_json) -> bytes:
    """A frame without its body of ``length`` bytes, which follows; raises like ``encode_frame``."""
    try:
        text = encode(header)
    except (TypeError, ValueError, RecursionError) as error:
        raise FrameError(f"a frame's header cannot be written as JSON: {error}") from error
    _check(len(text), length)
    return _LENGTHS.pack(len(text), length) + text


def split_blobs(lengths: dict[str, int], body: bytes) -> dict[str, bytes]:
    """Cut a body into its named parts; ``lengths`` gives them in order and must account for every byte.

    Raises:
        FrameError: a length is no count, or the sum is not the body's length.
    """
    parts: dict[str, bytes] = {}
    offset = 0
    if not isinstance(lengths, dict):
        raise FrameError("the blobs of a frame are no mapping of names to lengths")
    for name, length in lengths.items():
        if type(length) is not int or not 0 <= length <= len(body) - offset:
            raise FrameError(f"blob {name!r:.40} has no usable length")
        parts[name] = body[offset : offset + length]
        offset += length
    if offset != len(body):
        raise FrameError(f"the blobs of a frame cover {offset} of {len(body)} bytes")
    return parts


class FrameDecoder:
    """Bytes in, frames out. After a ``FrameError`` the decoder must not be used again.

    Args:
        decode: reads a header, like ``decode_json``.
    """

    __slots__ = ("_buffer", "_decode", "_lengths")

    def __init__(self, decode: Callable[[bytearray], Any] = decode_json) -> None:
        self._decode = decode
        self._buffer = bytearray()
        self._lengths: tuple[int, int] | None = None

    @property
    def buffered(self) -> int:
        """Bytes taken in and not yet given out."""
        return len(self._buffer)

    @property
    def wanted(self) -> int:
        """How many more bytes the next frame needs, at least; 0 when ``next_frame`` has something to do."""
        needed = _PREFIX if self._lengths is None else _PREFIX + sum(self._lengths)
        return max(0, needed - len(self._buffer))

    def feed(self, data: bytes | memoryview) -> None:
        """Take in bytes as they come."""
        self._buffer += data

    def next_frame(self) -> Frame | None:
        """The next whole frame, or ``None`` until more bytes are fed.

        Raises:
            FrameError: a length is over its limit, or the header is no JSON object.
        """
        buffer = self._buffer
        if self._lengths is None:
            if len(buffer) < _PREFIX:
                return None
            head, body = self._lengths = _LENGTHS.unpack_from(buffer)
            _check(head, body)
        else:
            head, body = self._lengths
        start = _PREFIX + head
        end = start + body
        if len(buffer) < end:
            return None
        self._lengths = None
        header = self._parse(buffer[_PREFIX:start])
        content = bytes(buffer[start:end]) if body else b""
        del buffer[:end]
        return header, content

    def _parse(self, data: bytearray) -> Header:
        try:
            value = self._decode(data)
        except (ValueError, RecursionError) as error:
            raise FrameError(f"a frame's header is no JSON: {str(error)[:200]}") from None
        if type(value) is not dict:
            raise FrameError("a frame's header is no JSON object")
        return value


def _check(header: int, body: int) -> None:
    if header > HEADER_LIMIT:
        raise FrameError(f"a frame's header has {header} bytes, the limit is {HEADER_LIMIT}")
    if body > BODY_LIMIT:
        raise FrameError(f"a frame's body has {body} bytes, the limit is {BODY_LIMIT}")

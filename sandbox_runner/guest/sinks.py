"""Where the output of a program goes: bounded memory, whatever it writes."""

from __future__ import annotations

__all__ = ["HeadTail", "Whole"]


class HeadTail:
    """The beginning and the end of an output of any length; what was between them is counted and dropped.

    Args:
        limit: bytes of ``text``.
        keep: bytes of ``kept``, where that is more.
    """

    LIMIT = 128 << 10
    """The longest text, whatever is asked for: six times that, as JSON escapes, still fits a header."""

    __slots__ = ("_first", "_half", "_head", "_last", "_tail", "total")

    def __init__(self, limit: int, keep: int = 0) -> None:
        self._half = max(1, min(limit, self.LIMIT) // 2)
        self._last = max(self._half, keep // 8)  # why something failed is at its end, and seldom long
        self._first = max(self._half, keep - self._last)
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0

    @property
    def cut(self) -> bool:
        """Whether something is missing in the middle of the text."""
        return self.total > 2 * self._half

    def take(self, data: bytes) -> None:
        """Take in more output."""
        self.total += len(data)
        room = self._first - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        if len(self._tail) > 2 * self._last:  # trimming seldom keeps a flood of single bytes cheap
            del self._tail[: -self._last]

    def text(self) -> str:
        """The output as text; bytes that are no UTF-8 are replaced, a cut is marked in words."""
        if not self.cut:
            return (self._head + self._tail).decode("utf-8", "replace")
        tail = self._tail[-self._half :]
        if len(tail) < self._half:  # then nothing was dropped between the two
            tail = self._head[len(tail) - self._half :] + tail
        mark = f"\n[... {self.total - 2 * self._half} bytes cut ...]\n"
        return self._head[: self._half].decode("utf-8", "replace") + mark + tail.decode("utf-8", "replace")

    def kept(self) -> tuple[bytearray, int]:
        """All that is kept, and where in it the bytes are missing that are not. Nothing can be taken after.

        They are handed over, not copied: this process shares its memory limit with what the call left.
        """
        data, tail = self._head, self._tail
        cut_at = len(data)
        if len(tail) > self._last:
            del tail[: -self._last]
        data += tail
        self._head, self._tail = bytearray(), bytearray()
        return data, cut_at if self.total > len(data) else len(data)


class Whole:
    """An output that is of use only as a whole; past its limit the rest is dropped and ``cut`` says so."""

    __slots__ = ("_limit", "cut", "data")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.data = bytearray()
        self.cut = False

    def take(self, data: bytes) -> None:
        """Take in more output."""
        room = self._limit - len(self.data)
        self.cut = self.cut or len(data) > room
        self.data += data[: max(0, room)]

"""Where the output of a program goes: bounded memory, whatever it writes."""

from __future__ import annotations

__all__ = ["HeadTail", "Whole"]


class HeadTail:
    """The beginning and the end of an output of any length; what was between them is counted and dropped."""

    LIMIT = 128 << 10
    """The most that is kept, whatever is asked for: six times that, as JSON escapes, still fits a header."""

    __slots__ = ("_half", "_head", "_tail", "total")

    def __init__(self, limit: int) -> None:
        self._half = max(1, min(limit, self.LIMIT) // 2)
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0

    @property
    def cut(self) -> bool:
        """Whether something is missing in the middle."""
        return self.total > len(self._head) + min(len(self._tail), self._half)

    def take(self, data: bytes) -> None:
        """Take in more output."""
        self.total += len(data)
        room = self._half - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        if len(self._tail) > 4 * self._half:  # trimming seldom keeps a flood of single bytes cheap
            del self._tail[: -self._half]

    def text(self) -> str:
        """The output as text; bytes that are no UTF-8 are replaced, a cut is marked in words."""
        tail = self._tail[-self._half :]
        if not self.cut:
            return (self._head + tail).decode("utf-8", "replace")
        missing = self.total - len(self._head) - len(tail)
        mark = f"\n[... {missing} bytes cut ...]\n"
        return self._head.decode("utf-8", "replace") + mark + tail.decode("utf-8", "replace")


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

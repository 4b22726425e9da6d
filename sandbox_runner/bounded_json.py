"""JSON from strangers, in memory that is bounded by what is written down and not by what it unfolds to.

A byte of JSON can take fifty in memory: ``[[],[],...`` is nothing but objects. A limit on bytes alone is
therefore none on memory. So the values of a text are counted before it is read, by a pass that keeps nothing:
every value but the first follows a comma or the bracket that opens a list or an object. Where these
characters are few in all nothing else is asked; else those within texts do not count, for contents may be
full of them. Nesting is the reader's own limit: 1,024.
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

__all__ = ["VALUE_BYTES", "check_values", "json_memory", "read_json"]

VALUE_BYTES: Final = 240
"""Memory of one value, bytes: a member of an object with a short text of its own for key and value."""
_MARKS: Final = (b",", b"[", b"{")
_TEXT: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
"""A text, or the beginning of one that never ends: no byte of it is looked at twice."""
_WIDE: Final = 5
"""Memory of a byte of text: four where one character of it is beyond the basic plane, and the text itself."""


def json_memory(size: int, values: int) -> int:
    """The most memory that a text of ``size`` bytes and ``values`` values takes when it is read, bytes."""
    return size * _WIDE + values * VALUE_BYTES


def check_values(data: bytes | bytearray, most: int) -> None:
    """See that a text of JSON holds at most so many values; it need not be valid.

    Raises:
        ValueError: it may hold more; the text names the limit.
    """
    if len(data) // 2 < most:  # a value takes two characters, its own and what parts it from the next
        return
    if 1 + _opened(data, 0, len(data)) <= most:
        return
    count, at = 1, 0
    for text in _TEXT.finditer(data):
        count += _opened(data, at, text.start())
        at = text.end()
        if count > most:
            break
    if count + _opened(data, at, len(data)) > most:
        raise ValueError(f"it holds more than {most:,} values, which is the limit")


def _opened(data: bytes | bytearray, start: int, end: int) -> int:
    return sum(data.count(mark, start, end) for mark in _MARKS)


def read_json(data: bytes | bytearray, *, values: int) -> Any:
    """One text of JSON in UTF-8, strictly: no constants beyond JSON's own, no lone surrogates.

    The caller bounds the bytes; ``json_memory`` says what both limits come to.

    Raises:
        ValueError: it is none, is nested deeper than 1,024 levels, or holds more than ``values`` values.
    """
    check_values(data, values)
    return orjson.loads(data)

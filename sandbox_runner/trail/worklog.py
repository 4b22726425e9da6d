"""Worklogs as files: a JSON list, ``{"entries": [...]}``, or one JSON object per line.

The text comes from strangers, so nothing is built from it before its shape is known. An entry is a flat
object of text, numbers, booleans and null; each is found in the bytes by a regular expression that cannot
backtrack and is parsed alone. A nested value, a duplicate key, NaN, a number that no field could hold, or
text that is not Unicode ends the reading; the error names the entry and its line.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any, NoReturn

from sandbox_runner.errors import TrailCompileError
from sandbox_runner.trail.limits import DEFAULT_LIMITS, TrailLimits

__all__ = ["is_worklog", "iter_worklog", "line_of_entry", "read_worklog"]

_STRING = rb'"[^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*+"'
_SPACE = rb"[ \t\r\n]*+"
_SCALAR = rb"(?>" + _STRING + rb"|-?[0-9][0-9.eE+-]*+|true|false|null)"
_PAIR = _SPACE + _STRING + _SPACE + rb":" + _SPACE + _SCALAR + _SPACE
_BLANK = re.compile(_SPACE)
_ENTRY = re.compile(rb"\{(?>" + _SPACE + rb"\}|" + _PAIR + rb"(?>," + _PAIR + rb"){0,63}+\})")
_WRAPPED = re.compile(rb"\{" + _SPACE + rb'"entries"' + _SPACE + rb":" + _SPACE + rb"\[")
_UNWRAPPED = re.compile(_SPACE + rb"\}")
_PREFIX = re.compile(_SPACE + _STRING + _SPACE + rb":" + _SPACE)
_DANGLING = re.compile(_SPACE + rb"\}")
_NEXT = re.compile(_PAIR + rb",")
_MAX_KEYS = 64
"""Keys of an entry; no operation takes a quarter of them."""
_MAX_DIGITS = 40
"""Characters of a number; a float's 17 digits, sign and exponent fit easily."""


def is_worklog(data: bytes) -> bool:
    """Whether bytes begin as a worklog does, whatever follows; no trail begins so."""
    start = _start(data)
    return data[start : start + 1] in {b"[", b"{"}


def read_worklog(data: bytes, limits: TrailLimits = DEFAULT_LIMITS) -> list[dict[str, Any]]:
    """The entries of a worklog.

    Raises:
        TrailCompileError: the bytes are no worklog; ``entry`` says where.
    """
    return list(iter_worklog(data, limits))


def iter_worklog(data: bytes, limits: TrailLimits = DEFAULT_LIMITS) -> Iterator[dict[str, Any]]:
    """The entries of a worklog, one after another; only one is held at a time.

    Raises:
        TrailCompileError: the bytes are no worklog; ``entry`` and ``line`` say where.
    """
    return (entry for _, entry in _entries(data, limits))


def line_of_entry(data: bytes, index: int, limits: TrailLimits = DEFAULT_LIMITS) -> int | None:
    """The line on which an entry of a worklog begins, the first is 1; None where there is no such entry."""
    for position, _ in islice(_entries(data, limits), index, None):
        return _line(data, position)
    return None


def _line(data: bytes, position: int) -> int:
    return data.count(b"\n", 0, position) + 1


def _entries(data: bytes, limits: TrailLimits) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every entry with the offset at which it begins."""
    if len(data) > limits.worklog_bytes:
        raise TrailCompileError(
            f"the worklog has {len(data)} bytes, more than the limit worklog_bytes of {limits.worklog_bytes}"
        )
    start = _start(data)
    first = data[start : start + 1]
    if first == b"[":
        return _list(data, start + 1, limits, wrapped=False)
    wrapped = _WRAPPED.match(data, start)
    if wrapped:
        return _list(data, wrapped.end(), limits, wrapped=True)
    if first == b"{":
        return _lines(data, start, limits)
    what = "is empty" if start == len(data) else f"begins with byte 0x{data[start]:02X}"
    raise TrailCompileError(
        f'the worklog {what}; it must be a JSON list, {{"entries": [...]}} or one JSON object per line'
    )


def _start(data: bytes) -> int:
    """Where the text begins, behind a byte order mark and blanks."""
    return _skip(data, 3 if data.startswith(b"\xef\xbb\xbf") else 0)


def _skip(data: bytes, position: int) -> int:
    match = _BLANK.match(data, position)
    return match.end() if match else position


def _list(
    data: bytes, position: int, limits: TrailLimits, *, wrapped: bool
) -> Iterator[tuple[int, dict[str, Any]]]:
    index = 0
    position = _skip(data, position)
    while data[position : position + 1] != b"]" or index:
        entry, end = _entry(data, position, index, limits)
        yield position, entry
        index += 1
        position = _skip(data, end)
        mark = data[position : position + 1]
        if mark == b"]":
            break
        if mark != b",":
            _refuse(data, position, "behind it there is neither ',' nor ']'", index - 1)
        position = _skip(data, position + 1)
    position += 1
    if wrapped:
        closing = _UNWRAPPED.match(data, position)
        if closing is None:
            _refuse(data, position, "the mapping does not end here; it may hold nothing but 'entries'")
        position = closing.end()
    position = _skip(data, position)
    if position != len(data):
        _refuse(data, position, f"{len(data) - position} bytes follow the worklog")


def _lines(data: bytes, position: int, limits: TrailLimits) -> Iterator[tuple[int, dict[str, Any]]]:
    index = 0
    while position < len(data):
        entry, end = _entry(data, position, index, limits)
        yield position, entry
        position = _skip(data, end)
        if position < len(data) and b"\n" not in data[end:position]:
            _refuse(data, end, "it is not alone on its line", index)
        index += 1


def _entry(data: bytes, position: int, index: int, limits: TrailLimits) -> tuple[dict[str, Any], int]:
    if index == limits.entries:
        _refuse(data, position, f"the worklog has more entries than the limit entries of {index}", index)
    match = _ENTRY.match(data, position, position + limits.entry_bytes)
    if match is None:
        _explain(data, position, index, limits)
    try:
        text = str(memoryview(data)[position : match.end()], "utf-8")
    except UnicodeDecodeError as error:
        _refuse(data, position + error.start, "it is not UTF-8", index)
    try:
        entry: dict[str, Any] = _DECODER.decode(text)
        if "op" not in entry:
            _refuse(data, position, "it has no key 'op'", index, "op")
        if "\\u" in text:  # the only way for a lone surrogate to get past the UTF-8 decoder
            _check_unicode(entry)
    except json.JSONDecodeError as error:
        offset = position + len(text[: error.pos].encode())
        _refuse(data, offset, f"it is no JSON ({error.msg})", index)
    except _UnusableError as error:
        _refuse(data, position, f"it {error}", index, error.key)
    return entry, match.end()


class _UnusableError(Exception):
    """What ``json`` leaves to its caller: duplicate keys, monstrous numbers, lone surrogates."""

    def __init__(self, text: str, key: str | None = None) -> None:
        super().__init__(text)
        self.key = key


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = dict(pairs)
    if len(entry) != len(pairs):
        (twice, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise _UnusableError(f"has the key {twice[:64]!r} twice", twice)
    return entry


def _whole(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise _UnusableError(f"has a number of {len(digits)} characters, which no field holds")
    return int(digits)


def _fraction(digits: str) -> float:
    number = float(digits) if len(digits) <= _MAX_DIGITS else math.inf
    if math.isinf(number):
        raise _UnusableError(f"has the number {digits[:_MAX_DIGITS]}, which no field holds")
    return number


def _check_unicode(entry: dict[str, Any]) -> None:
    for key, value in entry.items():
        for text in (key, value):
            try:
                str(text).encode()
            except UnicodeEncodeError as error:
                code = ord(str(text)[error.start])
                raise _UnusableError(f"holds the lone surrogate U+{code:04X} in {key[:64]!a}", key) from error


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_int=_whole, parse_float=_fraction)


def _explain(data: bytes, position: int, index: int, limits: TrailLimits) -> NoReturn:
    """Say why no entry begins here: walk its pairs up to the one that is wrong."""
    if data[position : position + 1] != b"{":
        what = "the worklog ends" if position >= len(data) else f"there is byte 0x{data[position]:02X}"
        if data[position : position + 1] == b"]":
            what = "behind the comma the list ends"
        _refuse(data, position, f"it must be a mapping, but {what}", index)
    end = min(len(data), position + limits.entry_bytes)
    at = position + 1
    for _ in range(_MAX_KEYS):
        pair = _NEXT.match(data, at, end)
        if pair is None:
            break
        at = pair.end()
    else:
        _refuse(data, position, f"it has more than {_MAX_KEYS} keys", index)
    prefix = _PREFIX.match(data, at, end)
    value_at = prefix.end() if prefix else at
    if len(data) - position > limits.entry_bytes and end - at > limits.entry_bytes // 2:
        _refuse(data, position, f"it is over the limit entry_bytes of {limits.entry_bytes}", index)
    if prefix and data[value_at : value_at + 1] in {b"{", b"["}:
        _refuse(data, value_at, "it has a nested value; no key takes one", index)
    comma = "; a comma may not stand before '}'" if _DANGLING.match(data, value_at) else ""
    _refuse(data, value_at, f"it is no JSON object, near here{comma}", index)


def _refuse(
    data: bytes, position: int, text: str, entry: int | None = None, key: str | None = None
) -> NoReturn:
    """Say where the fault itself is: an entry may go over many lines."""
    raise TrailCompileError(f"{text}, at offset {position}", entry=entry, key=key, line=_line(data, position))

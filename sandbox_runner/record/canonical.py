r"""Canonical JSON (RFC 8785) with an exact fast path, and the pure-ASCII form in which lines are stored.

``rfc8785`` is written in Python and takes longer than everything else about a call. For values made of text,
booleans, null, safe integers, arrays, and objects with ASCII keys, the standard library's C encoder gives the
same bytes: both escape only the quote, the backslash and C0 controls (short forms, else lower-case
``\u00xx``), and ASCII keys sort the same by code point and by UTF-16 unit. Everything else, floats above all,
goes to the library. A property test holds the two equal.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import rfc8785

from sandbox_runner.errors import StoreError

__all__ = ["SAFE_INTEGER", "ascii_form", "canonical"]

SAFE_INTEGER: Final = 2**53 - 1
"""The largest integer that RFC 8785 can hold (I-JSON, RFC 7493)."""

_encode = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, separators=(",", ":"), check_circular=False, allow_nan=False
).encode
_NOT_PLAIN = re.compile(r"[^\x20-\x7e]")


def canonical(value: Any) -> bytes:
    """The RFC 8785 bytes of a JSON value.

    Raises:
        StoreError: the value is none that RFC 8785 can hold (lone surrogate, NaN, integer beyond 2**53 - 1).
    """
    try:
        return _encode(value).encode() if _is_plain(value) else rfc8785.dumps(value)
    except (UnicodeEncodeError, rfc8785.CanonicalizationError) as error:
        raise StoreError(f"a value cannot be written as canonical JSON: {error}") from error


def ascii_form(data: bytes) -> bytes:
    """The same JSON with every character outside printable ASCII escaped.

    One record stays one line and carries nothing that a terminal obeys: C1 controls, U+2028 and right-to-left
    marks are as harmless in it as a line feed is.
    """
    if data.isascii() and b"\x7f" not in data:
        return data
    return _NOT_PLAIN.sub(_escape, data.decode()).encode()


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-SAFE_INTEGER <= value <= SAFE_INTEGER)
    if kind is dict:
        return all(_is_plain_key(key) and _is_plain(item) for key, item in value.items())
    if kind is list or kind is tuple:
        return all(map(_is_plain, value))
    return False


def _is_plain_key(key: Any) -> bool:
    return type(key) is str and key.isascii()


def _escape(match: re.Match[str]) -> str:
    units = match.group().encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))

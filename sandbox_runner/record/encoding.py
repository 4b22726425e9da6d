"""How facts become canonical bytes, and how a line is stored: in ASCII, so that nothing steers a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from sandbox_runner.record import fields
from sandbox_runner.world.canonical import canonical_json

__all__ = ["ascii_form", "canonical_fact", "compact", "visible"]

_encode = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), check_circular=False, allow_nan=False
).encode
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {
    code: f"\\u{code:04x}"
    for code in (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF)
}
_NOT_PLAIN = re.compile(r"[^\x20-\x7e]")


_FREE: Final = (fields.ARGUMENTS, fields.DETAILS, fields.OUTCOME)
_AS_CANONICAL: Final = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER


def canonical_fact(fact: Mapping[str, Any]) -> bytes:
    """The canonical JSON (RFC 8785) of a fact, many times faster than a writer in Python.

    orjson writes text, booleans, null and integers up to 2**53 - 1 as RFC 8785 does and sorts ASCII keys
    alike. Only floats and other keys differ; they can occur in three members of a fact and send it to the
    library. A property test holds the two equal.

    Raises:
        ValueError: as ``canonical_json``.
    """
    if all(_is_plain(fact[name]) for name in _FREE):
        try:
            return orjson.dumps(fact, option=_AS_CANONICAL)
        except orjson.JSONEncodeError:
            pass  # a lone surrogate, a huge integer: the library says which
    return canonical_json(fact)


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind is dict:
        for key, item in value.items():  # a plain loop: every call pays for it
            if type(key) is not str or not key.isascii() or not (type(item) is str or _is_plain(item)):
                return False
        return True
    if kind is list:
        return all(map(_is_plain, value))
    return kind is str or kind is int or kind is bool or value is None


def ascii_form(canonical: bytes) -> bytes:
    """Canonical JSON with every character outside printable ASCII escaped; it still says the same.

    C1 controls, U+2028 and right-to-left marks become as harmless as RFC 8785 makes a line feed.
    """
    if canonical.isascii() and b"\x7f" not in canonical:
        return canonical
    return _NOT_PLAIN.sub(_escape, canonical.decode()).encode()


def compact(value: Any) -> bytes:
    """Compact ASCII JSON with sorted keys, for what is stored beside the chain and needs no canonical form.

    Raises:
        ValueError: the value is none that JSON can hold (NaN, infinity).
    """
    return _encode(value).replace("\x7f", "\\u007f").encode()


def visible(text: str) -> str:
    """The text with control, line-separating and direction-changing characters as escapes, surrogates too."""
    return text.translate(_CONTROL).encode("utf-8", "backslashreplace").decode()


def _escape(match: re.Match[str]) -> str:
    units = match.group().encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))

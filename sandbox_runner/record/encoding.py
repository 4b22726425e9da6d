"""How facts become canonical bytes, and how a line is stored: in ASCII, so that nothing steers a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from sandbox_runner.record import fields
from sandbox_runner.visible import escape_json, visible
from sandbox_runner.world.canonical import canonical_json

__all__ = ["ascii_form", "ascii_lines", "canonical_fact", "compact", "visible"]

_encode = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), check_circular=False, allow_nan=False
).encode
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
    return _NOT_PLAIN.sub(_escape, canonical.decode("utf-8", "surrogatepass")).encode()


def compact(value: Any) -> bytes:
    """Compact ASCII JSON with sorted keys, for what is stored beside the chain and needs no canonical form.

    Raises:
        ValueError: the value is none that JSON can hold (NaN, infinity).
    """
    return _encode(value).replace("\x7f", "\\u007f").encode()


def ascii_lines(lines: bytes) -> bytes:
    """JSON lines in canonical form as lines of printable ASCII that say the same; see ``ascii_form``.

    A lone surrogate, which the guest may meet in a name, stays what it is: its escape.

    Raises:
        ValueError: they are no UTF-8, a line is no JSON object, or the last one has no end.
    """
    *whole, rest = lines.split(b"\n")
    if rest:
        raise ValueError("the last line has no end")
    stored = [ascii_form(line) + b"\n" for line in whole]
    try:
        objects = all(isinstance(json.loads(line), dict) for line in stored)
    except RecursionError:
        objects = False
    if not objects:
        raise ValueError("a line is no JSON object")
    return b"".join(stored)


def _escape(match: re.Match[str]) -> str:
    return escape_json(match.group())

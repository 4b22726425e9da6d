"""Canonical JSON (RFC 8785, JCS): one value, one byte string; every digest of the project is over it."""

from __future__ import annotations

from hashlib import sha256
from json.encoder import encode_basestring
from typing import Any

import rfc8785

__all__ = ["canonical_digest", "canonical_json", "json_string"]

_LARGEST_INTEGER = 2**53 - 1  # RFC 8785 section 3.2.2.3: numbers are IEEE 754 doubles
_WORDS = {True: "true", False: "false", None: "null"}

json_string = encode_basestring
"""A text as canonical JSON: the standard library escapes exactly what RFC 8785 section 3.2.2.2 says."""


def canonical_json(value: Any) -> bytes:
    """Serialise a JSON value canonically (RFC 8785).

    Raises:
        ValueError: the value is no JSON, holds an integer beyond 2**53 - 1, a number that is not finite,
            text that is not Unicode (a lone surrogate), or is nested too deeply.
    """
    try:
        return _plain(value).encode()
    except _NotPlainError:
        return rfc8785.dumps(value)
    except RecursionError:
        raise ValueError("the value is nested too deeply") from None


def canonical_digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, 64 lower-case hex digits; raises like ``canonical_json``."""
    return sha256(canonical_json(value)).hexdigest()


class _NotPlainError(Exception):
    """The value needs the library: floats have a form, keys beyond ASCII an order, other types an error."""


def _plain(value: Any) -> str:
    """Write what nearly every value consists of, several times faster than the library: every step pays."""
    kind: type[object] = type(value)
    if kind is str:
        return encode_basestring(value)
    if kind is dict:
        for key in value:
            if type(key) is not str or not key.isascii():
                raise _NotPlainError
        members = [f"{encode_basestring(key)}:{_plain(value[key])}" for key in sorted(value)]
        return f"{{{','.join(members)}}}"
    if kind is int and -_LARGEST_INTEGER <= value <= _LARGEST_INTEGER:
        return str(value)
    if kind is list:
        return f"[{','.join(map(_plain, value))}]"
    if kind is bool or value is None:
        return _WORDS[value]
    raise _NotPlainError

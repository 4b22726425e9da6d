"""Canonical JSON (RFC 8785, JCS): one value, one byte string; every digest of the project is over it."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import rfc8785

__all__ = ["canonical_digest", "canonical_json"]

_LARGEST_INTEGER = 2**53 - 1  # RFC 8785 section 3.2.2.3: numbers are IEEE 754 doubles
_ENCODER = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, sort_keys=True, separators=(",", ":")
)


def canonical_json(value: Any) -> bytes:
    """Serialise a JSON value canonically (RFC 8785).

    Raises:
        ValueError: the value is no JSON, holds an integer beyond 2**53 - 1, a number that is not finite, or
            text that is not Unicode (a lone surrogate).
    """
    # The standard encoder gives the same bytes about ten times faster where neither the form of floats nor
    # the order of keys outside ASCII (RFC 8785 sorts by UTF-16 units) comes into play.
    if _is_plain(value):
        return _ENCODER.encode(value).encode()
    return rfc8785.dumps(value)


def canonical_digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, 64 lower-case hex digits; raises like ``canonical_json``."""
    return sha256(canonical_json(value)).hexdigest()


def _is_plain(value: Any) -> bool:
    kind: type[object] = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-_LARGEST_INTEGER <= value <= _LARGEST_INTEGER)
    if kind is dict:
        return all(type(key) is str and key.isascii() and _is_plain(item) for key, item in value.items())
    if kind is list:
        return all(map(_is_plain, value))
    return False

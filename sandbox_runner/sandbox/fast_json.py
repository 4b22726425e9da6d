"""The wire's JSON on the host: the same texts and values as in ``guest.wire``, by a faster library."""

from __future__ import annotations

from typing import Any

import orjson

from sandbox_runner.guest.wire import decode_json, encode_json

__all__ = ["decode", "encode"]


def encode(value: Any) -> bytes:
    """What ``encode_json`` gives or raises, but for a number that is not finite, which becomes null."""
    try:
        return orjson.dumps(value)
    except TypeError:  # an integer beyond 64 bits; or no JSON at all
        return encode_json(value)


def decode(data: bytes | bytearray) -> Any:
    """What ``decode_json`` gives or raises.

    A text that is written back byte for byte holds what was read and nothing else: no key twice, no blank, no
    number that lost digits. The guest writes such texts; any other is left to the strict reader.
    """
    try:
        value = orjson.loads(data)
        if orjson.dumps(value) == data:
            return value
    except (ValueError, TypeError):
        pass
    return decode_json(data)

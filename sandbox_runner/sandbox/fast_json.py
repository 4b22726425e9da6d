"""The wire's JSON on the host: the same texts and values as in ``guest.wire``, by a faster library."""

from __future__ import annotations

from typing import Any

import orjson

from sandbox_runner.bounded_json import check_values, json_memory
from sandbox_runner.guest.wire import HEADER_LIMIT, decode_json, encode_json

__all__ = ["HEADER_MEMORY", "HEADER_VALUES", "decode", "encode"]

HEADER_VALUES = 20_000
"""Values in a header; the guest's longest lists have some hundred names."""
HEADER_MEMORY = 2 * json_memory(HEADER_LIMIT, HEADER_VALUES)
"""The most memory that reading a header takes, bytes: it is read twice where it is not in the usual form."""


def encode(value: Any) -> bytes:
    """What ``encode_json`` gives or raises, but for a number that is not finite, which becomes null."""
    try:
        return orjson.dumps(value)
    except TypeError:  # an integer beyond 64 bits; or no JSON at all
        return encode_json(value)


def decode(data: bytes | bytearray) -> Any:
    """What ``decode_json`` gives or raises; a ``ValueError`` also beyond ``HEADER_VALUES``.

    A text that is written back byte for byte holds what was read and nothing else: no key twice, no blank, no
    number that lost digits. The guest writes such texts; any other is left to the strict reader.
    """
    check_values(data, HEADER_VALUES)
    try:
        value = orjson.loads(data)
        if orjson.dumps(value) == data:
            return value
    except (ValueError, TypeError):
        pass
    return decode_json(data)

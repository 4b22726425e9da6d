"""The wire's JSON on the host: the same texts and values as in ``guest.wire``, by a faster library."""

from __future__ import annotations

from typing import Any

import orjson

from sandbox_runner.guest.wire import decode_json

__all__ = ["decode", "encode"]

encode = orjson.dumps
"""A value as JSON in UTF-8; raises TypeError. A number that is not finite becomes null."""


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

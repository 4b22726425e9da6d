"""Sizes with a unit, as a policy file writes them."""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ["SAFE_INTEGER", "parse_size"]

SAFE_INTEGER: Final = 2**53 - 1
"""The largest whole number that every JSON reader keeps exact (RFC 8785, section 3.2.2.3)."""

_FACTORS: Final = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZE: Final = re.compile(r"([0-9]{1,16}) ?([A-Za-z]+)")


def parse_size(value: Any) -> Any:
    """Bytes from ``16MiB`` or a whole number of bytes; anything else is returned for the schema to refuse.

    Raises:
        ValueError: a number with a unit that is none of B, KiB, MiB, GiB and TiB.
    """
    if not isinstance(value, str):
        return value
    found = _SIZE.fullmatch(value)
    if found is None or found[2] not in _FACTORS:
        raise ValueError(f"a size is a whole number of bytes or one with a unit of {', '.join(_FACTORS)}")
    return int(found[1]) * _FACTORS[found[2]]

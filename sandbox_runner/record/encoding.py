"""How a line is stored: pure ASCII JSON, so that a record is one line and nothing in it steers a terminal."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["ascii_form", "compact", "visible"]

_encode = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), check_circular=False, allow_nan=False
).encode
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {
    code: f"\\u{code:04x}"
    for code in (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF)
}
_NOT_PLAIN = re.compile(r"[^\x20-\x7e]")


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

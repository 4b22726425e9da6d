"""The short string hash of version 1 and its two 16-bit halves.

A string's hash is the first four bytes of SHA-256 over its UTF-8 form, with no normalisation. It names the
string in version 1 and identifies nothing: two strings can share it, so whoever writes must look for
collisions.
"""

from __future__ import annotations

from hashlib import sha256

from sandbox_runner.arguments import wrong
from sandbox_runner.errors import TrailError

NO_ID = "00000000"
"""The id hash of a trail without an id; the reference writes it for an empty text, too."""

__all__ = [
    "NO_ID",
    "agent_byte",
    "file_digest",
    "str_hash_to_u16_pair",
    "str_to_hash",
    "u16_pair_to_hex",
    "utf8",
]


def utf8(text: str) -> bytes:
    """UTF-8 form of a text.

    Raises:
        TrailError: the text holds a lone surrogate, which UTF-8 cannot express.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise TrailError(
            f"the lone surrogate U+{ord(text[error.start]):04X} at character {error.start} is no UTF-8 text"
        ) from error
    except AttributeError:
        raise wrong("text", "text", text) from None


def str_to_hash(text: str) -> str:
    """The string's hash as 8 lower-case hexadecimal digits."""
    return sha256(utf8(text)).hexdigest()[:8]


def str_hash_to_u16_pair(text: str) -> tuple[int, int]:
    """The string's hash as an operand pair, most significant half first."""
    digest = sha256(utf8(text)).digest()
    return int.from_bytes(digest[:2], "big"), int.from_bytes(digest[2:4], "big")


def u16_pair_to_hex(high: int, low: int) -> str:
    """The 8 hexadecimal digits of an operand pair."""
    try:
        return f"{high & 0xFFFF:04x}{low & 0xFFFF:04x}"
    except (TypeError, ValueError):
        given, name = (low, "low") if isinstance(high, int) else (high, "high")
        raise wrong(name, "a whole number", given) from None


def file_digest(data: bytes) -> str:
    """SHA-256 of a trail's bytes, 64 hexadecimal digits: the one name by which a trail is identified."""
    return sha256(data).hexdigest()


def agent_byte(name: str) -> int:
    """The agent id of a trail that gives none: the first byte of SHA-256 over the agent's name."""
    return sha256(utf8(name)).digest()[0]

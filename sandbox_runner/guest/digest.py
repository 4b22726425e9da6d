"""SHA-256 without ``hashlib`` where it is not earned: loading OpenSSL costs an idle guest 3 MiB."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["sha256_hex"]

_LARGE = 256 << 10  # from here on OpenSSL is worth loading


def _small() -> Any:
    for name in ("_sha256", "_sha2", "hashlib"):  # up to 3.11; from 3.12; whatever else runs this
        try:
            return import_module(name).sha256
        except ImportError:
            continue
    raise ImportError("this Python has no SHA-256")


_sha256 = _small()


def sha256_hex(data: bytes) -> str:
    """The SHA-256 of some bytes in lower-case hexadecimal."""
    if len(data) >= _LARGE:
        return str(import_module("hashlib").sha256(data).hexdigest())
    return str(_sha256(data).hexdigest())

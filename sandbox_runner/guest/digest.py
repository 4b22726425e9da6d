"""SHA-256 without ``hashlib`` until it is earned: loading OpenSSL costs 3 MiB, an idle guest's third."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Sha256", "sha256_hex"]

_EARNED = 256 << 10  # bytes after which OpenSSL, four times as fast, has paid for its loading


_SMALL = ("_sha256", "_sha2", "hashlib")  # up to 3.11; from 3.12; whatever else runs this


def _first(names: tuple[str, ...], otherwise: Any = None) -> Any:
    for name in names:
        try:
            return import_module(name).sha256
        except ImportError:
            continue
    return otherwise


class Sha256:
    """A function from bytes to their SHA-256, that changes to the faster of two equal ways in time."""

    __slots__ = ("_left", "_new")

    def __init__(self) -> None:
        self._new = _first(_SMALL)
        self._left = _EARNED

    def __call__(self, data: bytes) -> str:
        """The digest in lower-case hexadecimal."""
        if self._left > 0:
            self._left -= len(data)
            if self._left <= 0:
                self._new = _first(("hashlib",), self._new)  # the sandbox uid may have no access to it
        return str(self._new(data).hexdigest())


sha256_hex = Sha256()

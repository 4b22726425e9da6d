"""SHA-256 without ``hashlib`` until it is earned: loading OpenSSL costs 3 MiB, an idle guest's third."""

from __future__ import annotations

from sandbox_runner.guest.lean import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Sha256", "constructor", "sha256", "sha256_hex"]

_EARNED = 256 << 10  # bytes after which OpenSSL, four times as fast, has paid for its loading


_SMALL = ("_sha256", "_sha2", "hashlib")  # up to 3.11; from 3.12; whatever else runs this


def constructor(name: str, modules: tuple[str, ...], otherwise: Any = None) -> Any:
    """What makes a hash of that name, from the first module that can be had."""
    for module in modules:
        try:
            return getattr(load(module), name)
        except (ImportError, OSError):  # not in this image, or no descriptor is left to open it
            continue
    return otherwise


class Sha256:
    """SHA-256 that changes to the faster of two equal ways in time."""

    __slots__ = ("_left", "_new")

    def __init__(self) -> None:
        self._new = constructor("sha256", _SMALL)
        self._left = _EARNED

    def new(self, data: bytes = b"", size: int = 0) -> Any:
        """A hash object that has taken ``data`` and will take about ``size`` bytes."""
        if self._left > 0:
            self._left -= len(data) + size
            if self._left <= 0:
                # The sandbox uid may have no access to it.
                self._new = constructor("sha256", ("hashlib",), self._new)
        return self._new(data)

    def hexdigest(self, data: bytes) -> str:
        """The digest of ``data`` in lower-case hexadecimal."""
        return str(self.new(data).hexdigest())


sha256 = Sha256()
sha256_hex = sha256.hexdigest

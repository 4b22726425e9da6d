"""The details of an outcome, as a long replay keeps them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

__all__ = ["LastRead", "PackedDetails", "packed"]

# Anything that is no plain JSON value raises instead of becoming one.
_STRICT = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


class LastRead:
    """What was read last of many packed details: a walk over one of them reads it once, and one is held."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: tuple[bytes, dict[str, Any]] = (b"", {})

    def read(self, data: bytes) -> dict[str, Any]:
        """The details in these bytes; the same object for the same bytes in a row."""
        of, read = self._last
        if of is not data:
            read = orjson.loads(data)
            self._last = data, read
        return read


class PackedDetails(Mapping[str, Any]):
    """Details kept as JSON and read whenever somebody looks; as objects they take far more memory.

    ``dict(details)`` looks up every name on its own, so what was read last is remembered: however many names
    there are, a walk over them costs one reading.
    """

    __slots__ = ("_data", "_shared")

    def __init__(self, data: bytes, shared: LastRead) -> None:
        self._data = data
        self._shared = shared

    @property
    def size(self) -> int:
        """The memory of what is kept, beside the object itself, bytes."""
        return sys.getsizeof(self._data)

    def read(self) -> dict[str, Any]:
        """The details; one object for all who ask in a row, so copy it before it is changed."""
        return self._shared.read(self._data)

    def __getitem__(self, name: str) -> Any:
        return self.read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.read())

    def __len__(self) -> int:
        return len(self.read())

    def __eq__(self, other: object) -> bool:
        return self.read() == other if isinstance(other, Mapping) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # equal to dicts, which have none

    def __repr__(self) -> str:
        return repr(self.read())


def packed(details: Mapping[str, Any], shared: LastRead) -> Mapping[str, Any]:
    """The same details in less memory; as they are where JSON would not give them back.

    They must have a digest already: a number that is not finite would be lost here.
    """
    if not details:
        return details
    try:
        # Bytes of their own: those that orjson gives hold on to a buffer of a kilobyte.
        return PackedDetails(bytes(memoryview(orjson.dumps(dict(details), option=_STRICT))), shared)
    except orjson.JSONEncodeError:
        return details

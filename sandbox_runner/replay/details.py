"""The details of an outcome, as a long replay keeps them."""

from __future__ import annotations

import sys
from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import Any
from weakref import ref

import orjson

__all__ = ["PackedDetails", "packed"]

# Anything that is no plain JSON value raises instead of becoming one.
_STRICT = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


class PackedDetails(Mapping[str, Any]):
    """Details kept as JSON and read whenever somebody looks; as objects they take far more memory.

    They are read once for as long as somebody walks over them: ``dict(details)``, ``details.items()`` and a
    loop over the names that looks each of them up cost one reading, however many names there are.
    """

    __slots__ = ("_data", "_last")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._last: ref[_Read] | None = None

    @property
    def size(self) -> int:
        """The memory of what is kept, beside the object itself, bytes."""
        return sys.getsizeof(self._data)

    def _read(self) -> _Read:
        read = None if self._last is None else self._last()
        if read is None:
            read = _Read(orjson.loads(self._data))
            self._last = ref(read)
        return read

    def __getitem__(self, name: str) -> Any:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        read = self._read()
        yield from read  # the generator keeps what was read for the walk's time

    def __len__(self) -> int:
        return len(self._read())

    def __eq__(self, other: object) -> bool:
        return self._read() == other if isinstance(other, Mapping) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # equal to dicts, which have none

    def __repr__(self) -> str:
        return repr(dict(self._read()))

    def keys(self) -> KeysView[str]:
        """The names; the view keeps what was read."""
        return self._read().keys()

    def values(self) -> ValuesView[Any]:
        """The values; the view keeps what was read."""
        return self._read().values()

    def items(self) -> ItemsView[str, Any]:
        """Names and values; the view keeps what was read."""
        return self._read().items()


class _Read(dict[str, Any]):
    """What was read; unlike a plain dict it can be remembered without being kept."""

    __slots__ = ("__weakref__",)


def packed(details: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same details in less memory; as they are where JSON would not give them back.

    They must have a digest already: a number that is not finite would be lost here.
    """
    if not details:
        return details
    try:
        # Bytes of their own: those that orjson gives hold on to a buffer of a kilobyte.
        return PackedDetails(bytes(memoryview(orjson.dumps(dict(details), option=_STRICT))))
    except orjson.JSONEncodeError:
        return details

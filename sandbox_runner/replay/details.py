"""The details of an outcome, as a long replay keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

__all__ = ["PackedDetails", "packed"]

# Anything that is no plain JSON value raises instead of becoming one.
_STRICT = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


class PackedDetails(Mapping[str, Any]):
    """Details kept as JSON and read whenever somebody looks; as objects they take far more memory."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def _read(self) -> dict[str, Any]:
        details: dict[str, Any] = orjson.loads(self._text)
        return details

    def __getitem__(self, name: str) -> Any:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __repr__(self) -> str:
        return repr(self._read())


def packed(details: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same details in less memory; as they are where JSON would not give them back.

    They must have a digest already: a number that is not finite would be lost here.
    """
    if not details:
        return details
    try:
        # Text of its own: the bytes that orjson gives hold on to a buffer of a kilobyte.
        return PackedDetails(orjson.dumps(dict(details), option=_STRICT).decode())
    except orjson.JSONEncodeError:
        return details

"""The events of ``result.json``, one at a time: a long run's would fill the memory if all were built at once.

The document is written with one event per line, so they can be cut out of it unread and be parsed when
somebody looks at them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final, overload

from pydantic_core import from_json

from sandbox_runner.bounded_json import check_values
from sandbox_runner.errors import VerificationError
from sandbox_runner.record import layout
from sandbox_runner.record.files import open_bounded
from sandbox_runner.replay import TrailEvent

__all__ = ["PLACE", "EventForms", "cut_events", "forms_of"]

Json = dict[str, Any]

PLACE: Final[Json] = {"": 0}
"""What ``cut_events`` leaves in the events' place; no event looks like it."""

_BEGIN: Final = b'"events": [\n'
_END: Final = b"],\n"
_LINE_BYTES: Final = 64  # what a line costs to be kept, beside its own length


class EventForms(Sequence[Json]):
    """Events in their dictionary form, made anew by whoever walks over them; nothing is kept."""

    __slots__ = ("_count", "_walk")

    def __init__(self, count: int, walk: Callable[[], Iterator[Json]]) -> None:
        self._count = count
        self._walk = walk

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Json]:
        return self._walk()

    @overload
    def __getitem__(self, index: int) -> Json: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Json, ...]: ...
    def __getitem__(self, index: int | slice) -> Json | tuple[Json, ...]:
        if isinstance(index, slice):
            return tuple(self)[index]
        at = range(self._count)[index]
        return next(islice(self, at, None))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str | bytes):
            return NotImplemented
        return len(self) == len(other) and all(
            mine == theirs for mine, theirs in zip(self, other, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]  # equal to tuples, whose hash it has not

    def __repr__(self) -> str:
        return f"<{self._count} events>"


def forms_of(events: Sequence[TrailEvent]) -> EventForms:
    """The dictionary forms of a replay's events."""
    return EventForms(len(events), lambda: (event.to_dict() for event in events))


def cut_events(path: Path) -> tuple[bytes, EventForms] | None:
    """A result document with ``PLACE`` for its events, and the events that stood there, not looked at yet.

    Whoever parses the document must find ``PLACE`` and nothing else as its events: elsewhere in it the same
    lines would be something else. Walking over the events raises VerificationError at one that is malformed.

    Returns:
        None where there is no event, or the document is not in the form in which it is written.

    Raises:
        VerificationError: the file is missing or none of a record's.
    """
    with os.fdopen(open_bounded(path, layout.SIZE_LIMITS[layout.RESULT]), "rb") as source:
        before: list[bytes] = []
        room = layout.DOCUMENT_LIMIT // _LINE_BYTES
        while (line := source.readline(layout.DOCUMENT_LIMIT)) and line != _BEGIN:
            before.append(line)
            room -= 1 + len(line) // _LINE_BYTES
            if room < 0:
                return None
        start = source.tell()
        count, complete = _count(source)
        if not count or not complete:
            return None
        after = source.read(layout.DOCUMENT_LIMIT + 1)
    if sum(map(len, before)) + len(after) > layout.DOCUMENT_LIMIT:
        raise VerificationError(
            f"{path.name} holds more than {layout.DOCUMENT_LIMIT} bytes beside its events"
        )
    document = b"".join((*before, b'"events": [{"":0}],\n', after))
    return document, EventForms(count, lambda: _walk(path, start, count))


def _count(source: BinaryIO) -> tuple[int, bool]:
    """How many lines hold an event, and whether the list ends after them as it is written."""
    count, more = 0, True
    while line := source.readline(layout.EVENT_LINE_LIMIT):
        if line == _END:
            return count, not more
        if not more or not line.startswith(b"  {") or not line.endswith((b"},\n", b"}\n")):
            break
        count, more = count + 1, line.endswith(b",\n")
    return count, False


def _walk(path: Path, start: int, count: int) -> Iterator[Json]:
    with os.fdopen(open_bounded(path, layout.SIZE_LIMITS[layout.RESULT]), "rb") as source:
        source.seek(start)
        for number in range(count):
            line = source.readline(layout.EVENT_LINE_LIMIT)
            try:
                check_values(line, layout.EVENT_VALUES)
                form = from_json(line[:-2] if line.endswith(b",\n") else line[:-1], allow_inf_nan=False)
            except ValueError as error:
                raise VerificationError(f"event {number} of {layout.RESULT} is no JSON: {error}") from error
            del line
            if not isinstance(form, dict):
                raise VerificationError(f"event {number} of {layout.RESULT} is no JSON object")
            yield form

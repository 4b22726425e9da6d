"""YAML without its surprises: mappings, lists and plain values, with the line of every key.

Refused: aliases, anchors and tags (bombs and object construction live there), several documents, duplicate
keys, keys that are no plain text, values left out, deep nesting. Only ``true`` and ``false`` are booleans and
only plain decimals are numbers, so ``no``, ``010`` and ``1:30`` are texts and never something else in
disguise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

__all__ = ["Document", "YamlError", "parse"]

_DEPTH: Final = 12
_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]{0,18}")
_DECIMAL: Final = re.compile(r"-?(0|[1-9][0-9]{0,18})\.[0-9]{1,18}")
_ABSENT: Final = frozenset({"", "~", "null", "Null", "NULL"})
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Location = tuple[str | int, ...]


class YamlError(ValueError):
    """A text that is no such document; ``line`` counts from 1."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


@dataclass
class Document:
    """A parsed document and where its parts stand."""

    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[Location, int] = field(default_factory=dict)

    def line_of(self, location: Location) -> int | None:
        """The line of the innermost part of a location that the document has."""
        for length in range(len(location), 0, -1):
            if location[:length] in self.lines:
                return self.lines[location[:length]]
        return None


def parse(text: str) -> Document:
    """Parse a mapping.

    Raises:
        YamlError: the text is no YAML, no mapping, empty, or uses what this module refuses.
    """
    document = Document()
    try:
        events = yaml.parse(text, Loader=_LOADER)
        data = _Reader(events, document).whole()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(
            f"no valid YAML: {error.problem or error.context}", mark.line + 1 if mark else None
        ) from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise YamlError("no valid YAML: it contains a character that YAML forbids") from error
    if not isinstance(data, dict):
        raise YamlError("it is no mapping of keys to values", 1)
    document.data = data
    return document


class _Reader:
    def __init__(self, events: Iterator[Any], document: Document) -> None:
        self._events = events
        self._lines = document.lines

    def whole(self) -> Any:
        next(self._events)  # the stream's start
        if isinstance(next(self._events), yaml.StreamEndEvent):
            raise YamlError("it is empty")
        data = self._value(next(self._events), ())
        next(self._events)  # the document's end
        following = next(self._events)
        if not isinstance(following, yaml.StreamEndEvent):
            raise YamlError("it holds more than one document", following.start_mark.line + 1)
        return data

    def _value(self, event: Any, location: Location) -> Any:
        line = event.start_mark.line + 1
        self._lines.setdefault(location, line)
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise YamlError("anchors and aliases are not accepted", line)
        if event.tag is not None:
            raise YamlError(f"the tag {event.tag!r} is not accepted", line)
        if len(location) > _DEPTH:
            raise YamlError(f"it is nested deeper than {_DEPTH} levels", line)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(location)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(location)
        return _scalar(event, line, location)

    def _mapping(self, location: Location) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            line = event.start_mark.line + 1
            if not isinstance(event, yaml.ScalarEvent) or event.anchor is not None or event.tag is not None:
                raise YamlError("a key is plain text", line)
            key = event.value
            if key in found:
                raise YamlError(f"the key {key!r} stands twice in one mapping", line)
            self._lines[(*location, key)] = line
            found[key] = self._value(next(self._events), (*location, key))
        return found

    def _list(self, location: Location) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            found.append(self._value(event, (*location, len(found))))
        return found


def _scalar(event: Any, line: int, location: Location) -> Any:
    text: str = event.value
    if event.style:  # quoted or block text is text
        return text
    if text in _ABSENT:
        name = f"the key {location[-1]!r}" if location else "it"
        raise YamlError(f"{name} has no value", line)
    if text in {"true", "false"}:
        return text == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text

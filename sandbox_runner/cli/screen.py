"""The two streams of a command: answers go to stdout, everything about the work goes to stderr.

With ``--json`` stdout carries JSON alone and what was meant for people moves to stderr.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

__all__ = ["Screen", "colourful"]

_STYLES: Mapping[str, str] = {
    "ok": "32",
    "success": "32;1",
    "failed": "31",
    "error": "31;1",
    "refused": "33;1",
    "skipped": "2",
    "interrupted": "35",
    "dry-run": "36",
    "heading": "1",
    "dim": "2",
}
"""One look per status word, the same in every command."""


def colourful(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether colours belong on the stream: a capable terminal, and NO_COLOR (no-color.org) is not set."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


@dataclass(frozen=True, slots=True)
class Screen:
    """Where a command writes. Text given here is trusted: strangers' words pass ``text.printable`` first."""

    json: bool = False

    @property
    def people(self) -> TextIO:
        """The stream for the text a person asked for."""
        return sys.stderr if self.json else sys.stdout

    def say(self, *lines: str) -> None:
        """Answer the person; on stdout unless stdout carries JSON."""
        for line in lines:
            self.people.write(line + "\n")

    def note(self, *lines: str) -> None:
        """Say something beside the answer: progress, warnings, advice; always on stderr."""
        sys.stdout.flush()
        for line in lines:
            sys.stderr.write(line + "\n")
        sys.stderr.flush()

    def data(self, value: Any) -> None:
        """Answer a program: one JSON document on one line of stdout, flushed so that a reader can follow."""
        sys.stdout.write(json.dumps(value, ensure_ascii=True, separators=(", ", ": ")) + "\n")
        sys.stdout.flush()

    def data_with(self, value: Any, place: str, items: Iterable[Any]) -> None:
        """As ``data``, with a list of these items where the text ``place`` stands; one is held at a time."""
        text = json.dumps(value, ensure_ascii=True, separators=(", ", ": "))
        before, after = text.split(json.dumps(place), 1)
        sys.stdout.write(before + "[")
        for number, item in enumerate(items):
            sys.stdout.write(", " if number else "")
            sys.stdout.write(json.dumps(item, ensure_ascii=True, separators=(", ", ": ")))
        sys.stdout.write("]" + after + "\n")
        sys.stdout.flush()

    def paint(self, text: str, look: str, *, stream: TextIO | None = None) -> str:
        """The text in the look of a status word where the stream shows colours, else as it is."""
        style = _STYLES.get(look)
        return f"\x1b[{style}m{text}\x1b[0m" if style and colourful(stream or self.people) else text

    def block(self, heading: str, lines: Iterable[str], *, look: str = "heading") -> None:
        """A heading and what belongs to it."""
        self.say(self.paint(heading, look), *lines)

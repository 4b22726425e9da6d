"""The two streams of a command: answers go to stdout, everything about the work goes to stderr.

With ``--json`` stdout carries JSON alone and what was meant for people moves to stderr.

Everything passes here last, so here it is seen to that every line is one line and every character on it is
seen: a command that forgets to escape a stranger's words gives somebody a strange sight and nothing worse.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from sandbox_runner.cli.streams import expect_reader
from sandbox_runner.cli.text import printable
from sandbox_runner.visible import ascii_json

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


_COLOURS = re.compile("(\x1b\\[(?:{})m)".format("|".join({"0", *_STYLES.values()})))
"""What ``paint`` puts around a text, and nothing else that steers a terminal."""


def colourful(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether colours belong on the stream: a capable terminal, and NO_COLOR (no-color.org) is not set."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


@dataclass(frozen=True, slots=True)
class Screen:
    """Where a command writes, a line at a time.

    Strangers' words pass ``text.printable`` before they come here, so that columns fit; what still is not
    seen is escaped here, but for tabs and colours.
    """

    json: bool = False

    @property
    def people(self) -> TextIO:
        """The stream for the text a person asked for."""
        return sys.stderr if self.json else sys.stdout

    @property
    def width(self) -> int | None:
        """How many characters a line for people may have; None where no terminal shows it."""
        return shutil.get_terminal_size().columns or None if self.people.isatty() else None

    def say(self, *lines: str) -> None:
        """Answer the person; on stdout unless stdout carries JSON."""
        for line in lines:
            _write(self.people, line)

    def note(self, *lines: str) -> None:
        """Say something beside the answer: progress, warnings, advice; always on stderr."""
        sys.stdout.flush()
        for line in lines:
            _write(sys.stderr, line)
        sys.stderr.flush()

    def data(self, value: Any) -> None:
        """Answer a program: one JSON document on one line of stdout, flushed so that a reader can follow."""
        expect_reader()
        sys.stdout.write(ascii_json(value) + "\n")
        sys.stdout.flush()

    def data_with(self, value: Any, place: str, items: Iterable[Any]) -> None:
        """As ``data``, with a list of these items where the text ``place`` stands; one is held at a time."""
        expect_reader()
        before, after = ascii_json(value).split(ascii_json(place), 1)
        sys.stdout.write(before + "[")
        for number, item in enumerate(items):
            sys.stdout.write(", " if number else "")
            sys.stdout.write(ascii_json(item))
        sys.stdout.write("]" + after + "\n")
        sys.stdout.flush()

    def paint(self, text: str, look: str, *, stream: TextIO | None = None) -> str:
        """The text in the look of a status word where the stream shows colours, else as it is."""
        style = _STYLES.get(look)
        return f"\x1b[{style}m{text}\x1b[0m" if style and colourful(stream or self.people) else text

    def block(self, heading: str, lines: Iterable[str], *, look: str = "heading") -> None:
        """A heading and what belongs to it."""
        self.say(self.paint(heading, look), *lines)


def _write(stream: TextIO, line: str) -> None:
    if not (line.isascii() and line.isprintable()):
        parts = _COLOURS.split(line) if colourful(stream) else [line]  # every second part is a colour
        parts[::2] = [printable(part, keep="\t") for part in parts[::2]]
        line = "".join(parts)
    stream.write(line + "\n")

"""Words for people: pure functions that turn values into text that is safe on a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from sandbox_runner.visible import escape_bytes, visible

__all__ = ["clip", "columns", "duration", "pairs", "plural", "printable", "size", "wrapped"]

_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_UNITS = ("KiB", "MiB", "GiB", "TiB")
_NARROW = 20  # a column of fewer characters is not worth breaking lines for
_MINUTE = 60.0
_HOUR = 3600.0


def printable(text: str, *, keep: str = "") -> str:
    r"""Escape everything that a terminal would act on or hide, see ``sandbox_runner.visible.visible``.

    Control characters, line ends, direction marks, zero-width characters and bytes that are no UTF-8 become
    ``\n``, ``\x1b``, ``\u202e``. One line in, one line out, whatever a stranger wrote.
    """
    return visible(text, keep=keep, spell=_spelled)


def _spelled(char: str) -> str:
    return _NAMED.get(char) or escape_bytes(char)


def clip(text: str, width: int) -> str:
    """The first ``width`` characters; an ellipsis says that something was cut."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def columns(
    rows: Iterable[Sequence[str]],
    *,
    header: Sequence[str] = (),
    right: AbstractSet[int] = frozenset(),
    width: int | None = None,
    give_way: Sequence[tuple[int, int]] = (),
    wrap: bool = False,
) -> list[str]:
    """Lines of aligned columns, two blanks apart, one for each row unless ``wrap``.

    Args:
        rows: cells; each is escaped.
        header: a first row.
        right: indexes of the columns that hold figures and are aligned to the right.
        width: characters of the terminal; without it nothing is cut, so that programs can read the lines.
        give_way: what is cut first where the width is too small: a column and the characters it needs to be
            of use; 0 leaves it out.
        wrap: the last column is a sentence, which goes on under itself where the width is too small.
    """
    table = [[printable(cell) for cell in row] for row in ([header] if header else []) + list(rows)]
    if not table:
        return []
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    if width is not None:
        _fit(widths, width, give_way)
    lines = [
        "  ".join(
            clip(cell, room).rjust(room) if index in right else clip(cell, room).ljust(room)
            for index, (cell, room) in enumerate(zip(row, widths, strict=True))
            if room
        ).rstrip()
        for row in table
    ]
    if width is None:
        return lines
    if not wrap:
        return [clip(line, width) for line in lines]
    under = " " * (sum(widths[:-1]) + 2 * (len(widths) - 1))
    return [part for line in lines for part in wrapped(line, width, indent=under)]


def _fit(widths: list[int], width: int, give_way: Iterable[tuple[int, int]]) -> None:
    """Narrow columns one after the other until the row fits, or nothing more may be cut."""
    for index, least in give_way:
        excess = sum(widths) + 2 * (sum(map(bool, widths)) - 1) - width
        if excess <= 0:
            return
        widths[index] = min(widths[index], max(least, widths[index] - excess) if least else 0)


def wrapped(text: str, width: int | None, *, indent: str) -> list[str]:
    """A line as several, broken between words; a word longer than a line stays whole, as a path must."""
    if width is None or len(text) <= width or width <= len(indent) + _NARROW:
        return [text]
    start = text[: len(text) - len(text.lstrip())]
    return textwrap.wrap(
        text.lstrip(),
        width,
        initial_indent=start,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def pairs(facts: Iterable[tuple[str, str]], *, indent: str = "  ", width: int | None = None) -> list[str]:
    """Lines of name and value, the values under each other; pairs without a value are left out.

    Args:
        facts: names and values; the values are escaped.
        indent: what each line begins with.
        width: characters of the terminal; a longer value goes on under itself.
    """
    known = [(name, value) for name, value in facts if value]
    longest = max((len(name) for name, _ in known), default=0)
    under = indent + " " * (longest + 2)
    return [
        line
        for name, value in known
        for line in wrapped(f"{indent}{name.ljust(longest)}  {printable(value)}", width, indent=under)
    ]


def plural(count: int, noun: str, many: str | None = None) -> str:
    """``1 step``, ``2 steps``, ``12,000 steps``."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def size(count: int) -> str:
    """A number of bytes in binary units: ``812 B``, ``1.5 KiB``."""
    if abs(count) < 1024:
        return f"{count} B"
    value = float(count)
    for unit in _UNITS:
        value /= 1024
        if abs(value) < 1024 or unit == _UNITS[-1]:
            break
    return f"{value:.1f} {unit}"


def duration(seconds: float) -> str:
    """A span of time: ``740 µs``, ``12 ms``, ``3.42 s``, ``2 min 05 s``, ``1 h 02 min``."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.2f} s"
    if seconds < _HOUR:
        return f"{int(seconds // _MINUTE)} min {int(seconds % _MINUTE):02d} s"
    return f"{int(seconds // _HOUR)} h {int(seconds % _HOUR // _MINUTE):02d} min"

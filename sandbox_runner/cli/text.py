"""Words for people: pure functions that turn values into text that is safe on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from sandbox_runner.visible import escape_bytes, visible

__all__ = ["clip", "columns", "duration", "pairs", "plural", "printable", "size"]

_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_UNITS = ("KiB", "MiB", "GiB", "TiB")
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
    rows: Iterable[Sequence[str]], *, header: Sequence[str] = (), right: AbstractSet[int] = frozenset()
) -> list[str]:
    """Lines of aligned columns, two blanks apart; nothing is cut, so the lines can be read by programs too.

    Args:
        rows: cells; each is escaped.
        header: a first row.
        right: indexes of the columns that hold figures and are aligned to the right.
    """
    table = [[printable(cell) for cell in row] for row in ([header] if header else []) + list(rows)]
    if not table:
        return []
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]


def pairs(facts: Iterable[tuple[str, str]], *, indent: str = "  ") -> list[str]:
    """Lines of name and value, the values under each other; pairs without a value are left out."""
    known = [(name, value) for name, value in facts if value]
    width = max((len(name) for name, _ in known), default=0)
    return [f"{indent}{name.ljust(width)}  {printable(value)}" for name, value in known]


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

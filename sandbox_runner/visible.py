"""What a person may be shown of a stranger's text: one rule for the screen, logs, reports and errors.

A character is shown as it is where it is seen: letters, figures, signs, the blank. Everything else is shown
by its number: what moves the cursor, ends a line, changes the direction of reading, has no width, is blank
without being the blank, belongs to no character, or is not assigned. Marks that combine with the letter
before them are letters' parts in many scripts; a few are shown, a flood of them covers the lines around it.
At the beginning of a text a mark would change what stands before it, which is not the stranger's.
"""

from __future__ import annotations

import functools
import json
import unicodedata
from collections.abc import Callable
from typing import Any, Final

__all__ = ["ascii_json", "escape", "escape_bytes", "escape_json", "visible"]

_MARKS: Final = 4
"""Marks shown on one letter; Hebrew with all its points has as many."""

_RAW_BYTE: Final = range(0xDC80, 0xDD00)

_UNSEEN: Final = frozenset(
    chr(number)
    for first, last in (
        (0x034F, 0x034F),  # joins graphemes
        (0x115F, 0x1160),  # Hangul fillers
        (0x17B4, 0x17B5),  # vowels that are inherent
        (0x180B, 0x180F),  # Mongolian variation selectors
        (0x2800, 0x2800),  # Braille without dots
        (0x3164, 0x3164),  # Hangul filler
        (0xFE00, 0xFE0F),  # variation selectors
        (0xFFA0, 0xFFA0),  # Hangul filler, half width
        (0x13441, 0x13442),  # Egyptian blanks
        (0x16FE4, 0x16FE4),  # Khitan filler
        (0x1D159, 0x1D159),  # a note without its head
        (0xE0100, 0xE01EF),  # variation selectors
    )
    for number in range(first, last + 1)
)
"""Characters that nobody sees although Unicode counts them among letters, marks and signs."""

_SHOWN, _MARK, _HIDDEN = "shown", "mark", "hidden"


def escape(char: str) -> str:
    r"""A character by its number: ``\x1b`` below 256, ``\u202e``, ``\U000e0041``."""
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def escape_bytes(char: str) -> str:
    r"""As ``escape``, but a byte that is no UTF-8, which Python carries as a surrogate, is ``\xff``."""
    code = ord(char)
    return f"\\x{code - 0xDC00:02x}" if code in _RAW_BYTE else escape(char)


def escape_json(char: str) -> str:
    """A character as JSON spells it in ASCII, a surrogate pair where it takes one; also DEL."""
    return json.dumps(char)[1:-1] if char != "\x7f" else "\\u007f"


def visible(text: str, *, keep: str = "", spell: Callable[[str], str] = escape) -> str:
    """The text with everything that is not seen spelled out; one line stays one line.

    Args:
        text: anything, lone surrogates too.
        keep: characters that stay nevertheless, for example the tab.
        spell: how a character is spelled out.
    """
    if text.isascii() and text.isprintable():
        return text
    shown = []
    marks = _MARKS  # before the first letter there is nothing that a mark could belong to
    for char in text:
        kind = _kind(char)
        if kind is _MARK and marks < _MARKS:
            marks += 1
            shown.append(char)
        elif kind is _SHOWN:
            marks = 0
            shown.append(char)
        else:
            marks = marks if kind is _MARK else _MARKS
            shown.append(char if char in keep else spell(char))
    return "".join(shown)


def ascii_json(value: Any, **how: Any) -> str:
    """JSON on one line, in printable ASCII: every other character is escaped, nothing is lost.

    Args:
        value: what JSON can hold.
        how: further arguments of ``json.dumps``.
    """
    return json.dumps(value, **how).replace("\x7f", escape_json("\x7f"))


@functools.lru_cache(maxsize=8192)
def _kind(char: str) -> str:
    if not char.isprintable() or char in _UNSEEN:
        return _HIDDEN
    return _MARK if unicodedata.category(char) in {"Mn", "Me"} else _SHOWN

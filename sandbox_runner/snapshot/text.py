"""Names from a stranger on the way to a screen, a log or a JSON document."""

from __future__ import annotations

import unicodedata

__all__ = ["json_path", "show_line", "show_path"]

_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that can move the cursor, reorder what is read, or hide: shown by number."""


def show_path(path: bytes) -> str:
    r"""A path as people may see it: on one line, no control or invisible character, losslessly escaped.

    ``\`` is doubled, a byte that is not UTF-8 becomes ``\xNN``, an unsafe character ``\uNNNN``.
    """
    return _escaped(path.replace(b"\\", b"\\\\"), keep="")


def show_line(line: bytes) -> str:
    """A line of a stranger's text as people may see it: as ``show_path``, but tabs and backslashes stay."""
    return _escaped(line, keep="\t")


def _escaped(data: bytes, keep: str) -> str:
    shown = []
    for character in data.decode("utf-8", "surrogateescape"):
        number = ord(character)
        if 0xDC80 <= number <= 0xDCFF:
            shown.append(f"\\x{number - 0xDC00:02x}")
        elif character not in keep and unicodedata.category(character) in _UNSAFE:
            shown.append(f"\\u{number:04x}" if number < 1 << 16 else f"\\U{number:08x}")
        else:
            shown.append(character)
    return "".join(shown)


def json_path(path: bytes) -> dict[str, str]:
    """A path in a JSON document: ``path`` for people, and ``path_hex`` where that does not tell the bytes."""
    try:
        text = path.decode("utf-8")
    except UnicodeDecodeError:
        return {"path": show_path(path), "path_hex": path.hex()}
    return {"path": text}

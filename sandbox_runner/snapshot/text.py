"""Names from a stranger on the way to a screen, a log or a JSON document."""

from __future__ import annotations

from sandbox_runner.visible import visible

__all__ = ["json_path", "show_line", "show_path"]


def show_path(path: bytes) -> str:
    r"""A path as people may see it: on one line, no control or invisible character, losslessly escaped.

    ``\`` is doubled, a byte that is not UTF-8 becomes ``\xNN``, and whatever could move the cursor, reorder
    what is read, hide, or pass for a blank becomes ``\uNNNN``.
    """
    return _escaped(path.replace(b"\\", b"\\\\"), keep="")


def show_line(line: bytes) -> str:
    """A line of a stranger's text as people may see it: as ``show_path``, but tabs and backslashes stay."""
    return _escaped(line, keep="\t")


def _escaped(data: bytes, keep: str) -> str:
    return visible(data.decode("utf-8", "surrogateescape"), keep=keep, spell=_spelled)


def _spelled(character: str) -> str:
    r"""Bytes and characters told apart: only a byte is ``\xNN``."""
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number - 0xDC00:02x}"
    return f"\\u{number:04x}" if number < 1 << 16 else f"\\U{number:08x}"


def json_path(path: bytes) -> dict[str, str]:
    """A path in a JSON document: ``path`` for people, and ``path_hex`` where that does not tell the bytes."""
    try:
        text = path.decode("utf-8")
    except UnicodeDecodeError:
        return {"path": show_path(path), "path_hex": path.hex()}
    return {"path": text}

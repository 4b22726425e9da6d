"""From two states of a file to the worklog entries that lead from one to the other.

An edit names text that is there exactly once. So each difference starts as the lines that differ, and takes
in lines around it until its text is alone in the file; edits are made from the end of the file to its
beginning, where the line numbers of those to come still hold. Files are bytes: a file in another encoding can
be edited where the lines in question are UTF-8.
"""

from __future__ import annotations

import difflib
import re
from typing import Any

__all__ = ["occurrences", "steps_for"]

_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_MOST_PAIRS = 25_000_000  # lines before times lines after; a longer comparison is not worth its time
_MOST_EDITS = 60

Entry = dict[str, Any]


def steps_for(path: str, before: bytes | None, after: bytes, *, whole: bool = False) -> list[Entry] | None:
    """The entries that turn a file into another state; None where no step can.

    Args:
        path: relative to the workspace.
        before: what is there; None where nothing is.
        after: what is to be there.
        whole: write it as a whole even where edits would do.
    """
    if before == after:
        return []
    if before and not whole:
        edits = _edits(path, before, after)
        if edits is not None:
            return edits
    content = _utf8(after)
    return None if content is None else [{"op": "FILE_WRITE", "path": path, "content": content}]


def occurrences(data: bytes, part: bytes) -> int:
    """At how many places a text stands, those that overlap too."""
    count, at = 0, data.find(part)
    while at >= 0:
        count, at = count + 1, data.find(part, at + 1)
    return count


def _edits(path: str, before: bytes, after: bytes) -> list[Entry] | None:
    old, new = _LINE.findall(before), _LINE.findall(after)
    if len(old) * len(new) > _MOST_PAIRS:
        return None
    hunks = [hunk for hunk in difflib.SequenceMatcher(None, old, new).get_opcodes() if hunk[0] != "equal"]
    if len(hunks) > _MOST_EDITS:
        return None
    entries = []
    for _, first, last, new_first, new_last in reversed(hunks):
        low, high = _alone(old, first, last)
        replacement = new[new_first:new_last]
        wanted = _utf8(b"".join(old[low:high]))
        becomes = _utf8(b"".join([*old[low:first], *replacement, *old[last:high]]))
        if wanted is None or becomes is None:
            return None
        entries.append({"op": "FILE_EDIT", "path": path, "old": wanted, "new": becomes})
        old[first:last] = replacement
    return entries


def _alone(lines: list[bytes], low: int, high: int) -> tuple[int, int]:
    """A range of lines around another one whose text is in the file once."""
    whole = b"".join(lines)
    while low == high or occurrences(whole, b"".join(lines[low:high])) != 1:
        low, high = max(0, low - 1), min(len(lines), high + 1)
    return low, high


def _utf8(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None

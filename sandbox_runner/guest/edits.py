"""What an edit finds in a file, and which line ends a text has: pure rules, the same in every world."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["line_ends", "line_ends_changed", "locate", "occurrences"]

_MOST = 1_000
"""Counting ends here."""

_WORK = 64 << 20
"""And here: bytes of the sought text, times how often it was sought. Every search prepares the text anew, so
a long one that overlaps itself everywhere would take for ever to count."""


def occurrences(data: bytes, sought: bytes) -> tuple[int, bool]:
    """How often a text occurs, overlapping itself or not, and whether that is all; if not, there are more.

    Two texts that overlap are two places: an edit that could mean either must not choose.
    """
    most = max(2, min(_MOST, _WORK // len(sought)))
    count, at = 0, data.find(sought)
    while at >= 0:
        if count == most:
            return count, False
        count += 1
        at = data.find(sought, at + 1)
    return count, True


def locate(data: bytes, old: bytes, path: str) -> tuple[int, str, dict[str, Any]]:
    """Where the one occurrence of ``old`` is; or -1, why there is none that an edit could mean, and facts."""
    count, whole = occurrences(data, old)
    if count == 1:
        return data.find(old), "", {}
    if count > 1:
        return -1, "old text found {}{} times in {}".format("" if whole else "more than ", count, path), {}
    reason = "old text not found in " + path
    if _plain(old) not in _plain(data):
        return -1, reason, {}
    have, given = line_ends(data), line_ends(old)
    what = f": its line ends are {given}, those of the file are {have}; "
    if have == "mixed":
        advice = "give old with the line ends of that place, new with those it is to have"
    else:
        advice = f"with {have} in old and new it would be found"
    return -1, reason + what + advice, {"line_ends": {"file": have, "old": given}}


def line_ends(data: bytes) -> str:
    """``LF``, ``CRLF``, ``CR``, ``mixed``, or ``none`` for a text without."""
    both = data.count(b"\r\n")
    counts = {"CRLF": both, "LF": data.count(b"\n") - both, "CR": data.count(b"\r") - both}
    found = [name for name, count in counts.items() if count]
    return "none" if not found else found[0] if len(found) == 1 else "mixed"


def line_ends_changed(before: bytes, after: bytes) -> dict[str, Any]:
    """The details of a change that gives a file other line ends; empty where it keeps them.

    A text without line ends has none to keep or to give.
    """
    if b"\r" not in before and b"\r" not in after:  # nearly every file
        return {}
    ends = {"before": line_ends(before), "after": line_ends(after)}
    return {} if "none" in ends.values() or ends["before"] == ends["after"] else {"line_ends": ends}


def _plain(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

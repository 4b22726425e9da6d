"""How a call ends inside the guest, and the sentences for what the kernel says."""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = [
    "FAILED",
    "OK",
    "REFUSED",
    "SKIPPED",
    "Outcome",
    "StepError",
    "invalid_pattern",
    "listing",
    "of_the_step",
    "refusal",
    "step_error",
]

OK = "ok"
FAILED = "failed"
REFUSED = "refused"
SKIPPED = "skipped"


class Outcome:
    """What a call came to: ``status`` decides success, ``text`` is for people, ``details`` are facts.

    Whatever may differ between two runs of the same trail stands under the keys ``meta`` and ``output`` of
    the details; everything else in them is reproducible.
    """

    __slots__ = ("details", "status", "text")

    def __init__(self, text: str, details: dict[str, Any] | None = None, status: str = OK) -> None:
        self.status = status
        self.text = text
        self.details = {} if details is None else details


_LISTED = 200
_LISTED_BYTES = 1 << 16  # as JSON, in which one control character is six bytes


def listing(names: Iterable[bytes | str]) -> list[str]:
    """The first of some names, as many as an answer has room for; bytes that are no UTF-8 escaped."""
    shown: list[str] = []
    room = _LISTED_BYTES
    for name in names:
        text = name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else name
        room -= _json_bytes(text)
        if room < 0 or len(shown) == _LISTED:
            break
        shown.append(text)
    return shown


def _json_bytes(text: str) -> int:
    """At most so many bytes is a text in JSON."""
    if text.isascii() and text.isprintable():
        return len(text) + text.count("\\") + text.count('"')
    return sum(6 if c < " " else 2 if c in '"\\' else len(c.encode("utf-8", "surrogatepass")) for c in text)


class StepError(Exception):
    """The step in question failed (or was refused); the sandbox itself is well."""

    def __init__(self, reason: str, details: dict[str, Any] | None = None, status: str = FAILED) -> None:
        super().__init__(reason)
        self.reason = reason
        self.details = {} if details is None else details
        self.status = status


def refusal(rule: str, details: dict[str, Any] | None = None) -> StepError:
    """A rule says no: the text becomes ``<method>: ERROR refused: <rule>``."""
    return StepError("refused: " + rule, details, REFUSED)


_COMPLAINT = 200  # characters


def invalid_pattern(complaint: str) -> str:
    """Why a pattern is none, in the search program's own words: its reason, on one line and without marks.

    ripgrep shows the pattern first, whatever is in it, and names the reason after the last ``error:``, or has
    one sentence and nothing to show.
    """
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    reasons = [line[7:] for line in lines if line.startswith("error: ")]
    reason = (reasons[-1:] or lines[:1] or [""])[0]
    shown = "".join(c if c.isascii() and c.isprintable() else "?" for c in reason[:_COMPLAINT]).strip(" .")
    return "invalid pattern" + (": " + shown if shown else "")


_REASONS = {
    errno.EACCES: "permission denied",
    errno.EFBIG: "file too large",
    errno.ELOOP: "symbolic link in path",
    errno.EMFILE: "too many open files",
    errno.EMLINK: "too many links",
    errno.ENAMETOOLONG: "name too long",
    errno.ENFILE: "too many open files",
    errno.ENOMEM: "out of memory",
    errno.EPERM: "permission denied",
    errno.EROFS: "read-only file system",
}


def step_error(error: OSError, path: str) -> StepError:
    """What the kernel said about a workspace path, as a step's failure; no other path is named."""
    number = error.errno or errno.EIO
    if number in (errno.ENOSPC, errno.EDQUOT):
        return StepError("no space left", {"errno": number})
    return StepError(f"{_REASONS.get(number) or os.strerror(number).lower()}: {path}", {"errno": number})


_NOT_THE_STEPS = (errno.EBADF, errno.EFAULT, errno.EIO)  # a mistake of ours, or a disk of the host's


def of_the_step(error: OSError | MemoryError) -> StepError | None:
    """What nobody expected, as a step's failure; ``None`` where the sandbox itself is not well.

    A workspace can run out of everything and forbid everything, in places that nobody thought of: what the
    kernel then says is about the workspace, and a trail must not break its sandbox with it.
    """
    if isinstance(error, MemoryError):
        return StepError("out of memory", {"exhausted": ["memory"]})
    if error.errno is None or error.errno in _NOT_THE_STEPS:
        return None
    reason = step_error(error, "")
    reason.reason = reason.reason.rstrip(": ")
    return reason

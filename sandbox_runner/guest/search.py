"""search_code: ripgrep with its defaults; nothing but the pattern comes from outside the image."""

from __future__ import annotations

from sandbox_runner.guest.outcome import Outcome, StepError, listing
from sandbox_runner.guest.process import Program, run
from sandbox_runner.guest.sinks import HeadTail, Whole
from sandbox_runner.guest.tools import require_tool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox_runner.guest.context import Guest

__all__ = ["search_code"]

_OUTPUT_LIMIT = 4 << 20
_BAD_PATTERN = 2

# Ignore files of the workspace count, as people are used to; those of a home or of a parent directory do
# not exist.
# A pattern after -e is never an option, nothing follows --, and complaints about single files are left out.
_ARGUMENTS = (
    "--no-config", "--no-messages", "--no-ignore-global", "--no-ignore-parent", "--no-follow",
    "--one-file-system", "--color=never", "--threads=1", "--files-with-matches", "--null", "-e",
)  # fmt: skip


def search_code(guest: Guest, pattern: str) -> Outcome:
    """Count the files that match a regular expression; they are listed in byte order."""
    try:
        raw = pattern.encode()
    except UnicodeEncodeError:
        raise StepError("invalid pattern") from None
    if b"\0" in raw:
        raise StepError("invalid pattern")
    limit = guest.config.search.max_pattern_bytes
    if len(raw) > limit:
        raise StepError(f"pattern of {len(raw)} bytes is over the limit of {limit}")
    output, complaint = Whole(_OUTPUT_LIMIT), HeadTail(4096)
    program = Program(
        [require_tool("rg"), *_ARGUMENTS, pattern, "--", "."],
        cwd=guest.root,
        sinks=[((1,), output), ((2,), complaint)],
    )
    ended = run(guest, program, guest.config.search.timeout_s)
    if ended.timed_out or ended.signal is not None:
        raise StepError(
            f"search ended by {ended.manner()}: '{pattern}'",
            {"exhausted": ended.exhausted, "files_so_far": output.data.count(b"\0")},
        )
    words = complaint.text().strip()
    if ended.code == _BAD_PATTERN and words:
        raise StepError("invalid pattern", {"meta": {"complaint": words[:1000]}})
    if output.cut:
        raise StepError(f"more than {_OUTPUT_LIMIT} bytes of file names match", {"exhausted": ["output"]})
    files = sorted(
        name[2:] if name.startswith(b"./") else name for name in bytes(output.data).split(b"\0")[:-1]
    )
    shown = listing(files)
    details = {
        "files": shown,
        "matches": len(files),
        "truncated": len(files) > len(shown),
        "unreadable": ended.code == _BAD_PATTERN,
    }
    return Outcome(f"search_code: '{pattern}' \u2192 {len(files)} matches", details)

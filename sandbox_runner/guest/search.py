"""search_code: ripgrep with its defaults; nothing but the pattern comes from outside the image.

The first search after the workspace changed behind the guest is ripgrep's. When a second one follows, the
files are kept in memory (``search_index``), and plain words are found without a process from then on.
"""

from __future__ import annotations

from sandbox_runner.guest.outcome import Outcome, StepError, invalid_pattern, listing
from sandbox_runner.guest.process import Program, run
from sandbox_runner.guest.search_index import SearchIndex, plain_words
from sandbox_runner.guest.sinks import HeadTail, Whole
from sandbox_runner.guest.tools import require_tool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox_runner.guest.context import Guest
    from sandbox_runner.guest.process import Ended

__all__ = ["search_code"]

_OUTPUT_LIMIT = 4 << 20
_BAD_PATTERN = 2

# Ignore files of the workspace count, as people are used to; those of a home or of a parent directory do
# not exist.
# A pattern after -e is never an option, nothing follows --, and complaints about single files are left out.
_ARGUMENTS = (
    "--no-config", "--no-messages", "--no-ignore-global", "--no-ignore-parent", "--no-follow",
    "--one-file-system", "--color=never", "--threads=1", "--null",
)  # fmt: skip


def search_code(guest: Guest, pattern: str) -> Outcome:
    """Count the files that match a regular expression; they are listed in byte order."""
    try:
        raw = pattern.encode()
    except UnicodeEncodeError:
        raise StepError(invalid_pattern("not UTF-8 text")) from None
    if b"\0" in raw:
        raise StepError(invalid_pattern("holds a NUL byte"))
    limit = guest.config.search.max_pattern_bytes
    if len(raw) > limit:
        raise StepError(f"pattern of {len(raw)} bytes is over the limit of {limit}")
    unreadable = False
    files = _remembered(guest, plain_words(raw))
    if files is None:
        files, unreadable = _matching(guest, pattern)
        if guest.index is None and not guest.config.shared:
            guest.index = SearchIndex()
    shown = listing(files)
    details = {
        "files": shown,
        "matches": len(files),
        "truncated": len(files) > len(shown),
        "unreadable": unreadable,
    }
    return Outcome(f"search_code: '{pattern}' \u2192 {len(files)} matches", details)


def _remembered(guest: Guest, words: list[bytes] | None) -> list[bytes] | None:
    """What the index finds; ``None`` if ripgrep has to be asked."""
    index = guest.index
    if words is None or index is None or not index.fit:
        return None
    if not index.listed:
        ended, output, _words = _ripgrep(guest, ["--files"])
        if ended.code not in {0, 1} or output.cut:  # something is unreadable, or too much
            index.fit = False
            return None
        with guest.identity:
            index.fill(guest.root, _names(output))
    return index.find(words) if index.fit else None


def _matching(guest: Guest, pattern: str) -> tuple[list[bytes], bool]:
    """The files that ripgrep finds, and whether it could not read some."""
    ended, output, words = _ripgrep(guest, ["--files-with-matches", "-e", pattern])
    if ended.timed_out or ended.signal is not None:
        raise StepError(
            f"search ended by {ended.manner()}: '{pattern}'",
            {"exhausted": ended.exhausted, "files_so_far": output.data.count(b"\0")},
        )
    if ended.code == _BAD_PATTERN and words:
        raise StepError(invalid_pattern(words), {"meta": {"complaint": words[:1000]}})
    if output.cut:
        raise StepError(f"more than {_OUTPUT_LIMIT} bytes of file names match", {"exhausted": ["output"]})
    return sorted(_names(output)), ended.code == _BAD_PATTERN


def _ripgrep(guest: Guest, arguments: list[str]) -> tuple[Ended, Whole, str]:
    guest.identity.take_off()
    output, complaint = Whole(_OUTPUT_LIMIT), HeadTail(4096)
    program = Program(
        [require_tool("rg"), *_ARGUMENTS, *arguments, "--", "."],
        cwd=guest.root,
        sinks=[((1,), output), ((2,), complaint)],
        only_reads=True,
    )
    # One call runs two of them at most, and the host waits for ``call_s`` and no longer.
    ended = run(guest, program, min(guest.config.search.timeout_s, guest.config.limits.call_s / 2))
    return ended, output, complaint.text().strip()


def _names(output: Whole) -> list[bytes]:
    return [name[2:] if name.startswith(b"./") else name for name in bytes(output.data).split(b"\0")[:-1]]

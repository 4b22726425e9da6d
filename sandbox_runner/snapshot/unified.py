"""Differences as people read them: lines added and removed per file, and unified text safe for any screen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sandbox_runner.guest.tree_records import DIRECTORY
from sandbox_runner.snapshot.diff import Change, TreeDiff
from sandbox_runner.snapshot.lines import Block, changed_blocks, hunks
from sandbox_runner.snapshot.manifest import Entry
from sandbox_runner.snapshot.objects import ObjectReader
from sandbox_runner.snapshot.text import show_line, show_path

__all__ = ["LineCount", "line_counts", "unified"]

_MAX_TEXT_BYTES = 4 << 20
_MAX_LINES = 100_000
_BINARY_PROBE = 8000  # bytes in which git, too, looks for a NUL


@dataclass(frozen=True, slots=True)
class LineCount:
    """One file's share of a diff. For a binary or overlong file ``added`` and ``removed`` are None."""

    change: Change
    added: int | None
    removed: int | None


def line_counts(reader: ObjectReader, diff: TreeDiff) -> Iterator[LineCount]:
    """How many lines came and went, path by path; directories are left out."""
    for change in _contents_only(diff):
        compared = _compare(reader, change)
        if compared is None:
            yield LineCount(change, None, None)
        else:
            blocks = compared[2]
            yield LineCount(
                change,
                sum(block.new_end - block.new_start for block in blocks),
                sum(block.old_end - block.old_start for block in blocks),
            )


def unified(reader: ObjectReader, diff: TreeDiff) -> Iterator[str]:
    """The lines of a unified diff, without line ends. What a terminal would obey is shown escaped."""
    for change in _contents_only(diff):
        yield f"--- {_label('a', change.path, change.old)}"
        yield f"+++ {_label('b', change.path, change.new)}"
        if change.old and change.new and change.old.mode != change.new.mode:
            yield f"mode {change.old.mode:04o} -> {change.new.mode:04o}"
        compared = _compare(reader, change)
        if compared is None:
            yield f"binary or overlong: {_size(change.old)} -> {_size(change.new)}"
            continue
        old, new, blocks = compared
        for hunk in hunks(blocks, len(old)):
            yield from _hunk_lines(hunk.span, hunk.blocks, old, new)


def _contents_only(diff: TreeDiff) -> Iterator[Change]:
    for change in diff.changes:
        if any(side is not None and side.kind != DIRECTORY for side in (change.old, change.new)):
            yield change


def _compare(reader: ObjectReader, change: Change) -> tuple[list[bytes], list[bytes], list[Block]] | None:
    old, new = _lines(reader, change.old), _lines(reader, change.new)
    if old is None or new is None:
        return None
    return old, new, changed_blocks(old, new)


def _lines(reader: ObjectReader, entry: Entry | None) -> list[bytes] | None:
    """The lines of one side, their ends included; None where it is no text or too much of it."""
    if entry is None or entry.kind == DIRECTORY or not entry.size:
        return []
    if entry.size > _MAX_TEXT_BYTES:
        return None
    data = reader.read(entry.digest)
    if b"\0" in data[:_BINARY_PROBE]:
        return None
    lines = data.split(b"\n")
    ended = [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    return ended if len(ended) <= _MAX_LINES else None


def _hunk_lines(span: Block, blocks: tuple[Block, ...], old: list[bytes], new: list[bytes]) -> Iterator[str]:
    yield f"@@ -{_range(span.old_start, span.old_end)} +{_range(span.new_start, span.new_end)} @@"
    at = span.old_start
    for block in blocks:
        yield from _marked(" ", old[at : block.old_start])
        yield from _marked("-", old[block.old_start : block.old_end])
        yield from _marked("+", new[block.new_start : block.new_end])
        at = block.old_end
    yield from _marked(" ", old[at : span.old_end])


def _marked(mark: str, lines: list[bytes]) -> Iterator[str]:
    for line in lines:
        yield mark + show_line(line.removesuffix(b"\n"))
        if not line.endswith(b"\n"):
            yield "\\ No newline at end of file"


def _range(start: int, end: int) -> str:
    if end - start == 1:
        return str(start + 1)
    return f"{start + (end > start)},{end - start}"


def _label(side: str, path: bytes, entry: Entry | None) -> str:
    if entry is None:
        return "/dev/null"
    return f"{side}/{show_path(path)}" + ("" if entry.type == "file" else f" ({entry.type})")


def _size(entry: Entry | None) -> str:
    return "nothing" if entry is None else f"{entry.size} bytes"

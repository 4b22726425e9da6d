"""What a snapshot leaves out, for people: one row for each reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sandbox_runner.snapshot import Snapshot, groups_of, show_path

__all__ = ["left_out_of_snapshot", "left_out_rows"]


def left_out_rows(groups: Iterable[tuple[str, int, Sequence[str]]]) -> list[tuple[str, str]]:
    """Rows for ``pairs`` from reasons, counts and first names.

    ``left out  12 named by an exclude pattern: a.log, b.log, c.log and 9 more``.
    """
    return [("" if row else "left out", _words(*group)) for row, group in enumerate(groups)]


def left_out_of_snapshot(snapshot: Snapshot) -> list[tuple[str, str]]:
    """The same rows of a snapshot in a store."""
    groups = groups_of(snapshot)
    return left_out_rows((group.reason, group.count, tuple(map(show_path, group.first))) for group in groups)


def _words(reason: str, count: int, first: Sequence[str]) -> str:
    named = ", ".join(first)
    more = f" and {count - len(first):,} more" if count > len(first) else ""
    return f"{count:,} {reason}: {named}{more}"

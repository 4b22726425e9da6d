"""``sandbox-runner report``: one self-contained HTML page about a run, to read, to print, to pass on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import typer

from sandbox_runner.cli.files import PIPE, write_file
from sandbox_runner.cli.locate import find_run
from sandbox_runner.cli.screen import Screen
from sandbox_runner.cli.session import settings
from sandbox_runner.cli.text import printable, size
from sandbox_runner.cli.verify import snapshot_check_for
from sandbox_runner.errors import SnapshotError, StoreError
from sandbox_runner.record import RunRecord, load_public_key, trusted_keys, verify_record
from sandbox_runner.record.report import FileChange, render_report
from sandbox_runner.runner.home import Home
from sandbox_runner.snapshot import Change, SnapshotStore, TreeDiff, show_path

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_PATCH_LINES = 400  # of one file; the snapshots have all of it
_PATCHES = 200  # files shown with their lines


@app.command()
def report(
    context: typer.Context,
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run id, its beginning, `last`, or a directory.")
    ],
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Where to; `-` is stdout.")],
) -> None:
    """Write a page with the run's outcome, calls, changes, policy and proof; it needs no network."""
    chosen = settings(context)
    home = Home(chosen.home)
    record = find_run(run, home.runs(chosen.tenant))
    checks = verify_record(
        record.path,
        trusted=trusted_keys(home.keys, [load_public_key(path) for path in chosen.trusted_keys]),
        snapshot_check=snapshot_check_for(record, home, chosen.tenant),
        require_signature=chosen.sign,
    )
    page = render_report(record, checks=checks, changes=_changes(record, home.store(chosen.tenant)))
    data = page.encode()
    write_file(output, data)
    if output != PIPE:
        Screen().say(f"{printable(output)}: {size(len(data))}, open it in any browser")


def _changes(record: RunRecord, store: SnapshotStore) -> list[FileChange] | None:
    """What the run did to its workspace; None where its snapshots are not here."""
    base, end = record.info.base_snapshot, record.result.snapshot if record.result else None
    if base is None or end is None:
        return None
    try:
        # The project's own files are what people look for; git's bookkeeping follows, without its lines.
        changes = sorted(store.diff(base, end).changes, key=_is_git)
        return [
            _change(store, change, patch=place < _PATCHES and not _is_git(change))
            for place, change in enumerate(changes)
        ]
    except (SnapshotError, StoreError):
        return None


def _is_git(change: Change) -> bool:
    return b".git" in change.path.split(b"/")


def _change(store: SnapshotStore, change: Change, *, patch: bool) -> FileChange:
    kind: Literal["added", "removed", "changed"] = "changed"
    if change.old is None or change.new is None:
        kind = "added" if change.old is None else "removed"
    lines = tuple(_patch(store, change)) if patch else ()
    return FileChange(show_path(change.path), kind, _note(change), lines)


def _patch(store: SnapshotStore, change: Change) -> Iterator[str]:
    """The lines of one file's unified diff without its two headings, cut where there are very many."""
    one = TreeDiff(
        added=(change,) if change.old is None else (),
        removed=(change,) if change.new is None else (),
        changed=(change,) if change.old and change.new else (),
    )
    for number, line in enumerate(store.unified(one)):
        if number == _PATCH_LINES:
            yield f"… cut after {_PATCH_LINES} lines; `sandbox-runner snapshot diff` shows all"
            return
        if number > 1:
            yield line


def _note(change: Change) -> str:
    """Sizes, and modes where they changed."""
    old, new = change.old, change.new
    if old is None or new is None:
        side = new or old
        return f"{side.type}, {size(side.size)}" if side else ""
    grown = f"{size(old.size)} → {size(new.size)}" if old.size != new.size else size(new.size)
    return grown if old.mode == new.mode else f"{grown}, mode {old.mode:04o} → {new.mode:04o}"

"""``sandbox-runner runs``: past runs, the newest first."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sandbox_runner.cli.locate import run_ids
from sandbox_runner.cli.screen import Screen
from sandbox_runner.cli.session import settings
from sandbox_runner.cli.text import columns, duration, plural, printable, size
from sandbox_runner.errors import SnapshotError, StoreError, VerificationError
from sandbox_runner.record import RunRecord
from sandbox_runner.runner.home import Home
from sandbox_runner.snapshot import SnapshotStore, TreeDiff

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_HEADER = ("RUN", "STATUS", "STEPS", "FAILED", "REFUSED", "CHANGED", "TOOK", "POLICY", "TRAIL")
_FIGURES = frozenset({2, 3, 4, 6})
_GIVE_WAY = ((7, 0), (8, 20), (5, 0), (6, 0), (8, 8), (4, 0), (3, 0), (8, 0))
"""On a narrow terminal: the policy, a long name, the changes, the time; the run's id and its status last."""


@app.command()
def runs(
    context: typer.Context,
    count: Annotated[
        int, typer.Option("--tail", "-n", metavar="N", min=1, help="How many, the newest first.")
    ] = 20,
    every: Annotated[bool, typer.Option("--all", "-a", help="All of them.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per run.")] = False,
) -> None:
    """List past runs with their status and what they changed."""
    chosen = settings(context)
    home = Home(chosen.home)
    folder, store = home.runs(chosen.tenant), home.store(chosen.tenant)
    ids = run_ids(folder)
    shown = ids if every else ids[:count]
    screen = Screen(json=json)
    rows = []
    for run_id in shown:
        try:
            record = RunRecord.load(folder / run_id)
        except VerificationError as error:
            rows.append((run_id, "damaged", *[""] * 6, printable(str(error))))
            if json:
                screen.data({"run_id": run_id, "status": "damaged", "error": str(error)})
            continue
        changes = _changes(store, record)
        if json:
            screen.data(_facts(record, changes))
        rows.append(_row(record, changes))
    if not json:
        _table(screen, rows, left=len(ids) - len(shown))


def _table(screen: Screen, rows: list[tuple[str, ...]], *, left: int) -> None:
    if not rows:
        screen.note("there is no run yet; make one: sandbox-runner run TRAIL -w DIR")
        return
    header, *lines = columns(rows, header=_HEADER, right=_FIGURES, width=screen.width, give_way=_GIVE_WAY)
    screen.say(screen.paint(header, "heading"))
    for row, line in zip(rows, lines, strict=True):
        screen.say(line.replace(row[1], screen.paint(row[1], row[1]), 1))
    if left > 0:
        screen.note(f"and {plural(left, 'older run')}; --all lists them")


def _changes(store: SnapshotStore, record: RunRecord) -> TreeDiff | None:
    """What a run did to its workspace; None where that is not known any more."""
    base, end = record.info.base_snapshot, record.result.snapshot if record.result else None
    if base is None or end is None:
        return None
    try:
        return store.diff(base, end)
    except (SnapshotError, StoreError):
        return None  # a snapshot was let go, or the record comes from elsewhere


def _facts(record: RunRecord, changes: TreeDiff | None) -> dict[str, Any]:
    info, result = record.info, record.result
    return {
        "run_id": record.run_id,
        "record": str(record.path),
        "created_at": info.created_at,
        "state": record.state.value,
        "status": result.status.value if result else record.state.value,
        "exit_code": result.exit_code if result else None,
        "trail": info.trail.source,
        "trail_sha256": info.trail.sha256,
        "policy": info.policy.name,
        "runtime": info.runtime,
        "steps": result.steps.model_dump() if result else None,
        "base_snapshot": info.base_snapshot,
        "snapshot": result.snapshot if result else None,
        "changes": _counts(changes),
        "duration_s": result.duration_s if result else None,
    }


def _row(record: RunRecord, changes: TreeDiff | None) -> tuple[str, ...]:
    info, result = record.info, record.result
    name = info.trail.source or info.trail.trail_id or info.trail.sha256[:12]
    if result is None:
        return (record.run_id, record.state.value, *[""] * 5, info.policy.name, name)
    steps = result.steps
    return (
        record.run_id,
        result.status.value,
        f"{steps.total:,}",
        f"{steps.failed:,}" if steps.failed else "-",
        f"{steps.refused:,}" if steps.refused else "-",
        _changed(changes),
        duration(result.duration_s),
        info.policy.name,
        name,
    )


def _counts(changes: TreeDiff | None) -> dict[str, int] | None:
    if changes is None:
        return None
    counts = {name: len(getattr(changes, name)) for name in ("added", "removed", "changed")}
    return {**counts, "bytes": changes.byte_change}


def _changed(changes: TreeDiff | None) -> str:
    """``+2 -0 ~1, +340 B``: entries added, removed and changed, and by how much all of them grew."""
    if changes is None:
        return ""
    if not changes:
        return "nothing"
    grown = changes.byte_change
    counted = f"+{len(changes.added)} -{len(changes.removed)} ~{len(changes.changed)}"
    return f"{counted}, {'+' if grown >= 0 else '-'}{size(abs(grown))}"

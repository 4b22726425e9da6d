"""The store kept in order: what nobody wants is removed, every byte is checked."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sandbox_runner.cli.screen import Screen
from sandbox_runner.cli.session import settings
from sandbox_runner.cli.snapshot_facts import Json, store_of
from sandbox_runner.cli.text import plural, printable, size
from sandbox_runner.errors import ExitCode, VerificationError
from sandbox_runner.record import list_runs
from sandbox_runner.runner.home import Home

__all__ = ["fsck", "gc"]


def gc(
    context: typer.Context,
    keep_last: Annotated[
        int, typer.Option("--keep-last", metavar="N", min=0, help="Keep the newest N.")
    ] = 10,
    runs: Annotated[
        bool, typer.Option("--keep-runs/--forget-runs", help="Keep what run records name.")
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    json: Json = False,
) -> None:
    """Remove snapshots that nobody wants: neither new, nor tagged, nor named by a run record."""
    chosen = settings(context)
    home = Home(chosen.home)
    keep = _named_by_runs(home.runs(chosen.tenant)) if runs else set()
    report = home.store(chosen.tenant).gc(keep_last=keep_last, referenced=keep, dry_run=dry_run)
    screen = Screen(json=json)
    if json:
        screen.data(
            {"kept": report.kept, "removed": report.removed, "freed": report.freed, "dry_run": dry_run}
        )
        return
    would = "would remove" if dry_run else "removed"
    gone = plural(len(report.removed), "snapshot")
    screen.say(f"{would} {gone}, {size(report.freed)}; {plural(len(report.kept), 'snapshot')} kept")


def fsck(
    context: typer.Context,
    repair: Annotated[bool, typer.Option("--repair", help="Rebuild the index from what is good.")] = False,
    json: Json = False,
) -> int:
    """Check every byte of the store."""
    report = store_of(context).fsck(repair=repair)
    screen = Screen(json=json)
    if json:
        screen.data({"ok": report.ok, **asdict(report)})
    else:
        screen.say(
            *(f"{screen.paint('problem', 'failed')}  {printable(problem)}" for problem in report.problems)
        )
        screen.say(*(f"{screen.paint('lost', 'failed')}     snapshot {digest}" for digest in report.lost))
        screen.say(*(f"remark   {printable(remark)}" for remark in report.remarks))
        verdict = screen.paint("whole", "success") if report.ok else screen.paint("NOT WHOLE", "failed")
        looked = f"{plural(report.packs, 'pack')}, {plural(report.objects, 'object')}"
        screen.say(f"{verdict}: {looked}, {plural(report.snapshots, 'snapshot')}")
    return ExitCode.OK if report.ok else ExitCode.SANDBOX_FAILED


def _named_by_runs(runs: Path) -> set[str]:
    """Digests that run records name. A record that cannot be read could name any: nothing is collected."""
    named = set()
    for record in list_runs(runs):
        if isinstance(record, VerificationError):
            raise VerificationError(
                f"it is unknown which snapshots this record names: {record}",
                hint="remove the damaged record, or let go of all that runs name with --forget-runs",
            )
        named |= {record.info.base_snapshot, record.result.snapshot if record.result else None}
    return {digest for digest in named if digest is not None}

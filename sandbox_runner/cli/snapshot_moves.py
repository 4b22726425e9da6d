"""Snapshots on the move: restored, applied, exported, imported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sandbox_runner.cli.screen import Screen
from sandbox_runner.cli.snapshot_facts import Json, Name, Run, ends_of, facts_of, run_of, store_of
from sandbox_runner.cli.text import plural, printable, size
from sandbox_runner.snapshot import show_path

__all__ = ["apply", "export", "import_", "restore"]


def restore(
    context: typer.Context,
    snapshot: Name,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty directory.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Into a directory that holds something.")
    ] = False,
    json: Json = False,
) -> None:
    """Write a snapshot into a directory; a link in the way is never followed."""
    restored = store_of(context).restore(snapshot, directory, overwrite=overwrite)
    screen = Screen(json=json)
    if json:
        screen.data({"snapshot": restored.digest, "directory": str(directory), "files": restored.files})
    else:
        screen.say(
            f"restored {plural(restored.files, 'file')}, {size(restored.size)}, into {_shown(directory)}"
        )
    if restored.partial:
        screen.note(f"the snapshot is partial: {len(restored.omissions):,} of its entries were not captured")


def apply(
    context: typer.Context,
    run: Run,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory the run began with.")],
    *,
    git: Annotated[
        bool, typer.Option("--git", help="Also changes below .git, which can be commands.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    json: Json = False,
) -> None:
    """Bring what a run changed into a directory: all of it, or nothing where anything is in the way."""
    before, after = ends_of(run_of(context, run))
    report = store_of(context).apply(before, after, directory, git=git, dry_run=dry_run)
    screen = Screen(json=json)
    if json:
        parts = ("written", "removed", "already", "withheld", "kept")
        screen.data(
            {name: [show_path(path) for path in getattr(report, name)] for name in parts}
            | {"dry_run": dry_run}
        )
        return
    would = "would be " if dry_run else ""
    screen.say(*(f"{would}written  {show_path(path)}" for path in report.written))
    screen.say(*(f"{would}removed  {show_path(path)}" for path in report.removed))
    screen.say(*(f"kept     {show_path(path)}: it holds files of yours" for path in report.kept))
    if report.withheld:
        screen.note(f"withheld {plural(len(report.withheld), 'change')} below .git; --git brings them too")
    if not (report.written or report.removed):
        screen.say("nothing to do")


def export(
    context: typer.Context,
    snapshot: Name,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to.")],
    form: Annotated[
        Literal["tar.zst", "oci"], typer.Option("--format", help="An archive, or an OCI image layout.")
    ] = "tar.zst",
    json: Json = False,
) -> None:
    """Write a snapshot for others: a compressed tar archive, or an image that Docker and skopeo load."""
    exported = store_of(context).export(snapshot, output, form=form)
    screen = Screen(json=json)
    if json:
        screen.data({"snapshot": exported.digest, "output": str(output), "format": form})
    else:
        screen.say(f"exported {exported.digest} to {_shown(output)}")


def import_(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="FILE", help="What `export` wrote, in either format.")],
    json: Json = False,
) -> None:
    """Take a snapshot in that was exported, here or elsewhere."""
    imported = store_of(context).import_archive(source)
    screen = Screen(json=json)
    if json:
        screen.data(facts_of(imported))
    else:
        screen.say(f"imported {imported.digest}, {plural(imported.files, 'file')}, {size(imported.size)}")


def _shown(path: Path) -> str:
    return printable(str(path))

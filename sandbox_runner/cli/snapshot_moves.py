"""Snapshots on the move: restored, applied, exported, imported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sandbox_runner.cli.omissions import left_out_of_snapshot
from sandbox_runner.cli.screen import Screen
from sandbox_runner.cli.snapshot_facts import Json, Name, Run, ends_of, facts_of, run_of, store_of
from sandbox_runner.cli.text import plural, printable, size
from sandbox_runner.snapshot import show_path

__all__ = ["apply", "export", "import_", "restore"]

_NAMED = 5  # directories in one line
_LISTED = 40  # files that tools run by themselves, a line each


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
    store = store_of(context)
    restored = store.restore(snapshot, directory, overwrite=overwrite)
    found = store.git_directories(restored.digest)
    screen = Screen(json=json)
    if json:
        facts = {"snapshot": restored.digest, "directory": str(directory), "files": restored.files}
        screen.data(facts | {"git_directories": [_where(path) for path in found]})
    else:
        screen.say(
            f"restored {plural(restored.files, 'file')}, {size(restored.size)}, into {_shown(directory)}"
        )
    if restored.partial:
        screen.note("the snapshot is partial", *(words for _, words in left_out_of_snapshot(restored)))
    _warn_of_git(screen, found)


def apply(
    context: typer.Context,
    run: Run,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory the run began with.")],
    *,
    git: Annotated[
        bool, typer.Option("--git", help="Also changes in git's own directories, which can be commands.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    json: Json = False,
) -> None:
    """Bring what a run changed into a directory: all of it, or nothing where anything is in the way."""
    before, after = ends_of(run_of(context, run))
    report = store_of(context).apply(before, after, directory, git=git, dry_run=dry_run)
    screen = Screen(json=json)
    if json:
        parts = ("written", "removed", "already", "withheld", "kept", "unseen")
        screen.data(
            {name: [show_path(path) for path in getattr(report, name)] for name in parts}
            | {
                "dry_run": dry_run,
                "git_directories": [_where(path) for path in report.git_directories],
                "named": [{"path": show_path(path), "runs": tool} for path, tool in report.named],
            }
        )
        return
    would = "would be " if dry_run else ""
    screen.say(*(f"{would}written  {show_path(path)}" for path in report.written))
    screen.say(*(f"{would}removed  {show_path(path)}" for path in report.removed))
    screen.say(*(f"kept     {show_path(path)}: it holds files of yours" for path in report.kept))
    for path, tool in report.named[:_LISTED]:
        screen.note(
            f"look at {show_path(path)} first: {tool} may run it, or do as it says, without being asked"
        )
    if len(report.named) > _LISTED:
        screen.note(f"and {len(report.named) - _LISTED:,} more that tools may run; --json names all of them")
    if report.withheld:
        screen.note(
            f"withheld {plural(len(report.withheld), 'change')} in git's own directories,"
            f" whose configuration and hooks are commands: {_some(report.git_directories)};"
            " --git brings them too"
        )
    if report.unseen:
        some = ", ".join(map(show_path, report.unseen[:_NAMED]))
        more = f" and {len(report.unseen) - _NAMED:,} more" if len(report.unseen) > _NAMED else ""
        screen.note(
            f"not touched, since a snapshot of the run left out what is there: {some}{more};"
            " restore the snapshot into a new directory to see the run's"
        )
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
    store = store_of(context)
    exported = store.export(snapshot, output, form=form)
    found = store.git_directories(exported.digest)
    screen = Screen(json=json)
    if json:
        facts = {"snapshot": exported.digest, "output": str(output), "format": form}
        screen.data(facts | {"git_directories": [_where(path) for path in found]})
    else:
        screen.say(f"exported {exported.digest} to {_shown(output)}")
    _warn_of_git(screen, found)


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


def _warn_of_git(screen: Screen, found: tuple[bytes, ...]) -> None:
    if found:
        screen.note(
            f"git takes {_some(found)} for {'repositories' if len(found) > 1 else 'a repository'}:"
            " calling git there can run commands that its configuration and hooks name; look at them first"
        )


def _some(directories: tuple[bytes, ...]) -> str:
    """The first of some directories, and how many more there are."""
    more = f" and {len(directories) - _NAMED} more" if len(directories) > _NAMED else ""
    return ", ".join(map(_where, directories[:_NAMED])) + more


def _where(directory: bytes) -> str:
    return show_path(directory) or "."


def _shown(path: Path) -> str:
    return printable(str(path))

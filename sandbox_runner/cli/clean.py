"""``sandbox-runner clean``: remove what runs left in Docker that could not tidy up themselves."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import Annotated

import typer

from sandbox_runner.cli.screen import Screen
from sandbox_runner.cli.text import columns, plural
from sandbox_runner.errors import DockerError
from sandbox_runner.sandbox import Engine
from sandbox_runner.sandbox.janitor import Leftover, find_strangers
from sandbox_runner.sandbox.janitor import clean as remove_leftovers

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def clean(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list them.")] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")] = False,
) -> None:
    """Remove containers and volumes whose run is dead or overdue; what a living run uses stays."""
    screen = Screen(json=json)
    with closing(Engine.connect()) as engine:
        found = remove_leftovers(engine, dry_run=dry_run)
        strangers = find_strangers(engine)
    if json:
        screen.data([asdict(leftover) for leftover in found])
    elif not found:
        screen.say("nothing is left over")
    else:
        screen.say(*columns(_row(leftover, dry_run=dry_run) for leftover in found))
    screen.note(
        *(
            f"left alone: {thing.kind} {thing.id[:12]} carries our label, but no run of ours put it there"
            for thing in strangers
        )
    )
    stuck = [leftover for leftover in found if not leftover.removed]
    if stuck and not dry_run:
        raise DockerError(
            f"{plural(len(stuck), 'thing')} could not be removed: {stuck[0].kind} {stuck[0].id[:12]}.",
            hint="look at it with `docker inspect`; restarting Docker frees what it holds itself",
        )


def _row(leftover: Leftover, *, dry_run: bool) -> tuple[str, ...]:
    done = "would be removed" if dry_run else "removed" if leftover.removed else "STILL THERE"
    return (
        leftover.kind,
        leftover.id[:12],
        f"of run {leftover.run}",
        leftover.state,
        leftover.life.value,
        done,
    )

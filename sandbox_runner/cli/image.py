"""``sandbox-runner image``: the image that sandboxes start from."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import Annotated

import typer

from sandbox_runner.cli.commands import CommandGroup
from sandbox_runner.cli.screen import Screen
from sandbox_runner.cli.text import columns, printable, size
from sandbox_runner.sandbox import Engine, Image, build_image, list_images

__all__ = ["app"]

app = typer.Typer(cls=CommandGroup, add_completion=False, rich_markup_mode=None, no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]


@app.command()
def build(
    base: Annotated[
        str | None,
        typer.Option(
            "--base", metavar="IMAGE", help="A Debian image to build on; by default one is found or made."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Build the default image; every step is told, and why."""
    screen = Screen(json=json)
    with closing(Engine.connect()) as engine:
        built = build_image(engine, base=base, on_progress=lambda line: screen.note(printable(line)))
    if json:
        screen.data(asdict(built))
    else:
        screen.say(f"built {built.name}, {size(built.size)}, {built.id}")


@app.command("list")
def list_(json: Json = False) -> None:
    """List the images made by this program; `*` marks the one that runs use by default."""
    screen = Screen(json=json)
    with closing(Engine.connect()) as engine:
        images = list_images(engine)
    if json:
        screen.data([asdict(image) for image in images])
    elif images:
        screen.say(
            *columns(map(_row, images), header=("", "IMAGE", "SIZE", "BUILT", "BASE", "ID"), right={2})
        )
    else:
        screen.note("there is no image yet; make it now with: sandbox-runner image build")


def _row(image: Image) -> tuple[str, ...]:
    mark = "*" if image.current else ""
    return (
        mark,
        image.name,
        size(image.size),
        image.created[:19],
        image.base,
        image.id.removeprefix("sha256:")[:12],
    )

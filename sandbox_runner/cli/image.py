"""``sandbox-runner image``: the image that sandboxes start from."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sandbox_runner.cli.commands import CommandGroup
from sandbox_runner.cli.screen import Screen
from sandbox_runner.cli.text import columns, plural, printable, size
from sandbox_runner.sandbox import (
    Engine,
    Image,
    add_environment,
    build_image,
    ensure_image,
    list_images,
    read_demands,
)

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


@app.command()
def add(
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", help="A requirements file, a pylock.toml, or a project's folder."),
    ],
    *,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="A further name for it.")] = None,
    base: Annotated[
        str | None,
        typer.Option("--base", metavar="IMAGE", help="What to build on; by default our own image."),
    ] = None,
    extra: Annotated[
        list[str] | None, typer.Option("--extra", metavar="NAME", help="Of a project; repeatable.")
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option("--group", metavar="NAME", help="Of a project; repeatable.")
    ] = None,
    json: Json = False,
) -> None:
    """Make an image that has a project's dependencies; the project itself stays in the workspace."""
    screen = Screen(json=json)

    def tell(line: str) -> None:
        screen.note(printable(line))

    demands = read_demands(source, extras=tuple(extra or ()), groups=tuple(group or ()))
    with closing(Engine.connect()) as engine:
        below = ensure_image(engine, base, on_progress=tell)
        image = add_environment(engine, demands, base=below, name=name, on_progress=tell)
    if json:
        screen.data(asdict(image))
    else:
        screen.say(f"{image.name}, {plural(len(image.packages), 'package')}, {size(image.size)}, {image.id}")


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
            *columns(
                map(_row, images),
                header=("", "IMAGE", "PACKAGES", "SIZE", "BUILT", "BASE", "ID"),
                right={2, 3},
            )
        )
    else:
        screen.note("there is no image yet; make it now with: sandbox-runner image build")


def _row(image: Image) -> tuple[str, ...]:
    mark = "*" if image.current else ""
    return (
        mark,
        image.name,
        str(len(image.packages)) if image.packages else "",
        size(image.size),
        image.created[:19],
        image.base,
        image.id.removeprefix("sha256:")[:12],
    )

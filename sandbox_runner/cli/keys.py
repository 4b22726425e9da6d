"""``sandbox-runner keys``: the key that signs run records, and the keys whose signatures are accepted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sandbox_runner.cli.commands import CommandGroup
from sandbox_runner.cli.screen import Screen
from sandbox_runner.cli.session import settings
from sandbox_runner.record import load_public_key, new_signing_key, signing_key, trust, trusted_keys
from sandbox_runner.runner.home import Home

__all__ = ["app"]

app = typer.Typer(cls=CommandGroup, add_completion=False, rich_markup_mode=None, no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]


@app.command()
def show(context: typer.Context, json: Json = False) -> None:
    """Show the public half of the signing key, made now if there is none, and the trusted keys."""
    folder = Home(settings(context).home).keys
    own = signing_key(folder).public
    trusted = trusted_keys(folder)
    screen = Screen(json=json)
    if json:
        document = {"id": own.id, "public_key": own.pem.decode(), "trusted": [key.id for key in trusted]}
        screen.data({**document, "folder": str(folder)})
        return
    screen.say(*own.pem.decode().splitlines())
    screen.note(f"signs as {own.id}", *(f"trusts   {key.id}" for key in trusted if key.id != own.id))


@app.command()
def new(context: typer.Context, json: Json = False) -> None:
    """Replace the signing key; records that the old one signed still verify here."""
    own = new_signing_key(Home(settings(context).home).keys).public
    screen = Screen(json=json)
    if json:
        screen.data({"id": own.id, "public_key": own.pem.decode()})
    else:
        screen.say(f"new signing key {own.id}")


@app.command("trust")
def trust_(
    context: typer.Context,
    key: Annotated[
        Path, typer.Argument(metavar="FILE", help="A public key in PEM, as `keys show` prints it.")
    ],
) -> None:
    """Accept somebody else's signatures from now on."""
    public = load_public_key(key)
    kept = trust(Home(settings(context).home).keys, public)
    Screen().say(f"trusts {public.id}; remove {kept} to stop")

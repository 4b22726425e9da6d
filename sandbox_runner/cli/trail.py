"""``sandbox-runner trail``: make trails from worklogs, look at them, check them, join and convert them."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import typer

from sandbox_runner.cli.commands import CommandGroup
from sandbox_runner.cli.files import PIPE, read_file, write_file
from sandbox_runner.cli.screen import Screen
from sandbox_runner.cli.text import plural, printable, size
from sandbox_runner.errors import ExitCode, TrailError
from sandbox_runner.trail import (
    Trail,
    TrailPrinter,
    compile_file,
    concatenate,
    convert,
    examine,
    file_digest,
    is_worklog,
    load,
    naming,
    read_notes,
    read_worklog,
    verify_chain,
    write_notes,
)
from sandbox_runner.trail.findings import MAX_FINDINGS, errors_in

__all__ = ["app"]

app = typer.Typer(cls=CommandGroup, add_completion=False, rich_markup_mode=None, no_args_is_help=True)

_SUFFIX = ".flux"

Version = Literal["auto", "1", "2"]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]
Output = Annotated[
    str | None, typer.Option("--output", "-o", metavar="FILE", help="Where to; `-` is stdout.")
]


@app.command("compile")
def compile_(
    worklog: Annotated[str, typer.Argument(metavar="WORKLOG", help="A worklog; `-` is stdin.")],
    output: Output = None,
    form: Annotated[
        Version, typer.Option("--format", help="The format's version; auto is 1 where it can hold the trail.")
    ] = "auto",
    notes: Annotated[
        str | None,
        typer.Option("--notes", metavar="FILE", help="Where to keep what a trail has no room for."),
    ] = None,
    json: Json = False,
) -> None:
    """Compile a worklog into a trail, by default beside it with the suffix .flux.

    A trail has no room for the descriptions, notes and times of single steps; --notes keeps them beside it.
    """
    data = read_file(worklog, "the worklog", error=TrailError)
    with naming(worklog):
        trail = load(compile_file(data, format=form))
    target = output or (PIPE if worklog == PIPE else str(Path(worklog).with_suffix(_SUFFIX)))
    if notes == target:
        raise TrailError(
            f"the trail and its notes cannot both go to {target}; name another file with --notes"
        )
    _deliver(target, trail, json=json)
    if notes:
        kept = write_notes(read_worklog(data), trail)
        if kept:
            write_file(notes, kept)
        else:
            Screen(json=json).note("the worklog has no notes, so no file of them was written")


@app.command()
def show(
    trail: Annotated[str, typer.Argument(metavar="TRAIL", help="A trail or a worklog; `-` is stdin.")],
    form: Annotated[
        Literal["text", "hex", "verbose", "compact"], typer.Option("--format", "-f", help="How to list it.")
    ] = "text",
    notes: Annotated[
        str | None,
        typer.Option("--notes", metavar="FILE", help="What compile --notes kept; shown beside it."),
    ] = None,
    json: Json = False,
) -> None:
    """List a trail step by step; nothing in it can act on the terminal."""
    with naming(trail):
        data = _as_trail(read_file(trail, "the trail", error=TrailError))
    said = read_notes(read_file(notes, "the notes", error=TrailError), load(data)) if notes else {}
    screen = Screen(json=json)
    if not json:
        with naming(trail):
            screen.say(*TrailPrinter().print_bytecode(data, fmt=form, notes=said).split("\n"))
        return
    with naming(trail):
        loaded = load(data)
    steps = [
        {"step": step.index, "opcode": step.opcode.name, "arguments": dict(step.arguments)}
        | ({"notes": dict(said[step.index])} if step.index in said else {})
        for step in loaded.steps
    ]
    screen.data({**_facts(loaded), "steps": steps})


@app.command()
def verify(
    trails: Annotated[list[str], typer.Argument(metavar="TRAIL", help="Trails; `-` is stdin.")],
    chain: Annotated[
        bool,
        typer.Option("--chain", help="Each trail after the first must be the meta-trail of the one before."),
    ] = False,
    json: Json = False,
) -> int:
    """Check that trails may be replayed, and with --chain that each proves the replay of the one before."""
    screen = Screen(json=json)
    sound, contents = True, [read_file(name, "the trail", error=TrailError) for name in trails]
    for name, data in zip(trails, contents, strict=True):
        findings = tuple(islice(examine(data), MAX_FINDINGS))
        verified = not errors_in(findings)
        sound = sound and verified
        if json:
            told = [
                {"severity": found.severity.value, "code": found.code, "text": found.text, "step": found.step}
                for found in findings
            ]
            screen.data({"trail": name, "sha256": file_digest(data), "ok": verified, "findings": told})
            continue
        status = screen.paint("ok", "ok") if verified else screen.paint("FAILED", "failed")
        screen.say(f"{status}  {printable(name)}  sha256 {file_digest(data)}")
        screen.say(*(f"    {found.severity.value}: {printable(str(found))}" for found in findings))
    if chain and sound:
        sound = _check_chain(screen, trails, [load(data) for data in contents])
    return ExitCode.OK if sound else ExitCode.NOT_VERIFIED


@app.command()
def concat(
    trails: Annotated[list[str], typer.Argument(metavar="TRAIL", help="Two or more trails.")],
    output: Output = None,
    json: Json = False,
) -> None:
    """Join trails into one: the frame of the first, the steps of all, the worst status."""
    if len(trails) < 2 or output is None:
        raise TrailError("concat joins two or more trails into a file; give them, and the file with -o FILE")
    loaded = [_loaded(name) for name in trails]
    _deliver(output, load(concatenate(loaded)), json=json)


@app.command("convert")
def convert_(
    trail: Annotated[str, typer.Argument(metavar="TRAIL", help="A trail; `-` is stdin.")],
    to: Annotated[Version, typer.Option("--to", "--format", help="The version to write.")] = "2",
    output: Output = None,
    json: Json = False,
) -> None:
    """Write the same trail in another version of the format; converting back gives the same bytes."""
    if output is None:
        raise TrailError("convert writes a file; name it with -o FILE")
    converted = convert(_loaded(trail), to)
    _deliver(output, load(converted), json=json)


def _deliver(target: str, trail: Trail, *, json: bool) -> None:
    """Write a trail and say what it is; where the trail itself goes to stdout, the rest goes to stderr."""
    write_file(target, trail.data)
    screen = Screen(json=json)
    if target == PIPE:
        screen.note(_words(trail))
    elif json:
        screen.data({"trail": target, **_facts(trail)})
    else:
        screen.say(f"{printable(target)}: {_words(trail)}")


def _loaded(name: str) -> Trail:
    data = read_file(name, "the trail", error=TrailError)
    with naming(name):
        return load(data)


def _as_trail(data: bytes) -> bytes:
    return compile_file(data) if is_worklog(data) else data


def _words(trail: Trail) -> str:
    steps = plural(len(trail.steps), "step")
    return f"version {trail.version}, {steps}, {size(len(trail.data))}, sha256 {trail.sha256}"


def _facts(trail: Trail) -> dict[str, object]:
    return {
        "version": trail.version,
        "bytes": len(trail.data),
        "sha256": trail.sha256,
        "trail_id": trail.trail_id,
        "agent": trail.agent,
        "agent_id": trail.agent_id,
        "timestamp": trail.timestamp,
        "status": trail.status,
        "total_steps": len(trail.steps),
    }


def _check_chain(screen: Screen, names: list[str], trails: list[Trail]) -> bool:
    links = verify_chain(trails)
    for name, link in zip(names[1:], links, strict=True):
        if screen.json:
            screen.data({"link": name, "source": link.source, "named": link.named, "ok": link.holds})
        else:
            status = screen.paint("ok", "ok") if link.holds else screen.paint("FAILED", "failed")
            screen.say(f"{status}  {printable(name)}  {link}")
    return all(link.holds for link in links)

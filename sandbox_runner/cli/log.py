"""``sandbox-runner log``: every call of a run, one line each, also while the run goes on."""

from __future__ import annotations

from typing import Annotated

import typer

from sandbox_runner.cli.locate import find_run
from sandbox_runner.cli.screen import Screen
from sandbox_runner.cli.session import settings
from sandbox_runner.cli.tail import follow, last_lines
from sandbox_runner.cli.text import clip, duration, printable
from sandbox_runner.record import CallLine, subject_of
from sandbox_runner.runner.home import Home
from sandbox_runner.trail import step_number

__all__ = ["app", "call_line"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_WIDTH = 100  # of the outcome; the log itself has all of it
_SUBJECT = 36


@app.command()
def log(
    context: typer.Context,
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run id, its beginning, `last`, or a directory.")
    ],
    following: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for more until the run is over.")
    ] = False,
    tail: Annotated[
        int | None, typer.Option("--tail", "-n", metavar="N", min=1, help="Only the last N calls.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The lines of calls.jsonl, for programs.")] = False,
) -> None:
    """Show every call of a run: what was asked, how it ended, how long it took."""
    chosen = settings(context)
    record = find_run(run, Home(chosen.home).runs(chosen.tenant))
    screen = Screen(json=json)
    lines = follow(record) if following and tail is None else last_lines(record, tail)
    for line in lines:
        if json:
            screen.data({"fact": line.fact, "meta": line.meta, "digest": line.digest})
        else:
            screen.say(call_line(screen, line))


def call_line(screen: Screen, line: CallLine) -> str:
    """One call as a line of columns: step, status, operation, subject, time, outcome."""
    fact = line.fact
    status = screen.paint(f"{line.status.value:<8}", line.status.value)
    took = duration((line.meta.get("guest_ns") or line.meta.get("duration_ns") or 0) / 1e9)
    subject = clip(printable(subject_of(line)), _SUBJECT)
    row = f"{step_number(line.step):>5}  {status}  {fact['opcode']:<12}  {subject:<{_SUBJECT}}  {took:>8}"
    return f"{row}  {clip(printable(line.outcome), _WIDTH)}".rstrip()

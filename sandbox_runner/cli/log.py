"""``sandbox-runner log``: every call of a run, one line each, also while it goes on; or one step in full."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from sandbox_runner.cli.files import PIPE, write_file
from sandbox_runner.cli.locate import find_run
from sandbox_runner.cli.printed import lines_of, lines_of_step
from sandbox_runner.cli.screen import Screen
from sandbox_runner.cli.session import settings
from sandbox_runner.cli.tail import follow, last_lines
from sandbox_runner.cli.text import clip, duration, pairs, plural, printable
from sandbox_runner.cli.usage import UsageError
from sandbox_runner.errors import InputError, OutputError
from sandbox_runner.record import CallLine, RunRecord, subject_of
from sandbox_runner.record.lines import text_of
from sandbox_runner.record.outputs import KeptOutput, read_output
from sandbox_runner.record.report.view import pairs_of
from sandbox_runner.runner.home import Home
from sandbox_runner.trail import step_number

__all__ = ["app", "call_line"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_WIDTH = 100  # of the outcome, where no terminal says less; the log itself has all of it
_SUBJECT = 36
_LEAST = 12  # characters of the subject or the outcome that are of use
_TOOK = 10  # of the time and its blanks, which go first where there is little room
_FIXED = 43  # of a row: step, status, operation, time, and the blanks between all


@app.command()
def log(
    context: typer.Context,
    *,
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run id, its beginning, `last`, or a directory.")
    ],
    step: Annotated[
        int | None, typer.Argument(metavar="STEP", help="Only this step, in full, with all that it printed.")
    ] = None,
    following: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for more until the run is over.")
    ] = False,
    tail: Annotated[
        int | None, typer.Option("--tail", "-n", metavar="N", min=1, help="Only the last N calls.")
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="What the step printed, byte by byte.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="As --raw, into a file.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The lines of calls.jsonl, for programs.")] = False,
) -> None:
    """Show every call of a run, or one step in full: what was asked, how it ended, how long it took."""
    chosen = settings(context)
    _check_usage(step, raw=raw or output is not None, following=following or tail is not None, json=json)
    record = find_run(run, Home(chosen.home).runs(chosen.tenant))
    screen = Screen(json=json)
    if step is not None:
        _show_step(screen, record, step, PIPE if raw else None if output is None else str(output))
        return
    lines = follow(record) if following and tail is None else last_lines(record, tail)
    for line in lines:
        if json:
            screen.data({"fact": line.fact, "meta": line.meta, "digest": line.digest})
        else:
            screen.say(call_line(screen, line))


def _check_usage(step: int | None, *, raw: bool, following: bool, json: bool) -> None:
    if step is None and raw:
        raise UsageError("sandbox-runner log --raw and -o are for one step: sandbox-runner log RUN STEP")
    if step is not None and following:
        raise UsageError("sandbox-runner log takes a STEP, or -f and -n for all of them, not both")
    if json and raw:
        raise UsageError("sandbox-runner log takes --json, or --raw and -o, not both")


def call_line(screen: Screen, line: CallLine) -> str:
    """One call as a line of columns: step, status, operation, subject, time, outcome."""
    fact = line.fact
    timed = screen.width is None or screen.width >= _FIXED + 2 * _LEAST
    fixed = _FIXED if timed else _FIXED - _TOOK
    room = _SUBJECT + _WIDTH if screen.width is None else max(screen.width - fixed, 2 * _LEAST)
    wide = min(_SUBJECT, max(_LEAST, room // 2))
    status = screen.paint(f"{line.status.value:<8}", line.status.value)
    subject = clip(printable(subject_of(line)), wide)
    took = f"  {duration(line.took_ns / 1e9):>{_TOOK - 2}}" if timed else ""
    row = f"{step_number(line.step):>5}  {status}  {fact['opcode']:<12}  {subject:<{wide}}{took}"
    return f"{row}  {clip(printable(line.outcome), room - wide)}".rstrip()


def _show_step(screen: Screen, record: RunRecord, number: int, target: str | None) -> None:
    """Show one step; or hand out what it printed, where there is a ``target`` for it."""
    total = record.info.trail.steps
    if not 1 <= number <= total:
        raise InputError(f"the run has no step {number}; its trail has the steps 1 to {total}")
    lines = lines_of_step(record, number - 1)
    event = _event(record, number - 1)
    printed = [output for line in lines if (output := read_output(record, line)) is not None]
    if target is not None:
        _hand_out(screen, number, printed, target)
    elif screen.json:
        screen.data(_for_programs(number - 1, event, lines, printed))
    else:
        _tell_step(screen, number, total, event, lines)
        for output in printed:
            screen.say("", screen.paint(f"  printed, {plural(output.total, 'byte')}", "heading"))
            for line in lines_of(output):
                screen.say(f"  | {line}")


def _event(record: RunRecord, index: int) -> Mapping[str, Any] | None:
    for event in record.result.events if record.result else ():
        if event["step_index"] == index:
            return event
    return None


def _hand_out(screen: Screen, number: int, printed: list[KeptOutput], target: str) -> None:
    if not printed:
        raise InputError(f"step {number} printed nothing; only tests and spells with a command do")
    if target == PIPE and sys.stdout.isatty():
        raise OutputError(
            "what a program printed could act on this terminal; write it to a file with -o FILE, or pipe it"
        )
    write_file(target, b"".join(output.head + output.tail for output in printed))
    for output in printed:
        if output.missing:
            where = f"after byte {len(output.head):,} of them"
            screen.note(f"{plural(output.missing, 'byte')} of {output.total:,} were not kept, {where}")


def _for_programs(
    index: int, event: Mapping[str, Any] | None, lines: list[CallLine], printed: list[KeptOutput]
) -> dict[str, Any]:
    """The step for programs: ``index`` is the record's, from 0."""
    return {
        "index": index,
        "event": event,
        "calls": [{"fact": line.fact, "meta": line.meta, "digest": line.digest} for line in lines],
        "outputs": [
            {
                "bytes": output.total,
                "missing": output.missing,
                "cut_at": len(output.head) if output.missing else None,
                "text": (output.head + output.tail).decode("utf-8", "replace"),
            }
            for output in printed
        ],
    }


def _tell_step(
    screen: Screen, number: int, total: int, event: Mapping[str, Any] | None, lines: list[CallLine]
) -> None:
    fact = lines[-1].fact if lines else {}
    status = str(fact.get("status", event["status"] if event else "not reached"))
    opcode = str(fact.get("opcode", event["opcode_name"] if event else ""))
    screen.say(f"{screen.paint(status.upper(), status)}  step {number} of {total}  {opcode}".rstrip(), "")
    arguments = event["operands"] if event else fact.get("arguments", {})
    details = event["details"] if event else fact.get("details", {})
    reason = str(event["result"]) if event else lines[-1].outcome if lines else "the run ended before it"
    known = dict(details)
    rule = str(known.pop("rule", ""))
    screen.say(
        *pairs([(name, text_of(value)) for name, value in arguments.items()], width=screen.width),
        *pairs([("rule", rule), ("outcome", reason), *_times(lines)], width=screen.width),
    )
    if known:
        facts = [(pair.name, pair.value) for pair in pairs_of(known)]
        screen.say("", *pairs(facts, width=screen.width))


def _times(lines: list[CallLine]) -> Iterator[tuple[str, str]]:
    for line in lines:
        yield "called at", str(line.meta.get("at", ""))
        yield "took", duration(line.took_ns / 1e9)

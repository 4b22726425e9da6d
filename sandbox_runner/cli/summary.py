"""The block that ends a run and begins ``show``: what came of it, what went wrong, what proves it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from sandbox_runner.cli.left_out import left_out_rows
from sandbox_runner.cli.screen import Screen
from sandbox_runner.cli.steps import Trouble, troubles_of
from sandbox_runner.cli.text import clip, duration, pairs, plural, printable, size
from sandbox_runner.record import RunRecord, StepCounts

__all__ = ["next_commands", "show_record", "summary_of"]

_LISTED = 12  # steps named one by one; the log has all
_REASON = 160
_SIZES = ("memory", "workspace", "tmp")
_COUNTED = ("ok", "failed", "refused", "skipped")
_HEADINGS = {
    "success": "every step ok",
    "failed": "some steps failed",
    "refused": "refused by the policy",
    "error": "the sandbox failed; this says nothing about the trail",
    "interrupted": "interrupted; the record ends where the run did",
    "dry-run": "nothing was performed",
}


def summary_of(record: RunRecord) -> dict[str, Any]:
    """The keys of ``run --json``; those of a run that was never sealed are null where nothing is known."""
    result = record.result
    steps = StepCounts(total=record.info.trail.steps) if result is None else result.steps
    return {
        "run_id": record.run_id,
        "record": str(record.path),
        "trail_sha256": record.info.trail.sha256,
        "status": record.state.value if result is None else result.status.value,
        "exit_code": None if result is None else result.exit_code,
        "steps": steps.model_dump(),
        "chain_head": None if result is None else result.chain_head,
        "meta_trail_sha256": None if result is None else result.meta_trail_sha256,
        "snapshot": None if result is None else result.snapshot,
        "left_out": [group.model_dump(mode="json") for group in record.info.left_out],
        "runtime": record.info.runtime,
        "duration_s": None if result is None else result.duration_s,
        "error": None if result is None else result.error,
    }


def show_record(screen: Screen, record: RunRecord) -> None:
    """Print the block."""
    summary, result = summary_of(record), record.result
    status = summary["status"]
    name = record.info.trail.source or record.info.trail.trail_id or summary["trail_sha256"]
    took = f" in {duration(summary['duration_s'])}" if summary["duration_s"] else ""
    screen.say(
        f"{screen.paint(status.upper(), status)}  {printable(name)}: {_HEADINGS.get(status, status)}{took}",
        "",
    )
    screen.say(f"  {screen.paint('steps', 'dim')}  {_count_words(screen, summary['steps'])}")
    if result is not None:
        screen.say(*_trouble_lines(screen, troubles_of(result.events, result.violations)))
        if result.error:
            screen.say("", f"  {screen.paint('error', 'error')}  {printable(result.error)}")
    proof = (
        ("meta-trail", summary["meta_trail_sha256"]),
        ("chain head", summary["chain_head"]),
        ("snapshot", summary["snapshot"]),
        ("runtime", summary["runtime"]),
        ("limited to", _clipped(record.info.options)),
        *left_out_rows((group.reason, group.count, group.first) for group in record.info.left_out),
        ("record", summary["record"]),
    )
    screen.say("", *pairs((label, value or "") for label, value in proof))


def _clipped(options: Mapping[str, Any]) -> str:
    """What the machine could not give of the policy's limits; a record may come from anywhere."""
    clipped = options.get("clipped")
    found = clipped.items() if isinstance(clipped, dict) else ()
    said = [
        f"{name} {_amount(name, limits.get('given'))} of {_amount(name, limits.get('asked'))}"
        for name, limits in found
        if isinstance(limits, dict)
    ]
    return f"{', '.join(said)}, what this machine has" if said else ""


def _amount(name: str, value: object) -> str:
    return size(value) if name in _SIZES and type(value) is int else f"{value!s:.40}"


def _count_words(screen: Screen, steps: Mapping[str, int]) -> str:
    """``14: 12 ok, 1 failed, 1 refused``; what did not occur is not said."""
    said = [
        screen.paint(f"{steps.get(status, 0):,} {status}", status)
        for status in _COUNTED
        if steps.get(status, 0)
    ]
    return f"{steps.get('total', 0):,}" + (f": {', '.join(said)}" if said else "")


def _trouble_lines(screen: Screen, troubles: Iterable[Trouble]) -> list[str]:
    """One line for each step that failed or was refused, at most a dozen, and how many more there are."""
    all_of_them = iter(troubles)
    shown = list(islice(all_of_them, _LISTED))
    rest = sum(1 for _ in all_of_them)
    lines = [_trouble_line(screen, trouble, shown) for trouble in shown]
    return ["", *lines, *([f"  … and {plural(rest, 'more step')}"] if rest else [])] if lines else []


def _trouble_line(screen: Screen, trouble: Trouble, shown: Sequence[Trouble]) -> str:
    width = max(len(other.opcode) for other in shown)
    where = f"{trouble.step:>5}" if trouble.step >= 0 else "trail"
    status = screen.paint(f"{trouble.status:<7}", trouble.status)
    subject = f" {clip(printable(trouble.subject), 48)}" if trouble.subject else ""
    rule = f" [{printable(trouble.rule)}]" if trouble.rule else ""
    reason = clip(printable(trouble.reason), _REASON)
    return f"  {where}  {status}  {trouble.opcode:<{width}}{subject}{rule}  {reason}"


def next_commands(record: RunRecord) -> list[str]:
    """What a person does now; a record that lies elsewhere than the tenant's runs is named by its path."""
    at_home = record.path.name == record.run_id and record.path.parent.name == "runs"
    run = record.run_id if at_home else str(record.path)
    commands = [
        ("sandbox-runner log", run, "every call"),
        ("sandbox-runner verify", run, "is the record whole?"),
    ]
    if record.result is not None and record.result.snapshot and record.info.base_snapshot:
        commands.append(("sandbox-runner snapshot apply", f"{run} DIR", "take the changes over"))
    commands.append(("sandbox-runner report", f"{run} -o run.html", "one page to pass on"))
    lines = [(f"{command} {printable(rest)}", why) for command, rest, why in commands]
    width = max(len(command) for command, _ in lines)
    return [f"  {command:<{width}}  # {why}" for command, why in lines]

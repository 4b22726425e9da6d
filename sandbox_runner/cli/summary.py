"""The block that ends a run and begins ``show``: what came of it, what went wrong, what proves it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from sandbox_runner.cli.omissions import left_out_rows
from sandbox_runner.cli.printed import tail_of, tails_of
from sandbox_runner.cli.screen import Screen
from sandbox_runner.cli.steps import Trouble, subject_of_event, troubles_of
from sandbox_runner.cli.text import clip, duration, pairs, plural, printable, size, wrapped
from sandbox_runner.errors import VerificationError
from sandbox_runner.record import RunRecord, StepCounts
from sandbox_runner.trail import step_number

__all__ = ["emptiness", "name_of", "next_commands", "show_record", "summary_of"]

_LISTED = 12  # steps named one by one; the log has all
_REASON = 160
_OUTPUTS = 3  # failed steps whose output is shown
_BAR = "  | "
_LOOKING = ("FILE_READ", "FILE_EDIT", "SEARCH_CODE", "TEST_RUN", "GIT_COMMIT")  # of no use in nothing
_PROGRAMS = frozenset({"SPELL_CAST", "TEST_RUN"})  # operations that print
_FAILING = 1_000  # steps that --json names; how many there are is in its counts
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
        "failing": [] if result is None else _failing(troubles_of(result.events, result.violations)),
        "chain_head": None if result is None else result.chain_head,
        "meta_trail_sha256": None if result is None else result.meta_trail_sha256,
        "snapshot": None if result is None else result.snapshot,
        "left_out": [group.model_dump(mode="json") for group in record.info.left_out],
        "runtime": record.info.runtime,
        "duration_s": None if result is None else result.duration_s,
        "error": None if result is None else result.error,
    }


def _failing(troubles: Iterable[Trouble]) -> list[dict[str, Any]]:
    """The steps that failed or were refused, for programs: ``index`` is the record's, from 0."""
    return [
        {
            "index": trouble.step if trouble.step >= 0 else None,
            "opcode": trouble.opcode,
            "subject": trouble.subject,
            "status": trouble.status,
            "rule": trouble.rule or None,
            "reason": trouble.reason,
        }
        for trouble in islice(troubles, _FAILING)
    ]


def show_record(screen: Screen, record: RunRecord, *, more: Iterable[tuple[str, str]] = ()) -> None:
    """Print the block: what came of it and why, the facts, and last the digests that prove it.

    Args:
        screen: where to.
        record: the run.
        more: facts to tell beside the block's own.
    """
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
        _show_outputs(screen, record)
        if result.error:
            told = f"  {screen.paint('error', 'error')}  {printable(result.error)}"
            screen.say("", *wrapped(told, screen.width, indent=" " * 9))
    facts = (
        ("runtime", summary["runtime"] or ""),
        ("limited to", _clipped(record.info.options)),
        ("workspace", emptiness(record)),
        *more,
        *left_out_rows((group.reason, group.count, group.first) for group in record.info.left_out),
        ("record", summary["record"]),
    )
    info = record.info
    proof = (
        ("trail", info.trail.sha256 if more else ""),
        ("policy", info.policy.sha256 if more else ""),
        ("image", info.image.id.removeprefix("sha256:") if info.image and more else ""),
        ("seccomp", (info.seccomp_sha256 or "") if more else ""),
        ("base", (info.base_snapshot or "") if more else ""),
        ("snapshot", summary["snapshot"] or ""),
        ("chain head", summary["chain_head"] or ""),
        ("meta-trail", summary["meta_trail_sha256"] or ""),
    )
    screen.say("", *pairs(facts, width=screen.width), "", *pairs(proof))


def _show_outputs(screen: Screen, record: RunRecord) -> None:
    """Of the first failed steps that printed something the end of it, and the command that shows all."""
    events = record.result.events if record.result else ()
    failed = (event for event in events if event["status"] == "failed" and event["opcode_name"] in _PROGRAMS)
    named = {
        event["step_index"]: f"{event['opcode_name']} {clip(printable(subject_of_event(event)), 48)}"
        for event in islice(failed, _FAILING)
    }
    width = None if screen.width is None else screen.width - len(_BAR)
    try:
        for step, output in tails_of(record, named, _OUTPUTS):
            screen.say("", f"  step {step_number(step)}, {named[step]}, printed at its end:")
            screen.say(*(f"{_BAR}{line}" for line in tail_of(output, width=width)))
            screen.say(f"  all of it: sandbox-runner log {printable(name_of(record))} {step_number(step)}")
    except VerificationError as error:
        screen.say("", f"  what failed steps printed cannot be shown: {printable(str(error))}")


def emptiness(record: RunRecord) -> str:
    """That a trail which looks at files found none, where nobody named a workspace."""
    needs = record.result.facts.get("needs") if record.result else None
    opcodes = needs.get("opcodes") if isinstance(needs, dict) else None
    looking = [name for name in _LOOKING if name in opcodes] if isinstance(opcodes, dict) else []
    if record.info.base_snapshot or record.info.options.get("bind") or not looking:
        return ""
    return f"began empty, and the trail has {', '.join(looking)}; give it a directory with -w DIR"


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
    rest = steps.get("total", 0) - sum(steps.get(status, 0) for status in _COUNTED)
    if rest > 0 and said:
        said.append(f"{rest:,} not reached")
    return f"{steps.get('total', 0):,}" + (f": {', '.join(said)}" if said else "")


def _trouble_lines(screen: Screen, troubles: Iterable[Trouble]) -> list[str]:
    """One line for each step that failed or was refused, at most a dozen, and how many more there are."""
    all_of_them = iter(troubles)
    shown = list(islice(all_of_them, _LISTED))
    rest = sum(1 for _ in all_of_them)
    lines = [line for trouble in shown for line in _trouble_line(screen, trouble, shown)]
    return ["", *lines, *([f"  … and {plural(rest, 'more step')}"] if rest else [])] if lines else []


def _trouble_line(screen: Screen, trouble: Trouble, shown: Sequence[Trouble]) -> list[str]:
    width = max(len(other.opcode) for other in shown)
    where = f"{step_number(trouble.step):>5}" if trouble.step >= 0 else "trail"
    about = f" {clip(printable(trouble.subject), 48)}" if trouble.subject else ""
    rule = f" [{printable(trouble.rule)}]" if trouble.rule else ""
    reason = clip(printable(trouble.reason), _REASON)
    line = f"  {where}  {trouble.status:<7}  {trouble.opcode:<{width}}{about}{rule}  {reason}"
    first, *rest = wrapped(line, screen.width, indent=" " * 18)
    painted = screen.paint(f"{trouble.status:<7}", trouble.status)
    return [first.replace(f"{trouble.status:<7}", painted, 1), *rest]


def name_of(record: RunRecord) -> str:
    """What a command takes for RUN: the id; of a record that lies elsewhere than the tenant's, its path."""
    at_home = record.path.name == record.run_id and record.path.parent.name == "runs"
    return record.run_id if at_home else str(record.path)


def next_commands(record: RunRecord, *, columns: int | None = None) -> list[str]:
    """What a person does now; where a line has fewer ``columns``, without saying what for."""
    run = name_of(record)
    commands = [
        ("sandbox-runner log", run, "every call"),
        ("sandbox-runner verify", run, "is the record whole?"),
    ]
    if record.result is not None and record.result.snapshot and record.info.base_snapshot:
        commands.append(("sandbox-runner snapshot apply", f"{run} DIR", "take the changes over"))
    commands.append(("sandbox-runner report", f"{run} -o run.html", "one page to pass on"))
    lines = [(f"{command} {printable(rest)}", why) for command, rest, why in commands]
    width = max(len(command) for command, _ in lines)
    full = [f"  {command:<{width}}  # {why}" for command, why in lines]
    fits = columns is None or max(map(len, full)) <= columns
    return full if fits else [f"  {command}" for command, _ in lines]

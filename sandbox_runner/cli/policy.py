"""``sandbox-runner policy``: what policies there are, what they say, and what they would decide."""

from __future__ import annotations

from json import loads as parse_json
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from sandbox_runner.cli.commands import CommandGroup
from sandbox_runner.cli.screen import Screen
from sandbox_runner.cli.session import settings
from sandbox_runner.cli.text import columns, plural, printable
from sandbox_runner.cli.usage import UsageError, nearest
from sandbox_runner.errors import ExitCode, InputError, TrailError, VerificationError
from sandbox_runner.policy import SHIPPED, Policy, Violation, what_if
from sandbox_runner.policy import explain as judge
from sandbox_runner.record import list_runs
from sandbox_runner.trail import OPERATIONS, load, step_number

__all__ = ["app"]

_GIVE_WAY = ((6, 0), (1, 0), (4, 0), (5, 0), (3, 12), (2, 12), (3, 0), (2, 0))  # on a narrow terminal
app = typer.Typer(cls=CommandGroup, add_completion=False, rich_markup_mode=None, no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]


@app.command("list")
def list_(json: Json = False) -> None:
    """List the policies that are shipped."""
    screen = Screen(json=json)
    policies = [(name, Policy.load(name)) for name in SHIPPED]
    if json:
        screen.data(
            [{"name": name, "sha256": policy.sha256, "unsafe": policy.unsafe} for name, policy in policies]
        )
        return
    rows = [(name, *_portrait(policy), policy.sha256[:12]) for name, policy in policies]
    header = ("POLICY", "OPERATIONS", "WRITES", "TESTS", "PUSH", "ON VIOLATION", "SHA256")
    screen.say(*columns(rows, header=header, width=screen.width, give_way=_GIVE_WAY))


@app.command()
def show(
    policy: Annotated[str, typer.Argument(metavar="POLICY", help="A shipped policy or a file.")],
    json: Json = False,
) -> None:
    """Show a policy with every default filled in: exactly what a run under it obeys."""
    loaded = Policy.load(policy)
    screen = Screen(json=json)
    document = parse_json(loaded.canonical())
    if json:
        screen.data({"sha256": loaded.sha256, "policy": document})
        return
    screen.say(f"# {printable(policy)}, sha256 {loaded.sha256}")
    screen.say(*yaml.safe_dump(document, sort_keys=False, allow_unicode=False).splitlines())


@app.command(epilog="Exit: 0 allowed, 3 refused. With --runs: 0 nothing would be refused, 3 something would.")
def explain(
    context: typer.Context,
    *,
    operation: Annotated[
        str | None, typer.Argument(metavar="OPCODE", help="An operation, e.g. FILE_WRITE.")
    ] = None,
    operands: Annotated[list[str] | None, typer.Argument(metavar="OPERAND", help="Its operands.")] = None,
    policy: Annotated[
        str | None, typer.Option("--policy", "-p", metavar="POLICY", help="Name or file.")
    ] = None,
    runs: Annotated[
        Path | None,
        typer.Option("--runs", metavar="DIR", help="Judge the past runs in this directory instead."),
    ] = None,
    json: Json = False,
) -> int:
    """Say which rule decides about an operation and why; or what a policy would have refused in past runs."""
    if (operation is None) == (runs is None):
        raise UsageError(
            "sandbox-runner policy explain takes an operation with its operands, or --runs DIR",
            hint="for example: sandbox-runner policy explain FILE_WRITE src/a.py -p strict",
        )
    chosen = Policy.load(settings(context, policy=policy).policy)
    screen = Screen(json=json)
    if runs is not None:
        return _explain_runs(screen, chosen, runs)
    return _explain_step(screen, chosen, str(operation), operands or [])


def _explain_step(screen: Screen, policy: Policy, operation: str, operands: list[str]) -> int:
    names = {opcode.name: opcode for opcode in OPERATIONS}
    opcode = names.get(operation.upper())
    if opcode is None:
        raise UsageError(
            f"'{operation}' is no operation{nearest(operation.upper(), names)}", hint=", ".join(names)
        )
    try:
        found = judge(policy, opcode, *operands)
    except ValueError as error:
        raise UsageError(f"{opcode.name} with these operands cannot be judged: {error}") from None
    if screen.json:
        screen.data({**found.to_json(), "policy": policy.name, "policy_sha256": policy.sha256})
    else:
        allowed = found.decision.allowed
        status = screen.paint("allowed" if allowed else "refused", "ok" if allowed else "refused")
        screen.say(f"{status} by {found.decision.rule} of {policy.name}: {printable(found.decision.message)}")
        if allowed:
            limits = (f"{rule} {limit:,}" for rule, limit in found.limits.items())
            screen.say(f"also counted against {', '.join(limits)}")
    return ExitCode.OK if found.decision.allowed else ExitCode.REFUSED


def _explain_runs(screen: Screen, policy: Policy, runs: Path) -> int:
    if not runs.is_dir():
        raise InputError(f"there is no directory {runs}; give one that holds run records")
    refused = judged = 0
    for record in list_runs(runs):
        if isinstance(record, VerificationError):
            screen.note(f"left out: {printable(str(record))}")
            continue
        try:
            violations = what_if(policy, load(record.trail()).steps)
        except (TrailError, VerificationError) as error:
            screen.note(f"left out: {record.run_id}: {printable(str(error))}")
            continue
        judged += 1
        refused += bool(violations)
        _tell_run(screen, record.run_id, violations)
    screen.note(f"{policy.name} would refuse something in {refused} of {plural(judged, 'run')}")
    return ExitCode.REFUSED if refused else ExitCode.OK


def _tell_run(screen: Screen, run_id: str, violations: tuple[Violation, ...]) -> None:
    if screen.json:
        screen.data({"run_id": run_id, "violations": [violation.to_json() for violation in violations]})
        return
    if not violations:
        screen.say(f"{screen.paint('ok', 'ok')}       {run_id}")
        return
    screen.say(f"{screen.paint('refused', 'refused')}  {run_id}  {plural(len(violations), 'step')}")
    rows = [(f"{step_number(item.step)}", item.opcode, f"[{item.rule}]", item.message) for item in violations]
    width = None if screen.width is None else screen.width - 4
    screen.say(*(f"    {line}" for line in columns(rows, right={0}, width=width, wrap=True)))


def _portrait(policy: Policy) -> tuple[str, str, str, str, str]:
    """What tells one policy from another at a glance."""
    return (
        plural(len(policy.opcodes), "operation"),
        _patterns(policy.paths.write),
        _patterns(policy.tests.paths),
        policy.git.push,
        policy.on_violation,
    )


def _patterns(clauses: Any) -> str:
    return (
        " & ".join(" ".join(clause) if isinstance(clause, tuple) else clause for clause in clauses)
        or "nothing"
    )

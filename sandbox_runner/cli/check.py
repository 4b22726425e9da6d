"""``sandbox-runner check``: admission alone. Nothing runs and no Docker is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from sandbox_runner.cli.screen import Screen
from sandbox_runner.cli.session import settings
from sandbox_runner.cli.text import clip, columns, pairs, plural, printable, size
from sandbox_runner.errors import ExitCode
from sandbox_runner.policy import Admission, Policy, admit
from sandbox_runner.runner.inputs import read_input
from sandbox_runner.trail import step_number

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_LISTED = 6
_LISTS = (
    "reads",
    "writes",
    "searches",
    "tests",
    "repositories",
    "pushes",
    "bottles",
    "spells",
    "rooms",
    "capabilities",
)


@app.command(epilog="Exit: 0 admitted, 2 no sound trail or policy, 3 refused.")
def check(
    context: typer.Context,
    trail: Annotated[Path, typer.Argument(metavar="TRAIL", help="A trail or a worklog.")],
    policy: Annotated[
        str | None, typer.Option("--policy", "-p", metavar="POLICY", help="Name or file.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The verdict as one JSON object.")] = False,
) -> int:
    """Say whether a policy admits a trail, every violation at once, and what the trail needs."""
    chosen = Policy.load(settings(context, policy=policy).policy)
    admission = admit(read_input(trail).trail, chosen)
    screen = Screen(json=json)
    if json:
        screen.data(admission.to_json())
    else:
        _tell(screen, trail.name, admission)
    return ExitCode.OK if admission.admitted else ExitCode.REFUSED


def _tell(screen: Screen, name: str, admission: Admission) -> None:
    verdict, found = ("ADMITTED", "success") if admission.admitted else ("REFUSED", "refused")
    count = plural(len(admission.violations), "violation")
    by = f"{printable(name)} by {admission.policy} (sha256 {admission.policy_sha256[:12]})"
    screen.say(f"{screen.paint(verdict, found)}  {by}" + ("" if admission.admitted else f": {count}"))
    if admission.violations:
        rows = [
            (
                f"{step_number(item.step)}" if item.step >= 0 else "run",
                item.opcode,
                f"[{item.rule}]",
                item.message,
            )
            for item in admission.violations
        ]
        width = None if screen.width is None else screen.width - 2
        screen.say("", *(f"  {line}" for line in columns(rows, right={0}, width=width, wrap=True)))
    screen.say("", *pairs(_needs(admission.manifest.to_json()), width=screen.width))


def _needs(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    operations = ", ".join(f"{count} {name}" for name, count in manifest["opcodes"].items())
    listed = [(name, _some(manifest[name])) for name in _LISTS]
    return [("needs", operations), *listed, ("writes in all", size(manifest["write_bytes"]))]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return ", ".join(clip(name, 60) for name in names[:_LISTED]) + more

"""``sandbox-runner show``: one run on one screen."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from sandbox_runner.cli.locate import find_run
from sandbox_runner.cli.screen import Screen
from sandbox_runner.cli.session import settings
from sandbox_runner.cli.summary import next_commands, show_record
from sandbox_runner.cli.text import duration, plural
from sandbox_runner.record import RunRecord
from sandbox_runner.runner.home import Home
from sandbox_runner.trail import step_number

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def show(
    context: typer.Context,
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run id, its beginning, `last`, or a directory.")
    ],
    json: Annotated[bool, typer.Option("--json", help="run.json and result.json as one object.")] = False,
) -> None:
    """Show what a run was asked, what came of it, and what proves it."""
    chosen = settings(context)
    record = find_run(run, Home(chosen.home).runs(chosen.tenant))
    screen = Screen(json=json)
    if json:
        told: dict[str, Any] = {"state": record.state.value, "run": record.info.model_dump(mode="json")}
        if record.result is None:
            screen.data({**told, "result": None})
            return
        events, place = record.result.events, secrets.token_hex(16)
        deque(events, maxlen=0)  # a malformed one is told before anything is written
        result = {
            name: place if name == "events" else value
            for name, value in record.result.model_copy(update={"events": ()}).model_dump(mode="json").items()
        }
        screen.data_with({**told, "result": result}, place, events)
        return
    show_record(screen, record, more=_request(record))
    screen.say("", *next_commands(record, columns=screen.width))


def _request(record: RunRecord) -> list[tuple[str, str]]:
    """What was asked and where it ran."""
    info, result = record.info, record.result
    trail = f"version {info.trail.version}, {plural(info.trail.steps, 'step')}"
    facts = [
        ("started", info.created_at),
        ("trail", trail),
        ("agent", info.trail.agent or ""),
        ("policy", info.policy.name),
        ("image", info.image.reference if info.image else ""),
        ("packages", ", ".join(info.image.packages) if info.image else ""),
        ("principal", info.principal),
        ("tenant", info.tenant),
        ("limits", ", ".join(f"{name} {value}" for name, value in sorted(info.limits.items()))),
        ("withheld", _withheld(info.options)),
        ("versions", ", ".join(f"{name} {value}" for name, value in sorted(info.versions.items()))),
    ]
    if result is not None:
        facts += [
            ("verdicts", result.verdict_source or ""),
            ("artifacts", ", ".join(artifact.path for artifact in result.artifacts[:8])),
            ("cleanup", _cleanup(result.cleanup)),
        ]
    return [*facts, ("in doubt", _in_doubt(record))]


def _withheld(options: Mapping[str, Any]) -> str:
    """What the policy allowed and the trail did not need; a record may come from anywhere."""
    privileges = options.get("privileges")
    withheld = privileges.get("withheld") if isinstance(privileges, dict) else None
    return "; ".join(map(str, withheld)) if isinstance(withheld, list) else ""


def _in_doubt(record: RunRecord) -> str:
    """Calls that were sent and never answered: they may have happened."""
    calls = record.in_doubt()
    if not calls:
        return ""
    first = calls[0]
    where = f"{first.method} of step {step_number(first.step)}"
    return f"{plural(len(calls), 'call')} sent and never answered, first {where}"


def _cleanup(receipt: dict[str, Any] | None) -> str:
    """What became of the container, in a few words where all is well, in full where it is not."""
    if receipt is None:
        return ""
    if receipt.get("container_gone") and receipt.get("volumes_gone"):
        return f"container and volumes are gone, after {duration(float(receipt.get('seconds', 0)))}"
    return ", ".join(f"{name} {value}" for name, value in sorted(receipt.items()))

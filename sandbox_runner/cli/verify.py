"""``sandbox-runner verify``: is this record whole, untouched and signed; does a replay come to the same?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sandbox_runner.cli.locate import find_run
from sandbox_runner.cli.progress import watching
from sandbox_runner.cli.screen import Screen
from sandbox_runner.cli.session import settings
from sandbox_runner.cli.text import printable
from sandbox_runner.errors import ExitCode
from sandbox_runner.record import (
    Check,
    Divergence,
    RunRecord,
    SnapshotCheck,
    load_public_key,
    trusted_keys,
    verify_record,
)
from sandbox_runner.runner.again import replay_record, snapshot_check
from sandbox_runner.runner.home import Home
from sandbox_runner.trail import step_number

__all__ = ["app", "snapshot_check_for"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(epilog="Exit: 0 everything holds, 5 something does not.")
def verify(
    context: typer.Context,
    *,
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run id, its beginning, `last`, or a directory.")
    ],
    replay: Annotated[
        bool, typer.Option("--replay", help="Replay it in a fresh sandbox and compare.")
    ] = False,
    key: Annotated[
        list[Path] | None,
        typer.Option("--key", metavar="PUB", help="Accept this public key too; repeatable."),
    ] = None,
    runtime: Annotated[
        str | None, typer.Option("--runtime", metavar="R", help="Runtime of the replay.")
    ] = None,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Accept a record that nobody signed.")] = False,
    json: Annotated[bool, typer.Option("--json", help="The verdict as one JSON object.")] = False,
) -> int:
    """Verify a run record offline, without Docker; with --replay, also by doing it all again."""
    chosen = settings(context, runtime=runtime)
    home = Home(chosen.home)
    record = find_run(run, home.runs(chosen.tenant))
    extra = [load_public_key(path) for path in (*chosen.trusted_keys, *(key or ()))]
    checks = verify_record(
        record.path,
        trusted=trusted_keys(home.keys, extra),
        snapshot_check=snapshot_check_for(record, home, chosen.tenant),
        require_signature=not unsigned,
    )
    divergence: Divergence | None = None
    if replay and all(check.ok for check in checks):
        with watching(1) as tell:
            replayed, divergence = replay_record(
                record.path, home=home, runtime=chosen.runtime, on_progress=tell
            )
        checks = [*checks, *replayed]
    screen = Screen(json=json)
    if json:
        screen.data(_document(checks, divergence))
    else:
        _tell(screen, record.run_id, checks, divergence)
    return ExitCode.OK if all(check.ok for check in checks) else ExitCode.NOT_VERIFIED


def snapshot_check_for(record: RunRecord, home: Home, tenant: str) -> SnapshotCheck:
    """Whether the record's snapshots are whole, and its base what it says, where they are here.

    A record that somebody sent may come without its snapshots, or with one of them; one of our own may not.
    """
    store = home.store(tenant)
    if record.path.resolve().parent != home.runs(tenant).resolve():
        named = (record.info.base_snapshot, record.result.snapshot if record.result else None)
        here = {snapshot.digest for snapshot in store.list()}
        absent = [digest for digest in named if digest and digest.removeprefix("sha256:") not in here]
        return snapshot_check(store, absent=absent)
    return snapshot_check(store)


def _document(checks: Sequence[Check], divergence: Divergence | None) -> dict[str, object]:
    return {
        "ok": all(check.ok for check in checks),
        "checks": [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in checks],
        "first_divergence": divergence.to_dict() if divergence else None,
    }


def _tell(screen: Screen, run_id: str, checks: Sequence[Check], divergence: Divergence | None) -> None:
    width = max(len(check.name) for check in checks)
    for check in checks:
        status = screen.paint("ok    ", "ok") if check.ok else screen.paint("FAILED", "failed")
        screen.say(f"{status}  {check.name:<{width}}  {printable(check.detail)}")
    if divergence is not None:
        where = "the record as a whole" if divergence.step is None else f"step {step_number(divergence.step)}"
        screen.say("", f"first divergence: {where}, {printable(divergence.field)}")
        screen.say(f"  recorded  {printable(str(divergence.recorded))}")
        screen.say(f"  replayed  {printable(str(divergence.replayed))}")
    broken = [check.name for check in checks if not check.ok]
    if broken:
        screen.say("", f"{screen.paint('NOT VERIFIED', 'failed')}  {run_id}: {', '.join(broken)}")
    else:
        screen.say("", f"{screen.paint('VERIFIED', 'success')}  {run_id}")

"""``sandbox-runner run``: the main job. Trails in, run records out."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from sandbox_runner.cli.boundary import tell_error
from sandbox_runner.cli.progress import watching
from sandbox_runner.cli.screen import Screen
from sandbox_runner.cli.session import settings
from sandbox_runner.cli.settings import Settings
from sandbox_runner.cli.summary import emptiness, name_of, next_commands, show_record, summary_of
from sandbox_runner.cli.text import columns, duration, plural, printable
from sandbox_runner.cli.usage import UsageError
from sandbox_runner.errors import ExitCode, InterruptedRunError, SandboxRunnerError
from sandbox_runner.fleet import run_many
from sandbox_runner.policy import Policy
from sandbox_runner.record import Log, RunRecord, load_signing_key, people_log
from sandbox_runner.runner.home import Home
from sandbox_runner.runner.progress import OnProgress
from sandbox_runner.runner.runner import Runner

__all__ = ["app", "gravest"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_GRAVITY = (
    ExitCode.INTERRUPTED,
    ExitCode.SANDBOX_FAILED,
    ExitCode.BAD_INPUT,
    ExitCode.REFUSED,
    ExitCode.STEP_FAILED,
)
_UNKNOWN = (
    "run_id",
    "record",
    "trail_sha256",
    "chain_head",
    "meta_trail_sha256",
    "snapshot",
    "left_out",
    "runtime",
)
_NO_STEPS = {"total": 0, "ok": 0, "failed": 0, "refused": 0, "skipped": 0}
_FINE = ("success", "dry-run")
Result = RunRecord | SandboxRunnerError

_BIND = "warning: --bind lets the trail write {} in place; nothing is copied and nothing can be taken back"


@app.command(
    epilog="Exit: 0 every step ok or skipped, 1 a step failed, 2 bad input, 3 refused by policy, "
    "4 the sandbox or Docker failed, 130 interrupted. Of several trails the gravest counts."
)
def run(
    context: typer.Context,
    *,
    trails: Annotated[list[Path], typer.Argument(metavar="TRAIL", help="Trails or worklogs.")],
    workspace: Annotated[
        Path | None,
        typer.Option("--workspace", "-w", metavar="DIR", help="Work on a copy of this directory."),
    ] = None,
    base: Annotated[
        str | None, typer.Option("--from", metavar="SNAPSHOT", help="Work on this snapshot instead.")
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option("--policy", "-p", metavar="POLICY", help="A shipped policy or a policy file."),
    ] = None,
    runtime: Annotated[
        str | None, typer.Option("--runtime", metavar="R", help="auto, runc, runsc or another of Docker's.")
    ] = None,
    image: Annotated[
        str | None, typer.Option("--image", metavar="IMAGE", help="Any image with Python 3.8 or newer.")
    ] = None,
    requirements: Annotated[
        Path | None,
        typer.Option("--requirements", metavar="FILE", help="Packages that the image is to have beside."),
    ] = None,
    fail_fast: Annotated[
        bool | None,
        typer.Option("--fail-fast/--no-fail-fast", help="End at the first failed or refused step."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Admit and list; perform nothing.")] = False,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", metavar="N", min=1, max=256, help="How many trails at once.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Where the records go.")
    ] = None,
    bind: Annotated[
        bool, typer.Option("--bind", help="Work in DIR itself. For trusted trails only.")
    ] = False,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", metavar="PATTERN", help="Do not copy this; repeatable.")
    ] = None,
    gitignore: Annotated[
        bool | None, typer.Option("--gitignore/--no-gitignore", help="Do not copy what .gitignore names.")
    ] = None,
    principal: Annotated[
        str | None, typer.Option("--principal", metavar="NAME", help="In whose name the trail acts.")
    ] = None,
    sign: Annotated[bool | None, typer.Option("--sign/--no-sign", help="Attest the record.")] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="K=V", help="Keep a word in the record; repeatable."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="The private key to sign with.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every call as it happens.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per trail.")] = False,
) -> int:
    """Replay trails in disposable containers and keep a record of each."""
    chosen = settings(
        context,
        policy=policy,
        runtime=runtime,
        image=image,
        requirements=requirements,
        fail_fast=fail_fast,
        jobs=jobs,
        exclude=tuple(exclude) if exclude else None,
        gitignore=gitignore,
        principal=principal,
        sign=sign,
        key=key,
    )
    _check_usage(workspace, base, chosen.principal, bind=bind)
    screen = Screen(json=json)
    if bind:
        screen.note(screen.paint(_BIND.format(printable(str(workspace))), "error", stream=sys.stderr))
    wishes = {
        "workspace": workspace,
        "base": base,
        "bind": bind,
        "fail_fast": chosen.fail_fast,
        "dry_run": dry_run,
        "runs": output,
        "labels": _labels(label or ()),
        "exclude": chosen.exclude,
        "gitignore": chosen.gitignore,
    }
    log = people_log(level=logging.DEBUG) if verbose else None
    return _run_all(screen, chosen, trails, wishes, log)


def _check_usage(workspace: Path | None, base: str | None, principal: str | None, *, bind: bool) -> None:
    if workspace is not None and base is not None:
        raise UsageError("sandbox-runner run takes --workspace DIR or --from SNAPSHOT, not both")
    if principal is not None and not _is_text(principal):
        raise UsageError("sandbox-runner run --principal takes a name in UTF-8")
    if bind and workspace is None:
        raise UsageError("sandbox-runner run --bind needs the directory to work in: --workspace DIR")


def _is_text(name: str) -> bool:
    """A word of the command line that is not UTF-8 carries its bytes as surrogates."""
    return not any(0xD800 <= ord(char) < 0xE000 for char in name)


def _labels(words: Iterable[str]) -> dict[str, str]:
    labels = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise UsageError(f"sandbox-runner run --label takes NAME=VALUE, not '{word}'")
        labels[name] = value
    return labels


def _run_all(
    screen: Screen, chosen: Settings, trails: Sequence[Path], wishes: Mapping[str, Any], log: Log | None
) -> int:
    """Run every trail; programs are told at once, people when the bars are gone."""
    codes: list[int] = []
    done: list[tuple[Path, Result]] = []
    began = time.monotonic()
    # Bars and JSON, or bars and a log, on one terminal would overwrite each other.
    bars = log is None and not (screen.json and sys.stdout.isatty())
    with watching(len(trails), bars=bars) as tell:
        for trail, result in _results(chosen, trails, wishes, tell, log):
            codes.append(_code_of(result))
            if screen.json:
                _report(screen, trail, result)
            else:
                done.append((trail, result))
    for number, (trail, result) in enumerate(done):
        if number:
            with contextlib.suppress(BrokenPipeError):
                screen.say("")
        _report(screen, trail, result)
    if len(done) > 1:
        with contextlib.suppress(BrokenPipeError):
            _total(screen, done, time.monotonic() - began)
    return gravest(codes)


def _total(screen: Screen, done: Sequence[tuple[Path, Result]], seconds: float) -> None:
    """One line for all runs, and which of them did not succeed."""
    ended = [(_status_of(result), trail, result) for trail, result in done]
    counts = Counter(status for status, _, _ in ended)
    said = ", ".join(screen.paint(f"{count:,} {status}", status) for status, count in counts.most_common())
    screen.say("", f"{plural(len(done), 'trail')} in {duration(seconds)}: {said}")
    rows = [
        (status, printable(str(trail)), _failed_words(result))
        for status, trail, result in ended
        if status not in _FINE
    ]
    width = None if screen.width is None else screen.width - 2
    for row, line in zip(rows, columns(rows, width=width, give_way=((2, 16), (1, 12))), strict=True):
        screen.say(f"  {line.replace(row[0], screen.paint(row[0], row[0]), 1)}")


def _status_of(result: Result) -> str:
    if isinstance(result, RunRecord):
        return result.result.status.value if result.result else result.state.value
    return "interrupted" if isinstance(result, InterruptedRunError) else "error"


def _failed_words(result: Result) -> str:
    """Which run it was and how many of its steps went wrong, or why there is none."""
    if not isinstance(result, RunRecord):
        return printable(str(result))
    steps = result.result.steps if result.result else None
    wrong = {"failed": steps.failed, "refused": steps.refused} if steps else {}
    told = ", ".join(f"{count:,} {name}" for name, count in wrong.items() if count)
    return f"{name_of(result)}  {told}".rstrip()


def _results(
    chosen: Settings,
    trails: Sequence[Path],
    wishes: Mapping[str, Any],
    tell: OnProgress,
    log: Log | None,
) -> Iterator[tuple[Path, Result]]:
    """Each trail with what came of it, in the order in which they end."""
    runner = Runner(
        policy=Policy.load(chosen.policy),
        home=Home(chosen.home),
        tenant=chosen.tenant,
        image=chosen.image,
        requirements=chosen.requirements,
        runtime=chosen.runtime,
        principal=chosen.principal,
        sign=chosen.sign,
        key=load_signing_key(chosen.key) if chosen.key else None,
        on_progress=tell,
        log=log,
    )
    if len(trails) == 1:  # in this thread, so that Ctrl-C reaches the run itself
        try:
            yield trails[0], runner.run(trails[0], **wishes)
        except SandboxRunnerError as error:
            yield trails[0], error
        return
    for place, result in run_many(runner, trails, jobs=chosen.jobs, options=wishes):
        yield trails[place], result


def _code_of(result: Result) -> int:
    """The exit code of one trail."""
    if isinstance(result, RunRecord):
        return int(result.result.exit_code) if result.result else int(ExitCode.SANDBOX_FAILED)
    return int(result.exit_code)


def _report(screen: Screen, trail: Path, result: Result) -> None:
    """Tell what came of one trail. A reader that went away ends no run: the boundary remembers it."""
    record = result if isinstance(result, RunRecord) else _closed_record(result)
    with contextlib.suppress(BrokenPipeError):
        if record is not None:
            _show(screen, trail, record)
        elif screen.json and not isinstance(result, RunRecord):
            screen.data(_nothing(trail, result))
    if not isinstance(result, RunRecord):
        tell_error(result, about=trail.name)


def _show(screen: Screen, trail: Path, record: RunRecord) -> None:
    if screen.json:
        screen.data({"trail": str(trail), **summary_of(record)})
        if empty := emptiness(record):
            screen.note(f"{printable(trail.name)}: the workspace {empty}")
    else:
        show_record(screen, record)
        screen.say("", *next_commands(record, columns=screen.width))


def _closed_record(error: SandboxRunnerError) -> RunRecord | None:
    path = error.record if isinstance(error, InterruptedRunError) else None
    return RunRecord.load(path) if path else None


def gravest(codes: Iterable[int]) -> int:
    """The exit code of several runs: what says least about the trails comes first."""
    seen = set(codes)
    return next((int(code) for code in _GRAVITY if code in seen), int(ExitCode.OK))


def _nothing(trail: Path, error: SandboxRunnerError) -> dict[str, Any]:
    """The object of a trail that came to no record."""
    code = int(error.exit_code)
    unknown = dict.fromkeys(_UNKNOWN)
    return {
        "trail": str(trail),
        **unknown,
        "status": "error",
        "exit_code": code,
        "steps": _NO_STEPS,
        "failing": [],
        "duration_s": 0,
        "error": str(error),
    }

"""``sandbox-runner doctor``: can sandboxes run here, how well are they isolated, and what to do where not."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sandbox_runner.cli.screen import Screen
from sandbox_runner.cli.session import settings
from sandbox_runner.cli.settings import Settings
from sandbox_runner.cli.text import printable, size
from sandbox_runner.errors import ExitCode, SandboxRunnerError
from sandbox_runner.runner.home import Home
from sandbox_runner.sandbox.doctor import Check, Health, probe

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_LOOKS = {Health.GOOD: ("ok", "ok"), Health.NOTE: ("note", "skipped"), Health.BAD: ("BAD", "failed")}
_LITTLE_SPACE = 512 * 1024 * 1024  # bytes; a snapshot of a large workspace


@app.command(epilog="Exit: 0 sandboxes can run, 4 they cannot.")
def doctor(
    context: typer.Context,
    image: Annotated[str | None, typer.Option("--image", metavar="IMAGE", help="Check this image.")] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")] = False,
) -> int:
    """Check Docker, its limits, runtimes, image, and the state directory; each problem has a way out."""
    chosen = settings(context, image=image)
    screen = Screen(json=json)
    checks = []
    for check in _checks(chosen):
        checks.append(check)
        if not json:
            _tell(screen, check)  # at once: starting a sandbox takes a moment
    healthy = all(check.health is not Health.BAD for check in checks)
    if json:
        screen.data({"ok": healthy, "checks": [asdict(check) for check in checks]})
    else:
        screen.say(
            "", "sandboxes can run here" if healthy else "sandboxes cannot run here yet; see the hints above"
        )
    return ExitCode.OK if healthy else ExitCode.SANDBOX_FAILED


def _checks(chosen: Settings) -> Iterator[Check]:
    told = f"Python {platform.python_version()} on {platform.system()} {platform.release()}"
    if sys.platform == "linux":
        yield Check("host", Health.GOOD, f"{told}.")
    else:
        yield Check("host", Health.NOTE, f"{told}; only Linux is tested.")
    yield _state(chosen.home)
    yield from probe(image=chosen.image)


def _state(path: Path | None) -> Check:
    """Whether the state directory can be written and has room."""
    try:
        home = Home(path)
        home.runs()
        with tempfile.TemporaryFile(dir=home.path) as probe_file:
            probe_file.write(b"written")
            probe_file.flush()
            os.fsync(probe_file.fileno())
        free = shutil.disk_usage(home.path).free
    except SandboxRunnerError as error:
        return Check("state", Health.BAD, str(error), error.hint)
    except OSError as error:
        hint = "point SANDBOX_RUNNER_HOME at a directory you may write"
        return Check(
            "state", Health.BAD, f"{path or 'The state directory'} cannot be written: {error.strerror}.", hint
        )
    if free < _LITTLE_SPACE:
        hint = "free some space, or remove old snapshots with `sandbox-runner snapshot gc`"
        return Check("state", Health.NOTE, f"{home.path} has only {size(free)} left.", hint)
    return Check("state", Health.GOOD, f"{home.path}, {size(free)} free.")


def _tell(screen: Screen, check: Check) -> None:
    word, look = _LOOKS[check.health]
    screen.say(f"{screen.paint(f'{word:<4}', look)}  {check.name:<14}  {printable(check.detail)}")
    if check.hint and check.health is not Health.GOOD:
        screen.say(f"      {'':<14}  {screen.paint('way out:', 'heading')} {printable(check.hint)}")
    screen.people.flush()

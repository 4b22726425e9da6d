"""What a person may write for a run: a path, a run id, the beginning of one, or ``last``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from sandbox_runner.errors import InputError
from sandbox_runner.record import RunRecord

__all__ = ["LAST", "find_run", "run_ids"]

LAST = "last"
_LIST = "sandbox-runner runs lists them"
_SHOWN = 5


def find_run(reference: str, runs: Path) -> RunRecord:
    """The record that is meant.

    Args:
        reference: what the person wrote.
        runs: the directory of the tenant's runs.

    Raises:
        InputError: nothing, or more than one run, answers to it.
        VerificationError: the record is damaged.
    """
    if os.sep in reference or reference in {".", ".."}:
        return RunRecord.load(reference)
    return RunRecord.load(runs / _name(reference, run_ids(runs), Path(reference)))


def run_ids(runs: Path) -> list[str]:
    """The ids of a tenant's runs, the newest first: an id begins with its time."""
    try:
        names = [entry.name for entry in os.scandir(runs) if not entry.name.startswith(".")]
    except FileNotFoundError:
        return []
    return sorted((name for name in names if (runs / name / "run.json").is_file()), reverse=True)


def _name(reference: str, known: Sequence[str], beside: Path) -> str:
    if reference == LAST:
        if not known:
            raise InputError("there is no run yet", hint="make one: sandbox-runner run TRAIL -w DIR")
        return known[0]
    if reference in known:
        return reference
    fitting = [name for name in known if reference and name.startswith(reference)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        some = ", ".join(fitting[:_SHOWN]) + (", …" if len(fitting) > _SHOWN else "")
        raise InputError(f"{len(fitting)} runs begin with '{reference}': {some}", hint="give more of the id")
    if (beside / "run.json").is_file():
        return str(beside.absolute())  # joined to any directory, an absolute path stays itself
    close = get_close_matches(reference, [LAST, *known], n=1)
    raise InputError(
        f"there is no run '{reference}'" + (f"; did you mean '{close[0]}'?" if close else ""),
        hint=f"give an id, the beginning of one, '{LAST}', or the record's directory; {_LIST}",
    )

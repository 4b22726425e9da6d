"""Where the work began that a base snapshot is the end of: what a commit is measured against."""

from __future__ import annotations

import re
from pathlib import Path

from sandbox_runner.errors import SandboxRunnerError
from sandbox_runner.record import RunRecord
from sandbox_runner.snapshot import Snapshot, SnapshotStore

__all__ = ["origin_of"]

_RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{12}", re.ASCII)
_LINKS = 1_000  # runs in a row, one upon the end of the other


def origin_of(base: Snapshot, store: SnapshotStore, runs: Path) -> str | None:
    """The digest of the tree that a chain of runs began with whose last one left ``base`` behind.

    A snapshot is a run's end where its label names a run whose record says so. Where that record, or the
    snapshot that it names, is not there any more, the chain begins behind it.

    Returns:
        The digest; None where the first run began with an empty workspace.
    """
    seen = {base.digest}
    while len(seen) < _LINKS:
        record = _run_that_left(base, runs)
        if record is None:
            break
        told = record.info.options.get("origin", record.info.base_snapshot)
        if not told or not isinstance(told, str):
            return None
        try:
            before = store.show(told)
        except SandboxRunnerError:
            break
        if before.digest in seen:
            break
        seen.add(before.digest)
        base = before
    return base.digest


def _run_that_left(snapshot: Snapshot, runs: Path) -> RunRecord | None:
    if not _RUN_ID.fullmatch(snapshot.label):
        return None
    try:
        record = RunRecord.load(runs / snapshot.label)
    except SandboxRunnerError:
        return None
    left = None if record.result is None else record.result.snapshot
    return record if left is not None and left.removeprefix("sha256:") == snapshot.digest else None

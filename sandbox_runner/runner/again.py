"""Replaying a record: the same trail, base, policy and image must come to the same facts again."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from sandbox_runner.errors import VerificationError
from sandbox_runner.policy import Policy
from sandbox_runner.record import (
    Check,
    Divergence,
    LeftOutInfo,
    RunInfo,
    RunRecord,
    RunStatus,
    SnapshotCheck,
    compare_records,
)
from sandbox_runner.runner.home import Home
from sandbox_runner.runner.progress import OnProgress, silent
from sandbox_runner.runner.runner import Runner
from sandbox_runner.runner.starting import StartSandbox
from sandbox_runner.runner.summary import check_left_out
from sandbox_runner.sandbox import Sandbox
from sandbox_runner.snapshot import SnapshotStore
from sandbox_runner.trail import step_number

__all__ = ["replay_record", "snapshot_check"]

_REPLAYABLE = frozenset({RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.REFUSED})


def replay_record(
    path: Path,
    *,
    home: Home,
    runtime: str | None = None,
    start: StartSandbox = Sandbox.start,
    on_progress: OnProgress = silent,
) -> tuple[list[Check], Divergence | None]:
    """Replay a sealed record and compare chain head, meta-trail, snapshot and status.

    Args:
        path: the record; its base snapshot must be in the tenant's store, its image on this Engine.
        home: the state directory; the replay's own record is thrown away.
        runtime: replay under another runtime than the recorded one.
        start: where the sandbox comes from.
        on_progress: told what the replay does.

    Returns:
        The check, and the first divergence where there is one.

    Raises:
        VerificationError: the record is of a run that was not replayed to its end.
        SnapshotError, ImageError, SandboxError: there was no replay; that says nothing about the record.
    """
    recorded = RunRecord.load(path)
    info, result = recorded.info, recorded.result
    if result is None or result.status not in _REPLAYABLE or info.image is None:
        told = "unsealed" if result is None else f"of status {result.status}"
        raise VerificationError(f"the record {path} is {told}: there is no replay to repeat")
    runner = Runner(
        policy=Policy.from_mapping(recorded.policy(), source=str(path)),
        home=home,
        tenant=info.tenant,
        image=info.image.id,
        runtime=runtime or info.runtime,
        principal=info.principal,
        sign=False,
        start=start,
        on_progress=on_progress,
    )
    with tempfile.TemporaryDirectory(prefix="sandbox-runner-") as folder:
        replayed = runner.run(
            recorded.trail(),
            base=info.base_snapshot,
            origin=_origin(info),
            fail_fast=info.options.get("fail_fast") is True,
            runs=Path(folder),
        )
        divergence = compare_records(recorded, replayed)
        error = None if replayed.result is None else replayed.result.error
    if divergence is None:
        detail = f"{result.chain_length} calls, the same chain head, meta-trail and snapshot"
    elif error is not None:
        detail = f"the replay broke: {error}"
    else:
        where = "as a whole" if divergence.step is None else f"at step {step_number(divergence.step)}"
        detail = f"the replay diverges {where} in {divergence.field}"
    return [Check("replay", divergence is None, detail)], divergence


def _origin(info: RunInfo) -> str | None:
    """What commits were measured against; the record says so where it was not the base."""
    told = info.options.get("origin", info.base_snapshot)
    return told if isinstance(told, str) else None


def snapshot_check(store: SnapshotStore, *, absent: Collection[str] = ()) -> SnapshotCheck:
    """A check that reads every object of a snapshot; a damaged or missing one is told by the store.

    Args:
        store: where they are.
        absent: digests of snapshots that need not be there.
    """

    def whole(digest: str) -> str:
        if digest in absent:
            return f"{digest} is not in this store, so its blobs were not read"
        snapshot = store.show(digest)
        with store.reading() as reader:
            for entry in reader.walk(bytes.fromhex(snapshot.root)):
                for _ in reader.stream(entry.digest):
                    pass
        return f"{snapshot.entries} entries, {snapshot.size} bytes, every object whole"

    def left_out(digest: str, recorded: Sequence[LeftOutInfo]) -> None:
        if digest not in absent:
            check_left_out(store.show(digest), recorded)

    return SnapshotCheck(whole, left_out)

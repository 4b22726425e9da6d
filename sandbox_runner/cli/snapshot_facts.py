"""What the commands about snapshots share: whose store, which run, and a snapshot's facts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from sandbox_runner.cli.locate import find_run
from sandbox_runner.cli.session import settings
from sandbox_runner.errors import SnapshotError
from sandbox_runner.record import RunRecord
from sandbox_runner.runner.home import Home
from sandbox_runner.snapshot import Snapshot, SnapshotStore, json_path

__all__ = ["Json", "Name", "Run", "captured_at", "ends_of", "facts_of", "run_of", "store_of"]

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]
Name = Annotated[str, typer.Argument(metavar="SNAPSHOT", help="A digest, the beginning of one, or a tag.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="A run id, its beginning, `last`, or a directory.")]


def store_of(context: typer.Context) -> SnapshotStore:
    """The tenant's store."""
    chosen = settings(context)
    return Home(chosen.home).store(chosen.tenant)


def run_of(context: typer.Context, reference: str) -> RunRecord:
    """The run that is meant; see ``locate.find_run``."""
    chosen = settings(context)
    return find_run(reference, Home(chosen.home).runs(chosen.tenant))


def ends_of(record: RunRecord) -> tuple[str, str]:
    """The digests of the snapshots a run began with and left.

    Raises:
        SnapshotError: it has not both.
    """
    base, end = record.info.base_snapshot, record.result.snapshot if record.result else None
    if base is None or end is None:
        missing = "began with no snapshot" if base is None else "left no snapshot"
        raise SnapshotError(f"the run {record.run_id} {missing}, so there is nothing to compare")
    return base, end


def facts_of(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot as JSON has it."""
    return {
        "digest": snapshot.digest,
        "root": snapshot.root,
        "captured_at": captured_at(snapshot),
        "label": snapshot.label,
        "files": snapshot.files,
        "directories": snapshot.directories,
        "links": snapshot.links,
        "size": snapshot.size,
        "stored": snapshot.stored,
        "partial": snapshot.partial,
        "omissions": [{**json_path(item.path), "reason": item.text} for item in snapshot.omissions],
        "notes": [{"text": note.text, "count": note.count} for note in snapshot.notes],
        "tags": list(snapshot.tags),
    }


def captured_at(snapshot: Snapshot) -> str:
    """The time of its last capture, ISO 8601 in UTC."""
    return datetime.fromtimestamp(snapshot.captured_ns / 1e9, UTC).isoformat(timespec="seconds")

"""Evidence: the run directory, the chained log, the attestation, and their verification offline."""

from __future__ import annotations

from sandbox_runner.record.chain import ChainOrigin
from sandbox_runner.record.directory import RunDirectory, new_run_id, now_text
from sandbox_runner.record.documents import (
    Artifact,
    ImageInfo,
    InDoubt,
    PolicyInfo,
    RunInfo,
    RunResult,
    RunState,
    RunStatus,
    StepCounts,
    TrailInfo,
)
from sandbox_runner.record.lines import CallLine
from sandbox_runner.record.logs import Log, people_log, quiet_log
from sandbox_runner.record.recorded_world import RecordedWorld
from sandbox_runner.record.recorder import Recorder
from sandbox_runner.record.run_record import RunRecord, list_runs

__all__ = [
    "Artifact",
    "CallLine",
    "ChainOrigin",
    "ImageInfo",
    "InDoubt",
    "Log",
    "PolicyInfo",
    "RecordedWorld",
    "Recorder",
    "RunDirectory",
    "RunInfo",
    "RunRecord",
    "RunResult",
    "RunState",
    "RunStatus",
    "StepCounts",
    "TrailInfo",
    "list_runs",
    "new_run_id",
    "now_text",
    "people_log",
    "quiet_log",
]

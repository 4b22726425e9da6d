"""Evidence: the run directory, the chained log, the attestation, and their verification offline."""

from __future__ import annotations

from sandbox_runner.record.chain import ChainOrigin
from sandbox_runner.record.compare import Divergence, compare_records, first_divergence
from sandbox_runner.record.directory import RunDirectory, new_run_id, now_text
from sandbox_runner.record.documents import (
    Artifact,
    ImageInfo,
    InDoubt,
    LeftOutInfo,
    PolicyInfo,
    RunInfo,
    RunResult,
    RunState,
    RunStatus,
    StepCounts,
    TrailInfo,
)
from sandbox_runner.record.dsse import Envelope
from sandbox_runner.record.event_forms import forms_of
from sandbox_runner.record.keys import (
    PublicKey,
    SigningKey,
    load_public_key,
    load_signing_key,
    new_signing_key,
    signing_key,
    trust,
    trusted_keys,
)
from sandbox_runner.record.lines import CallLine, subject_in, subject_of
from sandbox_runner.record.logs import Log, people_log, people_processors
from sandbox_runner.record.recorded_world import RecordedWorld
from sandbox_runner.record.recorder import Recorder
from sandbox_runner.record.run_record import RunRecord, list_runs
from sandbox_runner.record.verify import Check, SnapshotCheck, verify_record

__all__ = [
    "Artifact",
    "CallLine",
    "ChainOrigin",
    "Check",
    "Divergence",
    "Envelope",
    "ImageInfo",
    "InDoubt",
    "LeftOutInfo",
    "Log",
    "PolicyInfo",
    "PublicKey",
    "RecordedWorld",
    "Recorder",
    "RunDirectory",
    "RunInfo",
    "RunRecord",
    "RunResult",
    "RunState",
    "RunStatus",
    "SigningKey",
    "SnapshotCheck",
    "StepCounts",
    "TrailInfo",
    "compare_records",
    "first_divergence",
    "forms_of",
    "list_runs",
    "load_public_key",
    "load_signing_key",
    "new_run_id",
    "new_signing_key",
    "now_text",
    "people_log",
    "people_processors",
    "signing_key",
    "subject_in",
    "subject_of",
    "trust",
    "trusted_keys",
    "verify_record",
]

"""The files of a run record, their limits: one place, used by writer, reader and verifier."""

from __future__ import annotations

from typing import Final

__all__ = [
    "ARTIFACTS",
    "ATTESTATION",
    "CALLS",
    "DISPATCHED",
    "LINE_LIMIT",
    "LOCK",
    "META_TRAIL",
    "OPEN_ONLY",
    "POLICY",
    "RESULT",
    "RUN",
    "SIZE_LIMITS",
    "TRAIL",
]

RUN: Final = "run.json"
TRAIL: Final = "trail.flux"
POLICY: Final = "policy.json"
CALLS: Final = "calls.jsonl"
META_TRAIL: Final = "meta-trail.flux"
RESULT: Final = "result.json"
ATTESTATION: Final = "attestation.json"
ARTIFACTS: Final = "artifacts"

DISPATCHED: Final = "dispatched.jsonl"
"""Write-ahead journal of calls sent to the world; exists only while a run is open or after it died."""

LOCK: Final = "run.lock"
"""Locked by the owner as long as it lives; gone once the record is sealed."""

OPEN_ONLY: Final = (DISPATCHED, LOCK)
"""Removed once a record is sealed; one that a crash at the very end leaves behind says nothing any more."""

_MIB: Final = 1024 * 1024
LINE_LIMIT: Final = 1 * _MIB
"""Bytes of one line of ``calls.jsonl``; the recorder stays far below, a reader refuses more."""

SIZE_LIMITS: Final = {
    RUN: 4 * _MIB,
    TRAIL: 256 * _MIB,
    POLICY: 4 * _MIB,
    CALLS: 2048 * _MIB,
    DISPATCHED: 512 * _MIB,
    META_TRAIL: 256 * _MIB,
    RESULT: 1024 * _MIB,
    ATTESTATION: 16 * _MIB,
}
"""Bytes a reader accepts of each file; a larger one is refused before it is read."""

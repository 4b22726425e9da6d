"""The files of a run record, their limits: one place, used by writer, reader and verifier."""

from __future__ import annotations

from typing import Final

__all__ = [
    "ARTIFACTS",
    "ATTESTATION",
    "CALLS",
    "DISPATCHED",
    "DOCUMENTS_MEMORY",
    "DOCUMENT_LIMIT",
    "EVENTS_MEMORY",
    "EVENT_LINE_LIMIT",
    "EVENT_VALUES",
    "FILES_LIMIT",
    "IN_DOUBT_LIMIT",
    "LINE_LIMIT",
    "LINE_VALUES",
    "LOCK",
    "LOG_MEMORY",
    "META_TRAIL",
    "OPEN_ONLY",
    "OUTPUTS_BYTES",
    "OUTPUTS_LIMIT",
    "POLICY",
    "RESULT",
    "RUN",
    "SIZE_LIMITS",
    "TRAIL",
    "VALUE_LIMITS",
    "VERIFY_MEMORY",
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

VALUE_LIMITS: Final = {RUN: 100_000, POLICY: 100_000, RESULT: 2_000_000, ATTESTATION: 400_000}
"""JSON values a reader accepts of each document: what bounds its memory (see ``foreign``). Of ``RESULT``
without its events; eight are enough for a refused step, of which a trail may have a hundred thousand."""

LINE_VALUES: Final = 50_000
"""JSON values of one line of ``calls.jsonl``; an answer of the guest has fewer."""

DOCUMENT_LIMIT: Final = 64 * _MIB
"""Bytes of ``result.json`` without its events."""

EVENT_LINE_LIMIT: Final = 208 * _MIB
"""Bytes of one event in ``result.json``: two texts of 16 MiB, all of it escaped, and its details."""

EVENT_VALUES: Final = 100_000
"""JSON values of one event."""

EVENTS_MEMORY: Final = 1024 * _MIB
"""Memory in bytes of all events that are held at once, to be verified: a million of them in usual length."""

IN_DOUBT_LIMIT: Final = 10_000
"""Calls that may be on their way at once; a window of calls has some dozens."""

DOCUMENTS_MEMORY: Final = 512 * _MIB
"""The most memory in bytes that ``run.json`` and ``result.json`` take when they are read, events aside."""

VERIFY_MEMORY: Final = EVENTS_MEMORY + DOCUMENTS_MEMORY
"""The most memory in bytes that verification takes: the events, and one event or one document at a time."""

LOG_MEMORY: Final = 64 * _MIB
"""The most memory in bytes that reading ``calls.jsonl`` or the journal line by line takes."""

FILES_LIMIT: Final = 20_000
"""Files and folders of a record; of pushes and of outputs there are a thousand at most."""

OUTPUTS_BYTES: Final = 64 * _MIB
"""Bytes of what a run's programs printed that are kept beside the log, all steps together."""

OUTPUTS_LIMIT: Final = 1_000
"""Files of them."""

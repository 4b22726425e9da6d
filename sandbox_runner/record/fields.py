"""Every name that appears in a log line or a run document, defined once."""

from __future__ import annotations

from typing import Final

# the parts of a line of calls.jsonl
FACT: Final = "fact"
META: Final = "meta"
DIGEST: Final = "digest"

# fact: what happened; the same on every machine
SEQ: Final = "seq"
STEP: Final = "step"
OPCODE: Final = "opcode"
METHOD: Final = "method"
ARGUMENTS: Final = "arguments"
STATUS: Final = "status"
OUTCOME: Final = "outcome"
DETAILS: Final = "details"
PREV: Final = "prev"
FACT_KEYS: Final = frozenset({SEQ, STEP, OPCODE, METHOD, ARGUMENTS, STATUS, OUTCOME, DETAILS, PREV})

# a long text inside a fact: its digest, its length in bytes of UTF-8, its beginning
SHA256: Final = "sha256"
BYTES: Final = "bytes"
HEAD: Final = "head"

# meta: what the programs of a call printed, see ``outputs``
OUTPUT: Final = "output"
OUTPUT_FILE: Final = "output_file"
OUTPUT_LEFT_OUT: Final = "output_left_out"
TAIL: Final = "tail"

# meta: when and where it happened; differs between two runs of the same trail
AT: Final = "at"
DURATION_NS: Final = "duration_ns"
GUEST_NS: Final = "guest_ns"
RUN: Final = "run"
TENANT: Final = "tenant"
CONTAINER: Final = "container"
PID: Final = "pid"

# events that go to people
EVENT: Final = "event"
LEVEL: Final = "level"
TIMESTAMP: Final = "timestamp"
CALL_EVENT: Final = "call"

SECRET_WORDS: Final = frozenset(
    {"api_key", "authorization", "credential", "password", "private_key", "secret", "token"}
)
"""A field whose name contains one of these is never written; see ``logs.redact``."""

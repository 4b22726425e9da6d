"""What a trail has no room for: descriptions, notes and times of single steps, kept in a document beside it.

The document is JSON, bound to its trail by the trail's file digest::

    {"notes": 1, "trail_sha256": "<64 hex digits>", "steps": {"<index>": {"desc": …, "note": …, "ts": …}}}

It is for people. Nothing in it is replayed, and nothing that is replayed depends on it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from sandbox_runner.bounded_json import read_json
from sandbox_runner.errors import TrailError
from sandbox_runner.trail.entries import ANNOTATIONS
from sandbox_runner.trail.limits import DEFAULT_LIMITS, TrailLimits
from sandbox_runner.trail.trail import Trail

__all__ = ["StepNotes", "read_notes", "write_notes"]

StepNotes = Mapping[int, Mapping[str, str | float]]
"""By step index: what ``desc``, ``note``, ``ts`` and ``timestamp`` said."""

_KEYS = ANNOTATIONS - {"op"}
_VALUES = 2 * len(ANNOTATIONS) + 8  # of one step's notes; the rest of a file has fewer than that


def write_notes(entries: Iterable[Mapping[str, Any]], trail: Trail) -> bytes | None:
    """The notes of the worklog that a trail was compiled from, ``None`` where it has none."""
    steps: dict[str, dict[str, Any]] = {}
    for index, (entry, step) in enumerate(zip(entries, trail.steps, strict=True)):
        # The begin step's time is in the trail.
        keys = _KEYS - {"ts", "timestamp"} if "timestamp" in step.arguments else _KEYS
        found = {key: entry[key] for key in sorted(keys & entry.keys()) if _is_note(entry[key])}
        if found:
            steps[str(index)] = found
    if not steps:
        return None
    content = {"notes": 1, "trail_sha256": trail.sha256, "steps": steps}
    return json.dumps(content, sort_keys=True, allow_nan=False).encode() + b"\n"


def read_notes(data: bytes, trail: Trail, limits: TrailLimits = DEFAULT_LIMITS) -> StepNotes:
    """The notes of a trail.

    Raises:
        TrailError: the bytes are no notes, or those of another trail.
    """
    if len(data) > limits.worklog_bytes:
        raise TrailError(f"the notes have {len(data)} bytes, more than the limit worklog_bytes")
    try:
        content = read_json(data, values=_VALUES * (len(trail.steps) + 1))
        version, digest, steps = content["notes"], content["trail_sha256"], content["steps"]
        notes = {int(index): {key: said[key] for key in _KEYS & said.keys()} for index, said in steps.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise TrailError("the file holds no notes of a trail") from error
    if version != 1:
        raise TrailError("the notes are of a version that is not known here")
    if digest != trail.sha256:
        raise TrailError(f"the notes belong to another trail, {str(digest)[:64]!a}")
    if not all(0 <= index < len(trail.steps) for index in notes):
        raise TrailError("the notes name a step that the trail does not have")
    if not all(_is_note(value) for found in notes.values() for value in found.values()):
        raise TrailError("a note is neither text nor a number")
    return notes


def _is_note(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, int | float) and math.isfinite(value))

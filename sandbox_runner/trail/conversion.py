"""Which version holds a trail, and the way from one to the other without loss."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from sandbox_runner.errors import TrailError
from sandbox_runner.trail import codec_v1
from sandbox_runner.trail.codec_v2 import MAGIC
from sandbox_runner.trail.encode_v1 import encode_v1
from sandbox_runner.trail.encode_v2 import encode_v2
from sandbox_runner.trail.hashes import NO_ID, str_to_hash, utf8
from sandbox_runner.trail.limits import DEFAULT_LIMITS, TrailLimits
from sandbox_runner.trail.operations import TrailOpcodes
from sandbox_runner.trail.resolved import ResolvedStep
from sandbox_runner.trail.trail import Trail, load

__all__ = ["Format", "Obstacle", "convert", "encode", "obstacle_to_v1"]

Format = Literal["auto", "1", "2"]
"""``auto`` is version 1 where it can hold the trail without a known defect, else version 2."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why version 1 cannot hold a trail: a sentence, and the text or the step in question."""

    message: str
    text: str | None = None
    step: int | None = None


def obstacle_to_v1(steps: Sequence[ResolvedStep], strings: Iterable[str]) -> Obstacle | None:
    """The first thing that version 1 cannot hold, or would hold with a known defect of the reference."""
    if len(steps) > codec_v1.MAX_COUNT:
        return Obstacle(f"{len(steps)} steps are more than the {codec_v1.MAX_COUNT} that version 1 counts")
    seen: dict[str, str] = {}
    for text in strings:
        size = len(utf8(text))
        if size > codec_v1.MAX_STRING:
            return Obstacle(f"a string of {size} bytes is over the {codec_v1.MAX_STRING} of version 1", text)
        key = str_to_hash(text)
        if seen.setdefault(key, text) != text:
            return Obstacle(f"two strings share the 32-bit hash {key} of version 1", text)
    if len(seen) > codec_v1.MAX_COUNT:
        return Obstacle(f"{len(seen)} strings are more than the {codec_v1.MAX_COUNT} that version 1 counts")
    return _begin_obstacle(steps)


def _begin_obstacle(steps: Sequence[ResolvedStep]) -> Obstacle | None:
    for step in steps:
        if step.opcode is TrailOpcodes.TRAIL_BEGIN:
            known = step.arguments
            if int(known["timestamp"]) > codec_v1.MAX_TIME:
                return Obstacle(
                    f"time {known['timestamp']} is after 2106, where version 1 ends", step=step.index
                )
            if known["trail_id"] and known["trail_id_hash"] == NO_ID:
                return Obstacle(
                    "the trail id's hash is the one that means no id in version 1", step=step.index
                )
    return None


def encode(
    steps: Sequence[ResolvedStep],
    strings: Collection[str],
    form: Format,
    limits: TrailLimits = DEFAULT_LIMITS,
) -> bytes:
    """The bytes of resolved steps and all their strings, in a version or in the first that holds them.

    Raises:
        TrailError: the version cannot hold the trail.
    """
    obstacle = None if form == "2" else obstacle_to_v1(steps, strings)
    if form == "2" or (form == "auto" and obstacle):
        return encode_v2(steps, strings, limits)
    if obstacle:
        raise TrailError(f"version 1 cannot hold the trail: {obstacle.message}; use version 2")
    return encode_v1(steps, strings)


def convert(trail: Trail, format: Format) -> bytes:  # noqa: A002  # the word of the command line
    """The same trail in another version; converting back gives the same bytes.

    Raises:
        TrailError: version 1 cannot hold the trail, or could not give back the agent's name, for which it
            has no field.
    """
    data = encode(trail.steps, trail.strings, format)
    if trail.version == 1 or data[:1] == MAGIC[:1]:
        return data
    back = load(data)
    if encode_v2(back.steps, back.strings, DEFAULT_LIMITS) == trail.data:
        return data
    if format == "auto":
        return trail.data
    raise TrailError("version 1 has no field for the agent's name and could not give it back; use version 2")

"""Several trails as one: one frame, one string table, and a note of where each part came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sandbox_runner.errors import TrailError
from sandbox_runner.trail.codec import status_word
from sandbox_runner.trail.codec_v1 import MAX_STRING
from sandbox_runner.trail.conversion import Format, encode
from sandbox_runner.trail.limits import DEFAULT_LIMITS, TrailLimits
from sandbox_runner.trail.operations import TrailOpcodes
from sandbox_runner.trail.resolved import Argument, ResolvedStep
from sandbox_runner.trail.trail import Trail

__all__ = ["concatenate"]

_FRAME = frozenset({TrailOpcodes.TRAIL_BEGIN, TrailOpcodes.TRAIL_END})

_Draft = list[tuple[TrailOpcodes, Mapping[str, Argument]]]


def concatenate(
    trails: Sequence[Trail],
    *,
    format: Format = "auto",  # noqa: A002  # the word of the command line
    limits: TrailLimits = DEFAULT_LIMITS,
) -> bytes:
    """The steps of all trails, in order, in the frame of the first, with one string table.

    Before each trail's steps stand two comments, ``trail: source sha256:<file digest>`` and ``trail: by
    <agent>, id <trail id>, <status>`` (cut to 255 bytes), so that each part can be traced to its file.
    Begin and end steps inside go with their frames. The end step has the worst status, which is the highest
    code.

    Raises:
        TrailError: there is no trail, or together they exceed a limit or the version that was asked for.
    """
    if not trails:
        raise TrailError("there is nothing to concatenate; give at least one trail")
    begin = trails[0].steps[0]
    draft: _Draft = [(begin.opcode, begin.arguments)]
    for trail in trails:
        draft += _part(trail)
    draft.append((TrailOpcodes.TRAIL_END, {"status": max(trail.status for trail in trails)}))
    steps = [ResolvedStep(index, opcode, arguments) for index, (opcode, arguments) in enumerate(draft)]
    # Of the later trails only what their steps name: a second agent's name would hide the first's.
    strings = dict.fromkeys(trails[0].strings)
    for _, arguments in draft[1:]:
        strings |= dict.fromkeys(value for value in arguments.values() if isinstance(value, str))
    return encode(steps, strings, format, limits)


def _part(trail: Trail) -> _Draft:
    origin = (
        f"trail: by {trail.agent or 'unknown'}, id {trail.trail_id or 'none'}, {status_word(trail.status)}"
    )
    if len(origin.encode()) > MAX_STRING:
        origin = origin.encode()[:MAX_STRING].decode(errors="ignore")
    notes = (f"trail: source sha256:{trail.sha256}", origin)
    part: _Draft = [(TrailOpcodes.COMMENT, {"comment": note}) for note in notes]
    return part + [(step.opcode, step.arguments) for step in trail.steps if step.opcode not in _FRAME]

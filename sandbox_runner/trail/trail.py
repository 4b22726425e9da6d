"""A verified trail, and the one door through which bytes become one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from sandbox_runner.errors import TrailVerificationError
from sandbox_runner.trail.codec import TrailDecoder
from sandbox_runner.trail.codec_v1 import scan
from sandbox_runner.trail.codec_v2 import MAGIC, read_step_v2, scan_v2
from sandbox_runner.trail.findings import MAX_FINDINGS, Finding
from sandbox_runner.trail.hashes import NO_ID, file_digest
from sandbox_runner.trail.limits import DEFAULT_LIMITS, TrailLimits
from sandbox_runner.trail.program import TrailProgram
from sandbox_runner.trail.resolved import Steps, Strings
from sandbox_runner.trail.strict_v1 import StepReader, frame_findings, inspect

__all__ = ["Trail", "load"]


@dataclass(frozen=True, eq=False)
class Trail:
    """A trail that may be replayed: every reference resolved, nothing malformed, nothing left over.

    Two trails are equal when their bytes are.

    Attributes:
        version: of the format, 1 or 2.
        data: the bytes.
        steps: read from the bytes each time they are asked for.
        strings: every text of the string table.
        trail_id: the text, ``None`` where the trail has none or its text is not in the table.
        trail_id_hash: 8 hexadecimal digits, ``00000000`` for no id.
        agent: the agent's name. Version 1 has no field for it: there it is the one text of the table that is
            neither the trail id nor an operand, ``None`` unless there is exactly one.
        agent_id: the agent byte, 0 to 255.
        timestamp: seconds since 1970, 0 where no time is known.
        status: what the end step recorded: 0 success, 1 error, 2 partial, 3 cancelled, others unknown.
    """

    version: int
    data: bytes
    steps: Steps
    strings: Strings
    trail_id: str | None
    trail_id_hash: str
    agent: str | None
    agent_id: int
    timestamp: int
    status: int

    def __eq__(self, other: object) -> bool:
        return self.data == other.data if isinstance(other, Trail) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.data)

    @cached_property
    def sha256(self) -> str:
        """The file digest, 64 hexadecimal digits."""
        return file_digest(self.data)

    @cached_property
    def program(self) -> TrailProgram:
        """The steps as mutable objects with raw operands.

        Raises:
            TrailDecodeError: more steps than ``TrailLimits.program_steps``.
        """
        return TrailDecoder().decode(self.data)


def load(data: bytes, limits: TrailLimits = DEFAULT_LIMITS) -> Trail:
    """Decode and verify a trail of either version; memory grows by a few bytes per step and string.

    Raises:
        TrailDecodeError: the bytes are malformed; ``offset`` says where.
        TrailVerificationError: they are well formed and must not be replayed; ``findings`` says why, in full.
    """
    data = bytes(data)
    return _load_v2(data, limits) if data[:1] == MAGIC[:1] else _load_v1(data, limits)


def _load_v1(data: bytes, limits: TrailLimits) -> Trail:
    layout = scan(data, limits)
    _refuse([finding for finding, _ in zip(inspect(layout), range(MAX_FINDINGS), strict=False)])
    steps = Steps(len(layout.offsets), StepReader(layout))
    return _trail(1, data, steps, Strings(len(layout.starts), layout.text))


def _load_v2(data: bytes, limits: TrailLimits) -> Trail:
    layout = scan_v2(data, limits)
    opcodes = bytes(map(layout.opcode, range(len(layout.offsets))))
    _refuse([finding for finding, _ in zip(frame_findings(opcodes), range(MAX_FINDINGS), strict=False)])
    steps = Steps(len(layout.offsets), lambda index: read_step_v2(layout, index))
    return _trail(2, data, steps, Strings(len(layout.starts), layout.text))


def _refuse(findings: list[Finding]) -> None:
    if findings:
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        raise TrailVerificationError(
            f"the trail must not be replayed: {findings[0]}{more}",
            findings=findings,
            hint="`sandbox-runner trail verify` lists every finding",
        )


def _trail(version: int, data: bytes, steps: Steps, strings: Strings) -> Trail:
    begin, end = steps[0].arguments, steps[-1].arguments
    trail_id, id_hash = str(begin["trail_id"]), str(begin["trail_id_hash"])
    agent = begin.get("agent")
    return Trail(
        version=version,
        data=data,
        steps=steps,
        strings=strings,
        trail_id=trail_id if trail_id and id_hash != NO_ID else None,
        trail_id_hash=id_hash,
        agent=None if agent is None else str(agent),
        agent_id=int(begin["agent_id"]),
        timestamp=int(begin["timestamp"]),
        status=int(end["status"]),
    )

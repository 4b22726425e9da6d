"""A verified trail, and the one door through which bytes become one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice

from sandbox_runner.errors import TrailDecodeError, TrailError, TrailVerificationError
from sandbox_runner.trail.codec import STATUS_WORDS, TrailDecoder
from sandbox_runner.trail.codec_v1 import Layout, scan
from sandbox_runner.trail.codec_v2 import MAGIC, LayoutV2, read_step_v2, scan_v2
from sandbox_runner.trail.findings import MAX_FINDINGS, Finding, Severity
from sandbox_runner.trail.hashes import NO_ID, file_digest
from sandbox_runner.trail.limits import DEFAULT_LIMITS, TrailLimits
from sandbox_runner.trail.operations import TrailOpcodes
from sandbox_runner.trail.program import TrailProgram
from sandbox_runner.trail.resolved import Steps, Strings
from sandbox_runner.trail.strict_v1 import StepReader, frame_findings, inspect

__all__ = ["Trail", "examine", "load", "naming"]


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


@contextmanager
def naming(source: str) -> Iterator[None]:
    """Within it an error about a trail or worklog names the file that it is about."""
    try:
        yield
    except TrailError as error:
        error.source = error.source or source
        raise


def load(data: bytes, limits: TrailLimits = DEFAULT_LIMITS) -> Trail:
    """Decode and verify a trail of either version; memory grows by a few bytes per step and string.

    Raises:
        TrailDecodeError: the bytes are malformed; ``offset`` says where.
        TrailVerificationError: they are well formed and must not be replayed; ``findings`` says why, in full.
    """
    layout = _scan(bytes(data), limits)
    findings = tuple(islice(_faults(layout), MAX_FINDINGS))
    if findings:
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        raise TrailVerificationError(
            f"the trail must not be replayed: {findings[0]}{more}",
            findings=findings,
            hint="`sandbox-runner trail verify` lists every finding",
        )
    return _trail(layout)


def examine(data: bytes, limits: TrailLimits = DEFAULT_LIMITS) -> Iterator[Finding]:
    """Everything there is to say about some bytes; ``load`` accepts them if nothing is an error."""
    try:
        layout = _scan(bytes(data), limits)
    except TrailDecodeError as error:
        yield Finding(Severity.ERROR, "malformed", f"Bytecode decode error: {error}")
        return
    sound = True
    for finding in _faults(layout):
        sound = False
        yield finding
    if sound:
        yield from _remarks(_trail(layout), layout.opcodes())


def _scan(data: bytes, limits: TrailLimits) -> Layout | LayoutV2:
    return scan_v2(data, limits) if data[:1] == MAGIC[:1] else scan(data, limits)


def _faults(layout: Layout | LayoutV2) -> Iterator[Finding]:
    if isinstance(layout, Layout):
        return inspect(layout)
    return frame_findings(layout.opcodes())


def _remarks(trail: Trail, opcodes: bytes) -> Iterator[Finding]:
    """What is unusual about a trail that may be replayed."""
    if trail.trail_id is None and trail.trail_id_hash != NO_ID:
        yield Finding(
            Severity.WARNING, "unknown-id", f"the text of the trail id {trail.trail_id_hash} is not there", 0
        )
    if trail.status >= len(STATUS_WORDS):
        yield Finding(
            Severity.INFO, "unknown-status", f"status {trail.status} has no meaning", len(trail.steps) - 1
        )
    again = opcodes.find(TrailOpcodes.TRAIL_BEGIN, 1)
    while again > 0:
        yield Finding(Severity.INFO, "second-begin", "TRAIL_BEGIN inside is a mark without effect", again)
        again = opcodes.find(TrailOpcodes.TRAIL_BEGIN, again + 1)


def _trail(layout: Layout | LayoutV2) -> Trail:
    read = StepReader(layout) if isinstance(layout, Layout) else partial(read_step_v2, layout)
    steps = Steps(len(layout.offsets), read)
    begin, end = steps[0].arguments, steps[-1].arguments
    agent = begin.get("agent")
    return Trail(
        version=1 if isinstance(layout, Layout) else 2,
        data=layout.data,
        steps=steps,
        strings=Strings(len(layout.starts), layout.text),
        trail_id=str(begin["trail_id"]) or None,
        trail_id_hash=str(begin["trail_id_hash"]),
        agent=None if agent is None else str(agent),
        agent_id=int(begin["agent_id"]),
        timestamp=int(begin["timestamp"]),
        status=int(end["status"]),
    )

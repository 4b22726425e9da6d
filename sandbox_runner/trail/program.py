"""Programs as other tools build them: a list of steps, as lenient as the reference."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import sha256

from sandbox_runner.arguments import checked
from sandbox_runner.errors import TrailError
from sandbox_runner.trail.operations import TrailOpcodes
from sandbox_runner.trail.step import TrailStep, encode_steps

__all__ = ["TrailProgram"]

_QUIET = frozenset({TrailOpcodes.TRAIL_BEGIN, TrailOpcodes.TRAIL_END, TrailOpcodes.NOP})


@checked
@dataclass(slots=True)
class TrailProgram:
    """A list of steps.

    ``version`` says how a pair of slots names a string: by the 32-bit hash of its text (1) or by its index
    in the string table (2), whose keys are then the index as 8 hexadecimal digits.
    """

    steps: list[TrailStep] = field(default_factory=list)
    version: int = 1

    def add_step(self, step: TrailStep) -> TrailProgram:
        """Append a step and return the program itself."""
        self.steps.append(step)
        return self

    @property
    def is_valid(self) -> bool:
        """Whether the program is framed: two steps or more, TRAIL_BEGIN first, TRAIL_END last."""
        return (
            len(self.steps) >= 2
            and self.steps[0].opcode is TrailOpcodes.TRAIL_BEGIN
            and self.steps[-1].opcode is TrailOpcodes.TRAIL_END
        )

    @property
    def action_steps(self) -> list[TrailStep]:
        """All steps but TRAIL_BEGIN, TRAIL_END and NOP."""
        return [step for step in self.steps if step.opcode not in _QUIET]

    def concatenate(self, other: TrailProgram) -> TrailProgram:
        """This program's steps followed by the other's, in this one's frame; the worse status wins.

        Programs carry no strings: give an encoder both tables. ``concatenate_trails`` joins whole trails.

        Raises:
            TrailError: one of the two is not framed, or they name strings differently.
        """
        if not (self.is_valid and other.is_valid):
            raise TrailError("Both trails must be valid to concatenate: TRAIL_BEGIN first, TRAIL_END last")
        if self.version != other.version:
            raise TrailError(
                "programs of version 1 and 2 name strings differently; concatenate the trails instead"
            )
        ends = (self.steps[-1], other.steps[-1])
        status = max(end.operands[0] if end.operands else 0 for end in ends)
        end = replace(ends[1], operands=[status], metadata={**ends[1].metadata, "status": status})
        return TrailProgram([*self.steps[:-1], *other.steps[1:-1], end], self.version)

    def fingerprint(self) -> str:
        """The program digest: SHA-256 of the program encoded with an empty string table, 64 hex digits.

        It covers no text. A trail is identified by its ``file_digest`` and by nothing else.
        """
        return sha256(encode_steps(self.steps, {})).hexdigest()

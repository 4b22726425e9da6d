"""What a run has used of the limits that can be told before a call is made; admission and the guard share it.

Rules, by the name that a refusal carries: ``budget.steps``, ``budget.per_opcode``, ``budget.write_bytes``,
``bottles.max_count`` and ``bottles.max_bytes``. A refused step uses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sandbox_runner.policy.fields import PERMITTED_ALWAYS
from sandbox_runner.policy.policy import Policy
from sandbox_runner.policy.rules import Decision, byte_length
from sandbox_runner.trail.operations import TrailOpcodes

__all__ = ["Meter", "exhausted", "written_bytes"]

_WRITTEN: Final = {TrailOpcodes.FILE_WRITE: "content", TrailOpcodes.FILE_EDIT: "new"}


def written_bytes(opcode: TrailOpcodes, arguments: Mapping[str, Any]) -> int:
    """Bytes that a step hands to the workspace: the text of a write, the new text of an edit."""
    name = _WRITTEN.get(opcode)
    return 0 if name is None else byte_length(arguments[name])


class Meter:
    """Counts steps as they are taken."""

    def __init__(self, policy: Policy) -> None:
        budget = policy.budget
        self._steps_left = budget.steps
        self._limits = policy.budget
        self._bottle_limits = policy.bottles
        self._left = {TrailOpcodes[name]: limit for name, limit in budget.per_opcode.items()}
        self._write_left = budget.write_bytes
        self._bottles_left = policy.bottles.max_count
        self._bottle_bytes_left = policy.bottles.max_bytes

    def take(self, opcode: TrailOpcodes, arguments: Mapping[str, Any]) -> Decision | None:
        """Use what the step needs, or say which limit it would pass and use nothing."""
        if opcode in PERMITTED_ALWAYS:
            return None
        if self._steps_left <= 0:
            return exhausted("budget.steps", self._limits.steps, "steps")
        left = self._left.get(opcode)
        if left is not None and left <= 0:
            limit = self._limits.per_opcode[opcode.name]
            return exhausted("budget.per_opcode", limit, f"steps of {opcode.name}")
        if opcode in _WRITTEN:
            size = written_bytes(opcode, arguments)
            if size > self._write_left:
                return exhausted("budget.write_bytes", self._limits.write_bytes, "bytes written")
            self._write_left -= size
        elif opcode is TrailOpcodes.BOTTLE_DROP:
            refusal = self._drop(byte_length(arguments["content"]))
            if refusal is not None:
                return refusal
        if left is not None:
            self._left[opcode] = left - 1
        self._steps_left -= 1
        return None

    def _drop(self, size: int) -> Decision | None:
        if self._bottles_left <= 0:
            return exhausted("bottles.max_count", self._bottle_limits.max_count, "bottles")
        if size > self._bottle_bytes_left:
            return exhausted("bottles.max_bytes", self._bottle_limits.max_bytes, "bytes in bottles")
        self._bottles_left -= 1
        self._bottle_bytes_left -= size
        return None


def exhausted(rule: str, limit: float, what: str) -> Decision:
    """The refusal of a step for which nothing is left."""
    return Decision(False, rule, f"a run may have {limit} {what}")

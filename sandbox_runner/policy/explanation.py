"""Why a policy decides as it does, for ``policy explain``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox_runner.policy.policy import Policy
from sandbox_runner.policy.rules import Decision
from sandbox_runner.trail.operations import OPERATIONS, OperandKind, TrailOpcodes

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """One step as it would be judged, and the limits that would still apply at run time."""

    opcode: str
    arguments: Mapping[str, str | int]
    decision: Decision
    limits: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """The explanation as JSON has it."""
        return {
            "opcode": self.opcode,
            "arguments": dict(self.arguments),
            "allowed": self.decision.allowed,
            "rule": self.decision.rule,
            "message": self.decision.message,
            "limits": dict(self.limits),
        }


def explain(policy: Policy, opcode: TrailOpcodes, *arguments: str) -> Explanation:
    """Judge one step given by hand; arguments that are left out are empty, as in a worklog.

    Raises:
        ValueError: more arguments than the operation has, or a word where it takes a number.
    """
    operation = OPERATIONS[opcode]
    if len(arguments) > len(operation.operands):
        names = ", ".join(operand.name for operand in operation.operands) or "none"
        raise ValueError(f"{opcode.name} takes fewer arguments: {names}")
    given: dict[str, str | int] = {}
    for index, operand in enumerate(operation.operands):
        text = arguments[index] if index < len(arguments) else ""
        is_number = operand.kind is OperandKind.NUMBER and operand.name != "repo"
        given[operand.name] = (
            int(text or "0") if is_number else text or ("0" if operand.name == "repo" else "")
        )
    return Explanation(opcode.name, given, policy.judge.judge(opcode, given), _limits(policy, opcode))


def _limits(policy: Policy, opcode: TrailOpcodes) -> dict[str, int]:
    """Limits over the whole run that this operation also counts against, by rule."""
    limits = {"budget.steps": policy.budget.steps}
    if opcode.name in policy.budget.per_opcode:
        limits["budget.per_opcode"] = policy.budget.per_opcode[opcode.name]
    if opcode in {TrailOpcodes.FILE_WRITE, TrailOpcodes.FILE_EDIT}:
        limits["budget.write_bytes"] = policy.budget.write_bytes
    if opcode is TrailOpcodes.BOTTLE_DROP:
        limits |= {
            "bottles.max_count": policy.bottles.max_count,
            "bottles.max_bytes": policy.bottles.max_bytes,
        }
    return limits

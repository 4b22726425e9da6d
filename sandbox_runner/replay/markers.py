"""What the steps that call no world come to, and which operands an event shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sandbox_runner.trail.operations import TrailOpcodes
from sandbox_runner.trail.resolved import ResolvedStep
from sandbox_runner.world.call import Outcome, Status

__all__ = ["ShownOperands", "dry_run_outcome", "end_outcome", "marker_outcome", "shown_operands"]

_NO_EFFECT = MappingProxyType({"effect": "none"})  # branches never jump and labels are never targets
_MARKERS: Mapping[TrailOpcodes, Callable[[ResolvedStep], Outcome]] = {
    TrailOpcodes.TRAIL_BEGIN: lambda _: Outcome(Status.OK, "trail_begin: execution started"),
    TrailOpcodes.NOP: lambda _: Outcome(Status.OK, "nop: skipped"),
    TrailOpcodes.COMMENT: lambda step: Outcome(Status.OK, f"comment: {step.arguments['comment']}"),
    TrailOpcodes.LABEL: lambda step: Outcome(Status.OK, f"label: {step.arguments['label']}", _NO_EFFECT),
    TrailOpcodes.BRANCH: lambda _: Outcome(Status.OK, "branch: conditional jump", _NO_EFFECT),
}


def marker_outcome(step: ResolvedStep) -> Outcome:
    """The outcome of a step that calls no world, TRAIL_END apart; it can never fail."""
    return _MARKERS[step.opcode](step)


def end_outcome(recorded: int, replayed: int) -> Outcome:
    """The outcome of TRAIL_END: how the trail says its run ended, beside how this replay did."""
    details = {"recorded_status": recorded, "replayed_status": replayed}
    return Outcome(Status.OK, "trail_end: execution finished", details)


def dry_run_outcome(step: ResolvedStep) -> Outcome:
    """The outcome of an action in a dry run: what would be called."""
    operands = ", ".join(map(str, step.arguments.values()))
    return Outcome(Status.OK, f"DRY-RUN: {step.opcode.name}({operands})")


def shown_operands(step: ResolvedStep, principal: str) -> dict[str, Any]:
    """The operands an event shows; LEVEL_UP with the agent it levels, BEGIN and END with their record."""
    match step.opcode:
        case TrailOpcodes.TRAIL_BEGIN:
            return {"trail_id": step.arguments["trail_id_hash"]}
        case TrailOpcodes.TRAIL_END:
            return {"status": step.arguments["status"]}
        case TrailOpcodes.LEVEL_UP:
            return {**step.arguments, "agent": principal}
        case _:
            return dict(step.arguments)


class ShownOperands(Mapping[str, Any]):
    """``shown_operands`` of one step, read from the trail whenever somebody looks.

    The events of a long replay would otherwise hold every text of its trail once more.
    """

    __slots__ = ("_index", "_principal", "_steps")

    def __init__(self, steps: Sequence[ResolvedStep], index: int, principal: str) -> None:
        self._steps = steps
        self._index = index
        self._principal = principal

    def read(self) -> dict[str, Any]:
        """The operands."""
        return shown_operands(self._steps[self._index], self._principal)

    def __getitem__(self, name: str) -> Any:
        return self.read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.read())

    def __len__(self) -> int:
        return len(self.read())

    def __repr__(self) -> str:
        return repr(self.read())

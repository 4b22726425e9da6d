"""How one step is named on a line: its operation and the operand that tells it from the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox_runner.trail.operations import OPERATIONS, OperandKind, TrailOpcodes

__all__ = ["Trouble", "subject", "subject_of_event", "troubles_of"]


def subject(opcode: str, arguments: Mapping[str, Any]) -> str:
    """A path, a pattern, a message: the first text among the operands, else the first number.

    Args:
        opcode: the operation's name.
        arguments: by name; a value that a log has shortened is a mapping with its ``head``.
    """
    operands = OPERATIONS[TrailOpcodes[opcode]].operands if opcode in TrailOpcodes.__members__ else ()
    texts = [operand.name for operand in operands if operand.kind is OperandKind.STRING]
    for name in (*texts, *arguments):
        if name in arguments:
            value = arguments[name]
            return f"{value.get('head', '')}…" if isinstance(value, Mapping) else str(value)
    return ""


def subject_of_event(event: Mapping[str, Any]) -> str:
    """The same of an event (``TrailEvent.to_dict``)."""
    return subject(event["opcode_name"], event["operands"])


@dataclass(frozen=True, slots=True)
class Trouble:
    """A step that failed or was refused.

    Attributes:
        step: index in the trail; -1 where the whole trail is meant.
        opcode: the operation's name.
        subject: see ``subject``.
        status: ``failed`` or ``refused``.
        rule: the policy's rule that refused it, empty for a failure.
        reason: why, in words.
    """

    step: int
    opcode: str
    subject: str
    status: str
    rule: str
    reason: str


def troubles_of(
    events: Iterable[Mapping[str, Any]], violations: Iterable[Mapping[str, Any]] = ()
) -> Iterator[Trouble]:
    """Failed and refused steps of a run in order; where nothing was replayed, what admission refused.

    Args:
        events: ``TrailEvent.to_dict`` of each step.
        violations: ``{step, opcode, rule, message}`` of each violation.
    """
    seen = set()
    for event in events:
        status = str(event.get("status", "ok"))
        if status not in {"failed", "refused"}:
            continue
        seen.add(event["step_index"])
        yield Trouble(
            step=event["step_index"],
            opcode=event["opcode_name"],
            subject=subject_of_event(event),
            status=status,
            rule=str(event.get("details", {}).get("rule", "")),
            reason=str(event["result"]),
        )
    for violation in violations:
        if violation["step"] not in seen:
            reason = str(violation["message"])
            yield Trouble(
                violation["step"], str(violation["opcode"]), "", "refused", str(violation["rule"]), reason
            )

"""The two records that travel through every world: a call goes in, an outcome comes back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sandbox_runner.arguments import check_fields
from sandbox_runner.errors import ArgumentError
from sandbox_runner.trail.operations import METHODS, TrailOpcodes

__all__ = ["NUMBERS", "Call", "Outcome", "Printed", "Status", "misfit"]

NUMBERS: Mapping[str, tuple[type, ...]] = {"expected": (int,), "level": (int,), "delta": (int, float)}
"""The types of the arguments that are numbers; every other argument of the fourteen methods is text."""

_LARGEST = 2**53  # what a float holds exactly
_PRINTABLE = 2**8192  # Python writes numbers of up to 4,300 digits, this has 2,467


def misfit(arguments: Mapping[str, object]) -> str | None:
    """Why a call with these arguments cannot be made, the first reason; None if it can."""
    for name, value in arguments.items():
        kinds = NUMBERS.get(name)
        if kinds is None:
            if not isinstance(value, str):
                return f"{name} must be text, not {type(value).__name__}"
            if not value.isascii():
                try:
                    value.encode()
                except UnicodeEncodeError:
                    return f"{name} is not Unicode text"
        elif type(value) not in kinds or not isinstance(value, (int, float)):
            what = "a number" if float in kinds else "a whole number"
            return f"{name} must be {what}, not {type(value).__name__}"
        elif isinstance(value, float) and not math.isfinite(value):
            return f"{name} is no finite number"
        elif abs(value) > _LARGEST and (float in kinds or abs(value) > _PRINTABLE):
            return f"{name} is too large"
    return None


class Status(StrEnum):
    """How a call ended. Success is decided by this alone, never by the outcome's text."""

    OK = "ok"
    FAILED = "failed"
    REFUSED = "refused"
    SKIPPED = "skipped"

    @property
    def stops(self) -> bool:
        """Whether a fail-fast run ends here."""
        return self in {Status.FAILED, Status.REFUSED}


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a world method.

    Attributes:
        opcode: the operation that asks for it.
        method: the world method's name, one of ``trail.operations.METHODS``.
        arguments: the method's arguments by name, in the order of its signature.
        step: index of the step in its trail; -1 for a call made by hand.
    """

    opcode: TrailOpcodes
    method: str
    arguments: Mapping[str, str | int | float]
    step: int = -1

    def __post_init__(self) -> None:
        # Every step makes one: what nearly all are is told in no time.
        usual = type(self.opcode) is TrailOpcodes and type(self.method) is str and type(self.step) is int
        if not usual or self.method not in METHODS:
            check_fields(self)
            if self.method not in METHODS:
                raise ArgumentError(
                    f"Call: method must be one of {', '.join(METHODS)}, not {self.method!a:.40}"
                )


@dataclass(frozen=True, slots=True)
class Printed:
    """What the programs of a call printed, as far as it was kept; raw.

    Attributes:
        data: the beginning and, behind it, the end.
        total: bytes that were printed in all.
        cut_at: where in ``data`` the bytes are missing that were not kept; its length where none are.
    """

    data: bytes
    total: int
    cut_at: int

    @property
    def missing(self) -> int:
        """How many bytes were not kept."""
        return self.total - len(self.data)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call came to.

    Attributes:
        status: decides success.
        text: exactly the reference's sentence on success, ``<method>: ERROR <reason>`` otherwise.
        details: JSON-able facts beyond the text that any replay repeats: digests, counts, ids.
        duration_ns: time the guest (or local world) spent, nanoseconds; 0 where unknown.
        meta: JSON-able facts of this one replay: raw output with its addresses and times, process ids.
            Recorded beside the call, never part of a proof.
        printed: what its programs printed, raw, for a record to keep.
    """

    status: Status
    text: str
    details: Mapping[str, Any] = field(default_factory=dict)
    duration_ns: int = 0
    meta: Mapping[str, Any] = field(default_factory=dict)
    printed: Printed | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if type(self.status) is not Status or type(self.text) is not str:  # every step has one: quick
            check_fields(self)

"""What a verification has to say about a trail."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from sandbox_runner.trail.resolved import step_number

__all__ = ["MAX_FINDINGS", "Finding", "Severity", "errors_in"]

MAX_FINDINGS = 1000
"""A hostile trail may be wrong a million times; the report stops here."""


class Severity(StrEnum):
    """An error forbids replay, a warning wants a look, an info is a fact."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact about a trail.

    Attributes:
        severity: whether it forbids replay.
        code: a stable name for programs, such as ``unresolved-reference``.
        text: one sentence for people.
        step: index of the step, ``None`` where it concerns the whole trail.
    """

    severity: Severity
    code: str
    text: str
    step: int | None = None

    def __str__(self) -> str:
        return self.text if self.step is None else f"step {step_number(self.step)}: {self.text}"


def errors_in(findings: Iterable[Finding]) -> list[Finding]:
    """Those that forbid replay."""
    return [finding for finding in findings if finding.severity is Severity.ERROR]

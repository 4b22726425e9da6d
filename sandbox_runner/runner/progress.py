"""What a run tells whoever watches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from sandbox_runner.world import Status

__all__ = ["OnProgress", "Phase", "Progress", "silent"]


class Phase(StrEnum):
    """The stations of a run, in order."""

    ADMITTED = "admitted"
    REFUSED = "refused"
    IMAGE = "image"
    WORKSPACE = "workspace"
    SANDBOX = "sandbox"
    STEP = "step"
    SNAPSHOT = "snapshot"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Progress:
    """One thing that happened; ``step`` counts the steps done of ``total``."""

    phase: Phase
    message: str
    step: int = 0
    total: int = 0
    status: Status | None = None
    run_id: str = ""


OnProgress = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """Nobody watches."""

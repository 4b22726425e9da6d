"""What a run tells whoever watches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from sandbox_runner.arguments import check_fields
from sandbox_runner.world import Status

__all__ = ["OnProgress", "Phase", "Progress", "silent"]


class Phase(StrEnum):
    """The stations of a run, in order."""

    ADMITTED = "admitted"
    REFUSED = "refused"
    IMAGE = "image"
    WORKSPACE = "workspace"
    SANDBOX = "sandbox"
    RUNNING = "running"
    STEP = "step"
    SNAPSHOT = "snapshot"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Progress:
    """One thing that happened.

    Attributes:
        phase: where the run is. ``RUNNING`` and ``STEP`` come in turn: a step begins, a step is over.
        message: in words; a stranger's text may be in it. Of a step that begins, its operation and subject.
        step: number of the step that begins or is over, the first is 1.
        total: how many steps the trail has.
        status: how the step ended.
        run_id: of which run this is told.
        trail: what the trail is called.
        limit_s: seconds after which a step that begins is ended, 0 where it has no limit worth telling.
    """

    phase: Phase
    message: str
    step: int = 0
    total: int = 0
    status: Status | None = None
    run_id: str = ""
    trail: str = ""
    limit_s: float = 0.0

    def __post_init__(self) -> None:
        if type(self.phase) is not Phase or type(self.message) is not str:  # two are made for every step
            check_fields(self)


OnProgress = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """Nobody watches."""

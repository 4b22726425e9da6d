"""How figures are taken: candidates in turn, median of the ratios pair by pair.

The machine's speed drifts, so only ratios of things that were measured side by side mean anything. Where
there are several ways to do the same without us, all of them are measured and the fastest is divided by.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Figure", "Pair", "median", "percentile", "side_by_side", "timed"]


_SETTLE_S = 0.15


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table.

    Attributes:
        name: what was measured.
        value: the figure.
        unit: ``x`` for a ratio, else ms, MiB, ...
        goal: what it should reach, None for a figure that only informs.
        at_most: whether the goal is an upper bound.
        note: the absolute medians behind a ratio.
    """

    name: str
    value: float
    unit: str = "x"
    goal: float | None = None
    at_most: bool = True
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached, None without one."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.at_most else self.value >= self.goal


@dataclass(frozen=True, slots=True)
class Pair:
    """Ours and the others by name, measured in turn; seconds."""

    ours: tuple[float, ...]
    others: Mapping[str, tuple[float, ...]]

    @property
    def other(self) -> tuple[float, ...]:
        """The fastest of the others, by its median."""
        return min(self.others.values(), key=median)

    @property
    def ratio(self) -> float:
        """Median over the rounds of ours divided by the other."""
        return statistics.median(a / b for a, b in zip(self.ours, self.other, strict=True))

    @property
    def note(self) -> str:
        """The medians in words, the fastest of the others first."""
        ranked = sorted((median(taken), name) for name, taken in self.others.items())
        said = [f"{taken * 1e3:.1f} ms{f' {name}' if name else ''}" for taken, name in ranked]
        return f"{median(self.ours) * 1e3:.1f} against {', '.join(said)}"


def timed(work: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def side_by_side(
    ours: Callable[[], float], others: Callable[[], float] | Mapping[str, Callable[[], float]], rounds: int
) -> Pair:
    """Let candidates take turns; each returns the seconds that count. One round each is not counted."""
    named = others if isinstance(others, Mapping) else {"": others}
    taken = [(_settled(ours), *map(_settled, named.values())) for _ in range(rounds + 1)]
    mine, *theirs = zip(*taken[1:], strict=True)
    return Pair(mine, dict(zip(named, theirs, strict=True)))


def _settled(candidate: Callable[[], float]) -> float:
    """Measure one candidate, once the Engine is done with what the other one left it to clean up."""
    time.sleep(_SETTLE_S)
    return candidate()


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` (0 to 1) of all lie."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]

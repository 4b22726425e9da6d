"""Chains of meta-trails: each names, in its first comment, the digest of the trail whose replay it records.

trail  ◄── exec: source sha256:<digest> ── meta-trail  ◄── exec: source sha256:<digest> ── meta-meta-trail
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from sandbox_runner.errors import TrailError
from sandbox_runner.trail.operations import TrailOpcodes
from sandbox_runner.trail.trail import Trail

__all__ = ["ChainLink", "source_digest", "verify_chain"]

_SOURCE = re.compile(r"exec: source sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class ChainLink:
    """One link: a trail and the meta-trail that is said to record its replay.

    Attributes:
        source: file digest of the trail.
        meta: file digest of the meta-trail.
        named: the digest that the meta-trail names, ``None`` where it names none.
    """

    source: str
    meta: str
    named: str | None

    @property
    def holds(self) -> bool:
        """Whether the meta-trail names the trail."""
        return self.named == self.source

    def __str__(self) -> str:
        if self.holds:
            return f"{self.meta[:16]} records a replay of {self.source[:16]}"
        said = "names no source" if self.named is None else f"names {self.named[:16]}"
        return f"{self.meta[:16]} {said}, not {self.source[:16]}"


def source_digest(trail: Trail) -> str | None:
    """The digest of the source that a bound meta-trail names, ``None`` for any other trail.

    Only the first comment counts, and only as the step right after the begin: what stands further down may
    be text of the replayed trail.
    """
    if len(trail.steps) < 2 or trail.steps[1].opcode is not TrailOpcodes.COMMENT:
        return None
    match = _SOURCE.fullmatch(str(trail.steps[1].arguments["comment"]))
    return match.group(1) if match else None


def verify_chain(trails: Sequence[Trail]) -> tuple[ChainLink, ...]:
    """The links of a chain: trail, meta-trail, meta-meta-trail and so on; see ``ChainLink.holds``.

    Raises:
        TrailError: fewer than two trails make no chain.
    """
    if len(trails) < 2:
        raise TrailError("a chain has at least two trails: a trail and its meta-trail")
    return tuple(
        ChainLink(source.sha256, meta.sha256, source_digest(meta)) for source, meta in pairwise(trails)
    )

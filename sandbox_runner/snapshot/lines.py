"""Line by line differences in bounded time: the texts come from strangers.

Myers' greedy algorithm ("An O(ND) Difference Algorithm and Its Variations", 1986) between what a common
beginning and end leave, given up beyond ``MAX_EDITS`` edits: then all that is left counts as replaced. So
the work is at most about ``MAX_EDITS`` squared steps plus one pass over the lines, whatever the texts are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

__all__ = ["MAX_EDITS", "Block", "Hunk", "changed_blocks", "hunks"]

MAX_EDITS = 1_000
_CONTEXT = 3


class Block(NamedTuple):
    """Lines ``old_start:old_end`` of the old text are replaced by ``new_start:new_end`` of the new."""

    old_start: int
    old_end: int
    new_start: int
    new_end: int


class Hunk(NamedTuple):
    """Blocks that stand close together, with the lines around them."""

    span: Block
    blocks: tuple[Block, ...]


def changed_blocks(old: Sequence[bytes], new: Sequence[bytes]) -> list[Block]:
    """What to replace in ``old`` to get ``new``, in order, without overlap."""
    head = 0
    shorter = min(len(old), len(new))
    while head < shorter and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < shorter - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    left, right = old[head : len(old) - tail], new[head : len(new) - tail]
    if not left or not right:
        found = [Block(0, len(left), 0, len(right))] if left or right else []
    else:
        trace = _trace(left, right)
        found = [Block(0, len(left), 0, len(right))] if trace is None else _blocks(left, right, trace)
    return [Block(*(number + head for number in block)) for block in found]


def _trace(left: Sequence[bytes], right: Sequence[bytes]) -> list[dict[int, int]] | None:
    """For each number of edits, how far along ``left`` every diagonal got; None if there were too many."""
    furthest = {1: 0}
    trace = []
    for edits in range(min(len(left) + len(right), MAX_EDITS) + 1):
        trace.append(dict(furthest))
        for diagonal in range(-edits, edits + 1, 2):
            x = _step(furthest, diagonal, edits)
            y = x - diagonal
            while x < len(left) and y < len(right) and left[x] == right[y]:
                x, y = x + 1, y + 1
            furthest[diagonal] = x
            if x >= len(left) and y >= len(right):
                return trace
    return None


def _step(furthest: dict[int, int], diagonal: int, edits: int) -> int:
    down = diagonal == -edits or (
        diagonal != edits and furthest.get(diagonal - 1, -1) < furthest.get(diagonal + 1, -1)
    )
    return furthest[diagonal + 1] if down else furthest[diagonal - 1] + 1


def _blocks(left: Sequence[bytes], right: Sequence[bytes], trace: list[dict[int, int]]) -> list[Block]:
    """Walk the trace backwards and gather neighbouring edits."""
    x, y = len(left), len(right)
    found: list[Block] = []
    for edits in range(len(trace) - 1, 0, -1):
        furthest = trace[edits]
        diagonal = x - y
        down = diagonal == -edits or (
            diagonal != edits and furthest.get(diagonal - 1, -1) < furthest.get(diagonal + 1, -1)
        )
        from_x = furthest[diagonal + 1 if down else diagonal - 1]
        from_y = from_x - (diagonal + 1 if down else diagonal - 1)
        to_x, to_y = (from_x, from_y + 1) if down else (from_x + 1, from_y)
        if found and (found[-1].old_start, found[-1].new_start) == (to_x, to_y):
            found[-1] = found[-1]._replace(old_start=from_x, new_start=from_y)
        else:
            found.append(Block(from_x, to_x, from_y, to_y))
        x, y = from_x, from_y
    return found[::-1]


def hunks(blocks: Sequence[Block], old_length: int) -> Iterator[Hunk]:
    """Blocks gathered into the hunks of a unified diff with three lines of context."""
    group: list[Block] = []
    for block in blocks:
        if group and block.old_start - group[-1].old_end > 2 * _CONTEXT:
            yield _hunk(group, old_length)
            group = []
        group.append(block)
    if group:
        yield _hunk(group, old_length)


def _hunk(group: list[Block], old_length: int) -> Hunk:
    before = min(_CONTEXT, group[0].old_start)
    after = min(_CONTEXT, old_length - group[-1].old_end)
    span = Block(
        group[0].old_start - before,
        group[-1].old_end + after,
        group[0].new_start - before,
        group[-1].new_end + after,
    )
    return Hunk(span, tuple(group))

"""Steps with their arguments resolved: what replay, policy and conversion work with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, overload

from sandbox_runner.trail.operations import TrailOpcodes

__all__ = ["Argument", "ResolvedStep", "Steps", "Strings", "step_number"]

Argument = str | int
_T = TypeVar("_T")


def step_number(index: int) -> int:
    """What people are told a step is: the first of a trail is step 1, as in "step 3 of 7".

    Everything that is written for programs (documents, logs, ``--json``, the API) has the index, from 0.
    A call that belongs to no step has the index -1 and is shown as 0.
    """
    return index + 1


@dataclass(frozen=True, slots=True)
class ResolvedStep:
    """One step of a verified trail.

    Attributes:
        index: position in the trail, from 0.
        opcode: the operation.
        arguments: by name and in the order of the operation table. TRAIL_BEGIN has ``agent_id``, ``trail_id``
            (empty when the trail has none or its text is not in the table), ``trail_id_hash`` (8 hexadecimal
            digits), ``timestamp`` (seconds since 1970) and, where known, ``agent``; TRAIL_END has ``status``
            and ``total_steps``.
    """

    index: int
    opcode: TrailOpcodes
    arguments: Mapping[str, Argument]


class _Lazy(Sequence[_T]):
    """A sequence whose items are built when asked for.

    A trail of a million steps would cost a hundred times its bytes as objects; a hostile one is made of
    nothing else. So a verified trail keeps offsets and reads an item again each time.
    """

    __slots__ = ("_count", "_read")

    def __init__(self, count: int, read: Callable[[int], _T]) -> None:
        self._count = count
        self._read = read

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> _T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[_T, ...]: ...
    def __getitem__(self, index: int | slice) -> _T | tuple[_T, ...]:
        if isinstance(index, slice):
            return tuple(map(self._read, range(*index.indices(self._count))))
        return self._read(range(self._count)[index])

    def __iter__(self) -> Iterator[_T]:
        return map(self._read, range(self._count))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(
            mine == theirs for mine, theirs in zip(self, other, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]  # equal to tuples, whose hash it has not

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._count}>"


class Steps(_Lazy[ResolvedStep]):
    """The steps of a verified trail, in order."""

    __slots__ = ()


class Strings(_Lazy[str]):
    """The texts of a string table, in the table's order."""

    __slots__ = ()

"""How two values of one field are combined so that the result allows what both allow.

Every field of the schema carries its rule as an annotation, next to its type and limits. A field without one
makes ``narrow`` fail, so a new key cannot be forgotten. Each rule is associative, commutative and idempotent;
therefore so is the intersection of policies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from sandbox_runner.policy.patterns import Clauses, canonical

__all__ = [
    "ANY_RUNTIME",
    "NO_RUNTIME",
    "Narrow",
    "agreed",
    "both",
    "clauses_of_both",
    "in_both",
    "narrow",
    "same_runtime",
    "smallest_of_each",
    "stricter_word",
    "union",
]

ANY_RUNTIME = "auto"
NO_RUNTIME = "none"

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Narrow:
    """The rule of one field: a function of the two values."""

    rule: Callable[[Any, Any], Any]


def narrow(left: Model, right: Model) -> Model:
    """Two records of one type, combined field by field."""
    return type(left)(
        **{name: _narrow_field(left, right, name) for name in type(left).model_fields},
    )


def _narrow_field(left: BaseModel, right: BaseModel, name: str) -> Any:
    one, other = getattr(left, name), getattr(right, name)
    if isinstance(one, BaseModel):
        return narrow(one, other)
    for mark in type(left).model_fields[name].metadata:
        if isinstance(mark, Narrow):
            return mark.rule(one, other)
    raise TypeError(f"{type(left).__name__}.{name} does not say how it narrows")


def both(one: bool, other: bool) -> bool:
    """For a permission: only what both give."""
    return one and other


def in_both(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """For an allowlist of names."""
    return tuple(sorted(set(one) & set(other)))


def union(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """For a denylist, or names of which all are demanded."""
    return tuple(sorted(set(one) | set(other)))


def clauses_of_both(one: Clauses, other: Clauses) -> Clauses:
    """For pattern lists: every clause of both must match."""
    return canonical((*one, *other))


def smallest_of_each(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """For limits by name, where a missing name means no limit."""
    return {name: min(side[name] for side in (one, other) if name in side) for name in sorted({*one, *other})}


def agreed(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """For meanings by name: only those on which both agree; two meanings of one name leave none."""
    return {name: one[name] for name in sorted({*one} & {*other}) if one[name] == other[name]}


def same_runtime(one: str, other: str) -> str:
    """``auto`` is any runtime; two different names leave none, and admission then refuses everything."""
    if other in {one, ANY_RUNTIME}:
        return one
    return other if one == ANY_RUNTIME else NO_RUNTIME


def stricter_word(*words: str) -> Callable[[str, str], str]:
    """For a choice whose words are given from the strictest to the most permissive."""
    return lambda one, other: min(one, other, key=words.index)

"""The fleet's section of a policy: spells, rooms, capabilities and trust, and how two of them become one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from sandbox_runner.policy.fields import Directory, Name, NamePatterns, Permission, Section, frozen
from sandbox_runner.policy.frozen import FrozenMapping
from sandbox_runner.policy.narrowing import Narrow, stricter_word
from sandbox_runner.policy.patterns import NOTHING

__all__ = ["CLOSED_ROOM", "NEVER_GRANTED", "TRUST_AT_START", "Fleet", "Room", "Spell"]

NEVER_GRANTED: Final = frozenset({"shell", "govern"})
"""Capabilities that are for humans; no policy can grant them."""

TRUST_AT_START: Final = 30
"""Points of trust, of 100, with which an agent enters a run unless the policy says otherwise."""

Level = Annotated[int, Field(strict=True, ge=0, le=4)]
Points = Annotated[int, Field(strict=True, ge=0, le=100), Narrow(min)]
Uses = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
Action = Annotated[str, Field(strict=True, max_length=255)]
Skippable = Annotated[Literal["skip", "strict"], Narrow(stricter_word("strict", "skip"))]


class Spell(Section):
    """A recipe of the host: a note, or with ``argv`` a command that runs in the sandbox without a shell."""

    level: Level = 0
    mana: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] = 0
    capability: Action = ""
    argv: Annotated[
        tuple[Annotated[str, Field(strict=True, max_length=4096)], ...], Field(max_length=64)
    ] = ()


class Room(Section):
    """What it takes to enter a room, and what being in it takes away."""

    level: Level = 0
    capability: Action = ""
    read_only: Annotated[bool, Field(strict=True)] = False
    directory: Directory = "."
    tests: Annotated[bool, Field(strict=True)] = True


CLOSED_ROOM: Final = Room(level=4, capability="shell", read_only=True, tests=False)
"""A room that nobody can enter, because ``shell`` is never granted: what two incompatible rules come to."""


def same_spells(one: Mapping[str, Spell], other: Mapping[str, Spell]) -> dict[str, Spell]:
    """Spells that both declare with the same effect; the higher level and price count."""
    found = {}
    for name in {*one} & {*other}:
        left, right = one[name], other[name]
        capability = _demanded(left.capability, right.capability)
        if left.argv == right.argv and capability is not None:
            found[name] = Spell(
                level=max(left.level, right.level),
                mana=max(left.mana, right.mana),
                capability=capability,
                argv=left.argv,
            )
    return found


def all_rooms(one: Mapping[str, Room], other: Mapping[str, Room]) -> dict[str, Room]:
    """The rules of both; where both have one for a room, all of its conditions."""
    shared = {name: _narrower_room(one[name], other[name]) for name in {*one} & {*other}}
    return {**one, **other, **shared}


def _narrower_room(left: Room, right: Room) -> Room:
    capability = _demanded(left.capability, right.capability)
    directory = _deeper(left.directory, right.directory)
    if CLOSED_ROOM in {left, right} or capability is None or directory is None:
        return CLOSED_ROOM
    return Room(
        level=max(left.level, right.level),
        capability=capability,
        read_only=left.read_only or right.read_only,
        directory=directory,
        tests=left.tests and right.tests,
    )


def _demanded(one: str, other: str) -> str | None:
    """The one capability that satisfies both demands, if there is one; the empty text demands none."""
    return one or other if one == other or not one or not other else None


def _deeper(one: str, other: str) -> str | None:
    """The directory that lies in both, if they are not apart."""
    for outer, inner in ((one, other), (other, one)):
        if outer in {".", inner} or inner.startswith(f"{outer}/"):
            return inner
    return None


def granted_by_both(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """Actions that both grant; of two limits on their use the lower, where 0 is no limit."""
    return {
        action: min(one[action], other[action]) or max(one[action], other[action])
        for action in {*one} & {*other}
    }


def less_trust(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """The lower of both; an agent that is not named has what everybody starts with."""
    return {
        agent: min(one.get(agent, TRUST_AT_START), other.get(agent, TRUST_AT_START))
        for agent in {*one, *other}
    }


def _by_name(value: Any) -> Any:
    """Spells by name, from a list whose members are names or records with a ``name``."""
    if not isinstance(value, list | tuple):
        return value
    found: dict[str, Any] = {}
    for item in value:
        record = {"name": item} if isinstance(item, str) else item
        name = record.get("name") if isinstance(record, Mapping) else None
        if not isinstance(name, str):
            raise ValueError("a spell is a name or a mapping with a name")  # noqa: TRY004 - pydantic's rule
        if name in found:
            raise ValueError(f"the spell {name!r} is declared twice")
        found[name] = {key: part for key, part in record.items() if key != "name"}
    return found


def _uses(value: Any) -> Any:
    """Uses by action, from a list of actions or a mapping; 0 is no limit."""
    return dict.fromkeys(value, 0) if isinstance(value, list | tuple) and _all_text(value) else value


def _all_text(items: Any) -> bool:
    return all(isinstance(item, str) for item in items)


def _grantable(uses: Mapping[str, int]) -> Mapping[str, int]:
    for action in uses:
        if action in NEVER_GRANTED:
            raise ValueError(f"{action!r} can never be granted")
    return uses


class Fleet(Section):
    """What the fleet's words may do: the bounds of the levels, trust and grants in the run's ledger."""

    spells: Annotated[Mapping[Name, Spell], BeforeValidator(_by_name), frozen, Narrow(same_spells)] = (
        FrozenMapping()
    )
    undeclared_spell: Skippable = "skip"
    rooms: NamePatterns = NOTHING
    room_rules: Annotated[Mapping[Name, Room], frozen, Narrow(all_rooms)] = FrozenMapping()
    empty_bottle: Skippable = "skip"
    capabilities: Annotated[
        Mapping[Name, Uses],
        BeforeValidator(_uses),
        AfterValidator(_grantable),
        frozen,
        Narrow(granted_by_both),
    ] = FrozenMapping()
    self_declared_levels: Permission = False
    principal_trust: Points = TRUST_AT_START
    trust: Annotated[Mapping[Name, Points], frozen, Narrow(less_trust)] = FrozenMapping()

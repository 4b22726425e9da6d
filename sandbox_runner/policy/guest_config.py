"""The part of the guest's configuration that a policy decides; the sandbox adds the run's own facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from sandbox_runner.policy.policy import Policy
from sandbox_runner.policy.privileges import Privileges
from sandbox_runner.trail.operations import METHODS

__all__ = ["guest_config"]


def guest_config(policy: Policy, *, principal: str, privileges: Privileges | None = None) -> dict[str, Any]:
    """JSON-able settings for the guest.

    Keys: ``repositories`` (number as text -> directory), ``push`` (``deny`` or ``quarantine``), ``git``
    (``stage``: ``changed`` or ``all``),
    ``withheld`` (methods that are refused), ``tests`` (``timeout_s``, ``honour_project_config``,
    ``isolation``), ``search`` (``max_pattern_bytes``), ``bottles`` (``max_count``, ``max_bytes``; the
    messages that wait, ``in``, are the run's to add) and ``fleet``: ``spells`` (``name``, ``level``,
    ``mana``, ``capability``, ``argv``), ``rooms`` (``name``, ``level``, ``capability``, ``read_only``,
    ``directory``, ``tests``; only rooms with rules, names are the guard's business), ``capabilities``
    (``action``, ``uses``), ``undeclared_spell`` and ``empty_bottle`` (``skip`` or ``strict``),
    ``self_declared_levels`` and ``trust`` (agent -> points).

    Args:
        policy: the effective policy.
        principal: the acting agent; its trust is ``principal_trust``, or less where ``trust`` says so.
        privileges: what the run needs. Without a push there is no quarantine, without a test no test server,
            and every method that it does not need is refused. ``None`` withholds nothing.
    """
    fleet = policy.fleet
    trust = {**fleet.trust, principal: min(fleet.principal_trust, fleet.trust.get(principal, 100))}
    tests = policy.tests.model_dump(include={"timeout_s", "honour_project_config", "isolation"})
    push, withheld = policy.git.push, []
    if privileges is not None:
        push = push if privileges.push else "deny"
        tests["isolation"] = tests["isolation"] if privileges.tests else "fresh"
        withheld = sorted(METHODS.keys() - {*privileges.methods})
    return {
        "repositories": dict(policy.git.repositories),
        "push": push,
        "git": {"stage": policy.git.stage},
        "withheld": withheld,
        "tests": tests,
        "search": policy.search.model_dump(),
        "bottles": policy.bottles.model_dump(include={"max_count", "max_bytes"}),
        "fleet": {
            "spells": _named(fleet.spells),
            "rooms": _named(fleet.room_rules),
            "capabilities": [{"action": action, "uses": uses} for action, uses in fleet.capabilities.items()],
            "undeclared_spell": fleet.undeclared_spell,
            "empty_bottle": fleet.empty_bottle,
            "self_declared_levels": fleet.self_declared_levels,
            "trust": trust,
        },
    }


def _named(records: Mapping[str, BaseModel]) -> list[dict[str, Any]]:
    return [{"name": name, **record.model_dump(mode="json")} for name, record in records.items()]

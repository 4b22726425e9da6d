"""level_up, room_enter, trust_update, cap_issue: entries of the run ledger, after the judge agreed."""

from __future__ import annotations

from sandbox_runner.guest.ledger import RANK_ACTIONS, may_exercise
from sandbox_runner.guest.outcome import Outcome, StepError
from sandbox_runner.guest.rules import Grant

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox_runner.guest.context import Guest

__all__ = ["cap_issue", "level_up", "room_enter", "trust_update"]

_MANAGE = "manage_permissions"
_MOST_TRUST = 100


def level_up(guest: Guest, agent: str, level: int) -> Outcome:
    """Record a level; it counts where the principal may manage permissions or agents may declare theirs."""
    ledger = guest.ledger
    state, rules = ledger.state, ledger.rules
    before = state.levels.get(agent, 0)
    if level <= before:
        raise StepError(f"level {level} not above {before}", {"level": before})
    granted = may_exercise(rules, state, _MANAGE) is None
    effective = rules.self_declared_levels or granted
    effect = {"agent": agent, "effective": effective, "from": before, "to": level}
    ledger.record("level_up", {"agent": agent, "level": level}, effect)
    state.levels[agent] = level
    if effective:
        if not rules.self_declared_levels:
            ledger.exercise(_MANAGE)
        state.ranks[agent] = level
    rank = state.rank_of(agent)
    eligible = sorted(
        action
        for needed, actions in RANK_ACTIONS.items()
        for action in actions
        if needed <= rank and action in rules.capabilities
    )
    return Outcome(f"level_up: {agent} \u2192 level {level}", {**effect, "rank": rank, "eligible": eligible})


def room_enter(guest: Guest, room: str) -> Outcome:
    """Change the working context; the room before is left."""
    ledger = guest.ledger
    declared = ledger.rules.rooms.get(room)
    effect = {"declared": declared is not None, "previous": ledger.state.room, "room": room}
    ledger.record("room_enter", {"room": room}, effect)
    if declared is not None and declared.capability:
        ledger.exercise(declared.capability)
    ledger.state.room = room
    return Outcome(f"room_enter: {room}", effect)


def trust_update(guest: Guest, target: str, delta: float) -> Outcome:
    """Move an agent's trust by whole points between 0 and 100. Nobody raises their own."""
    ledger = guest.ledger
    state = ledger.state
    if delta != int(delta):
        raise StepError(f"delta {delta:+} is no whole number of points")
    points = int(delta)
    before = state.trust_of(target)
    own = target == ledger.rules.principal
    wanted = before if own and points > 0 else before + points
    after = min(_MOST_TRUST, max(0, wanted))
    effect = {"after": after, "before": before, "clamped": after != wanted, "self": own, "target": target}
    ledger.record("trust_update", {"delta": points, "target": target}, effect)
    state.trust[target] = after
    state.moved[target] = state.moved.get(target, 0) + points
    return Outcome(f"trust_update: {target} {points:+.1f}", effect)


def cap_issue(guest: Guest, action: str, holder: str) -> Outcome:
    """Hand on a grant the principal holds: the same action, no more uses, one step further from the host."""
    ledger = guest.ledger
    principal = ledger.rules.principal
    parent = ledger.state.grant_for(principal, action)
    if parent is None:
        raise StepError(f"{holder} may not receive {action}: {principal} holds no grant for {action}")
    grant = Grant(
        ledger.identify("grant", action, holder),
        action=action,
        holder=holder,
        issuer=principal,
        parent=parent.id,
        depth=parent.depth + 1,
        uses=parent.uses,
    )
    effect = {"depth": grant.depth, "holder": holder, "id": grant.id, "parent": parent.id, "uses": grant.uses}
    ledger.record("cap_issue", {"action": action, "holder": holder}, effect)
    ledger.state.grants.append(grant)
    return Outcome(f"cap_issue: {action} \u2192{holder}", {**effect, "action": action, "issuer": principal})

"""spell_cast: recipes that the host declared. A trail names one and adds nothing to it; there is no shell."""

from __future__ import annotations

import os

from sandbox_runner.guest.outcome import SKIPPED, Outcome, StepError, listing
from sandbox_runner.guest.process import Program, run
from sandbox_runner.guest.scratch import clear_scratch
from sandbox_runner.guest.sinks import HeadTail
from sandbox_runner.guest.tools import require_tool
from sandbox_runner.guest.wire import OUTPUT_LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox_runner.guest.context import Guest
    from sandbox_runner.guest.rules import Spell

__all__ = ["spell_cast"]


def spell_cast(guest: Guest, spell: str) -> Outcome:
    """Pay a declared spell's mana and do what it says; an undeclared name is skipped, or fails if strict."""
    ledger = guest.ledger
    text = f"spell_cast: {spell}"
    known = ledger.rules.spells.get(spell)
    if known is None:
        if guest.config.fleet.undeclared_spell == "strict":
            raise StepError("unknown spell: " + spell)
        return Outcome(text, {"undeclared": True}, SKIPPED)
    has = ledger.state.mana_left(ledger.rules.principal)
    if known.mana > has:
        raise StepError(f"needs {known.mana} mana, has {has}", {"mana": has})
    effect: dict[str, Any] = {"mana_left": has - known.mana, "mana_spent": known.mana, "spell": spell}
    ledger.record("spell_cast", {"spell": spell}, effect)
    ledger.state.mana_spent += known.mana
    if known.capability:
        ledger.exercise(known.capability)
    if known.argv:
        return _command(guest, known, text, effect)
    if spell == "navigatium":
        effect = {**effect, **_entries(guest)}
    elif spell == "detectum":
        effect = {**effect, **_standing(guest)}
    return Outcome(text, effect)


def _command(guest: Guest, spell: Spell, text: str, effect: dict[str, Any]) -> Outcome:
    output = guest.output = HeadTail(guest.config.limits.output_bytes, keep=OUTPUT_LIMIT)
    program = spell.argv[0] if spell.argv[0].startswith("/") else require_tool(spell.argv[0])
    try:
        ended = run(
            guest,
            Program([program, *spell.argv[1:]], cwd=guest.root, sinks=[((1, 2), output)]),
            guest.config.tests.timeout_s,
        )
    except FileNotFoundError:
        raise StepError(f"the image has no {program}", effect) from None
    clear_scratch(guest)
    details = {
        **effect,
        "exhausted": ended.exhausted,
        "exit": ended.code,
        "meta": {"processes_left": ended.left},
        "output": output.text(),
    }
    if ended.timed_out or ended.code != 0:
        raise StepError(f"{spell.name} ended with {ended.manner()}", details)
    return Outcome(text, details)


def _entries(guest: Guest) -> dict[str, Any]:
    """What stands at the top of the workspace, in byte order."""
    with guest.identity:
        names = sorted(os.fsencode(name) for name in os.listdir(guest.root))
    return {"entries": listing(names), "entries_count": len(names)}


def _standing(guest: Guest) -> dict[str, Any]:
    """Where the principal stands in this run."""
    state, principal = guest.ledger.state, guest.ledger.rules.principal
    return {
        "grants": listing(
            sorted({grant.action for grant in state.grants if grant.holder == principal and grant.uses != 0})
        ),
        "level": state.levels.get(principal, 0),
        "rank": state.rank_of(principal),
        "room": state.room,
        "trust": state.trust_of(principal),
    }

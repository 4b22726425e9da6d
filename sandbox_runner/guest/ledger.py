"""The run ledger and its one judge: levels, trust, rooms, spells and capabilities, all run-scoped.

``judge`` is pure and is asked before every call of every method. ``Ledger`` keeps the state and a chain of
entries in this process's memory: code of the workspace cannot forge trust or grants, because nothing of it
reaches here.

A grant is needed where the host's declarations ask for one (a room's or spell's ``capability``, an
effective level, an issue); exercising it takes trust of at least 25 then. Without a grant at stake trust
forbids nothing: it is the ecosystem's measure for delegation, not a second policy.
"""

from __future__ import annotations

from sandbox_runner.guest.digest import sha256_hex
from sandbox_runner.guest.lean import json_encoder
from sandbox_runner.guest.outcome import REFUSED, StepError
from sandbox_runner.guest.paths import normal, split_target
from sandbox_runner.guest.rules import Rules, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox_runner.guest.config import Config

__all__ = ["ACTIONS", "RANK_ACTIONS", "Ledger", "canonical", "judge", "may_exercise"]

RANK_ACTIONS: dict[int, tuple[str, ...]] = {
    2: ("build_room", "create_item", "summon_npc"),
    3: ("create_adventure", "delegate", "edit_room", "manage_vessel", "review_agent"),
    4: (
        "broadcast_fleet",
        "create_item_type",
        "create_room_type",
        "create_spell",
        "create_tool_room",
        "edit_any_room",
        "govern",
        "manage_permissions",
    ),
}
"""What a rank makes an agent eligible for; it is issued only where the host's own grants contain it."""
ACTIONS = frozenset(action for actions in RANK_ACTIONS.values() for action in actions) | {
    "shell",
    "file_write",
    "git_commit",
    "git_push",
    "test_run",
}
"""Every action a capability can name, beside ``spell:<name>``."""

_NEVER_ISSUED = ("govern", "shell")
_EXERCISE, _RECEIVE, _DELEGATE = 25, 40, 50  # points of trust
_STEP_LIMIT, _RUN_LIMIT = 25, 50
_DEPTH = 3
_sorted = json_encoder(sort_keys=True)
_LEDGER_LIMIT = 16 << 20
_WRITERS = ("file_write", "file_edit", "git_commit", "test_run", "spell_cast")
_FILE_METHODS = ("file_read", "file_write", "file_edit")


def judge(  # noqa: PLR0911 - a rule each
    rules: Rules, state: State, method: str, arguments: dict[str, Any]
) -> str | None:
    """Why the principal may not make this call now, or ``None`` if it may. Changes nothing."""
    if method in rules.withheld:
        return "refused: withheld, no step of this run was to use it"
    if state.room:
        reason = _confined(rules, state, method, arguments)
        if reason:
            return reason
    if method == "room_enter":
        return _entering(rules, state, arguments["room"])
    if method == "spell_cast":
        return _casting(rules, state, arguments["spell"])
    if method == "trust_update":
        return _trusting(state, arguments["target"], arguments["delta"])
    if method == "cap_issue":
        reason = _issuing(rules, state, arguments["action"], arguments["holder"])
        return reason and "{} may not receive {}: {}".format(arguments["holder"], arguments["action"], reason)
    return None


def may_exercise(rules: Rules, state: State, action: str) -> str | None:
    """Why the principal may not use a capability for an action, or ``None`` if it may."""
    if state.grant_for(rules.principal, action) is None:
        return f"{rules.principal} holds no grant for {action}"
    trust = state.trust_of(rules.principal)
    if trust < _EXERCISE:
        return f"trust of {rules.principal} is {trust}, exercising takes {_EXERCISE}"
    return None


def _confined(rules: Rules, state: State, method: str, arguments: dict[str, Any]) -> str | None:
    room = rules.rooms.get(state.room)
    if room is None:
        return None
    if room.read_only and method in _WRITERS:
        spell = rules.spells.get(arguments.get("spell", ""))
        if method != "spell_cast" or (spell is not None and spell.argv):
            return f"refused: room {room.name} is read-only"
    if method == "test_run" and not room.tests:
        return f"refused: room {room.name} forbids tests"
    below = normal(room.directory)
    if below:
        if method in ("search_code", "git_commit", "git_push"):
            return f"refused: room {room.name} is confined to {room.directory}"
        path = split_target(arguments["test_path"])[0] if method == "test_run" else arguments.get("path", "")
        if (method in _FILE_METHODS or method == "test_run") and normal(path)[: len(below)] != below:
            return f"refused: room {room.name} is confined to {room.directory}"
    return None


def _entering(rules: Rules, state: State, name: str) -> str | None:
    room = rules.rooms.get(name)
    if room is None:
        return None
    if state.rank_of(rules.principal) < room.level:
        return f"room {name} requires level {room.level}"
    reason = room.capability and may_exercise(rules, state, room.capability)
    return f"room {name}: {reason}" if reason else None


def _casting(rules: Rules, state: State, name: str) -> str | None:
    spell = rules.spells.get(name)
    if spell is None:
        return None
    if state.rank_of(rules.principal) < spell.level:
        return f"requires level {spell.level}"
    return (spell.capability and may_exercise(rules, state, spell.capability)) or None


def _trusting(state: State, target: str, delta: float) -> str | None:
    if abs(delta) > _STEP_LIMIT or abs(state.moved.get(target, 0) + delta) > _RUN_LIMIT:
        return f"delta {delta:+.1f} exceeds limit"
    return None


def _issuing(rules: Rules, state: State, action: str, holder: str) -> str | None:  # noqa: PLR0911 - a rule each
    if action not in ACTIONS and not action.startswith("spell:"):
        return "no such action"
    if action in _NEVER_ISSUED:
        return "no trail can issue it"
    reason = may_exercise(rules, state, action)
    if reason:
        return reason
    grant = state.grant_for(rules.principal, action)
    if grant is not None and grant.depth >= _DEPTH:
        return f"the grant is delegated {grant.depth} times already"
    if state.trust_of(rules.principal) < _DELEGATE:
        return (
            f"trust of {rules.principal} is {state.trust_of(rules.principal)}, delegating takes {_DELEGATE}"
        )
    if state.trust_of(holder) < _RECEIVE:
        return f"trust of {holder} is {state.trust_of(holder)}, receiving takes {_RECEIVE}"
    return None


def canonical(value: Any) -> bytes:
    """RFC 8785 for what the ledger holds: texts, integers, booleans and ASCII keys."""
    return _sorted(value).encode("utf-8", "surrogatepass")


class Ledger:
    """State, entries and bottles of one run. Entries are only added; each names the digest before it."""

    __slots__ = ("_bytes", "_lines", "bottles", "head", "rules", "run_id", "state", "step", "unread")

    def __init__(self, config: Config) -> None:
        self.rules = Rules(config)
        self.state = State(self.rules)
        self.run_id = config.run_id
        self.step = -1
        self.head = sha256_hex(b"sandbox-runner ledger 1\n" + config.run_id.encode())
        self.bottles: list[bytes] = []
        self.unread: list[Any] | None = None  # inbound bottles, once the first is asked for
        self._lines: list[bytes] = []
        self._bytes = 0

    @property
    def room(self) -> str:
        """The current room's name, empty outside of any."""
        return self.state.room

    def admit(self, method: str, arguments: dict[str, Any]) -> None:
        """Ask the judge.

        Raises:
            StepError: it said no (refused).
        """
        reason = judge(self.rules, self.state, method, arguments)
        if reason:
            raise StepError(reason, status=REFUSED)

    def exercise(self, action: str) -> None:
        """Use a capability once: where its uses are limited, one of them is gone."""
        grant = self.state.grant_for(self.rules.principal, action)
        if grant is not None and grant.uses is not None:
            grant.uses -= 1

    def identify(self, *parts: str) -> str:
        """A reproducible id: 12 hex digits over the run, the position in the ledger and what it is about."""
        return sha256_hex(canonical([self.run_id, len(self._lines), *parts]))[:12]

    def record(self, method: str, arguments: dict[str, Any], effect: dict[str, Any]) -> None:
        """Append one entry.

        Raises:
            StepError: the ledger is full; nothing was appended.
        """
        entry = {
            "arguments": arguments,
            "effect": effect,
            "method": method,
            "previous": self.head,
            "seq": len(self._lines),
            "step": self.step,
        }
        digest = sha256_hex(canonical(entry))
        line = canonical({**entry, "digest": digest}) + b"\n"
        if self._bytes + len(line) > _LEDGER_LIMIT:
            raise StepError(f"the run ledger is full at {self._bytes} bytes")
        self._lines.append(line)
        self._bytes += len(line)
        self.head = digest

    def export(self) -> tuple[dict[str, Any], bytes]:
        """Ledger and bottles as JSON lines; their lengths, the number of entries and the chain's head."""
        lines, bottles = b"".join(self._lines), b"".join(self.bottles)
        header = {
            "entries": len(self._lines),
            "head": self.head,
            "blobs": {"ledger": len(lines), "bottles": len(bottles)},
        }
        return header, lines + bottles

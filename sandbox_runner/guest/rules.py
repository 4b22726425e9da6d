"""What the host declared about rooms, spells and capabilities, and where the run stands against it."""

from __future__ import annotations

from sandbox_runner.guest.config import ConfigError, Section, check_count, check_flag, check_text, check_texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar

    from sandbox_runner.guest.config import Config
    from sandbox_runner.guest.config import Rules as Checks

__all__ = ["FIRST_TRUST", "TOP_RANK", "Grant", "Room", "Rules", "Spell", "State"]

FIRST_TRUST = 30
"""Points of trust every agent starts with, unless the host says otherwise."""
TOP_RANK = 4
"""The highest rank a trail can reach; rank 5 is for humans."""

_LEVEL = check_count(0, 65_535)


class Room(Section):
    """A room with conditions. A room can only restrict.

    Attributes:
        level: rank needed to enter.
        capability: action that a grant must be held for to enter; empty for none.
        read_only: nothing may change the workspace meanwhile, so nothing foreign may run either.
        directory: file, git, test and search operations must stay below it.
        tests: whether TEST_RUN is allowed.
    """

    name: str
    level: int
    capability: str
    read_only: bool
    directory: str
    tests: bool
    RULES: ClassVar[Checks] = {
        "name": (check_text, None),
        "level": (_LEVEL, 0),
        "capability": (check_text, ""),
        "read_only": (check_flag, False),
        "directory": (check_text, "."),
        "tests": (check_flag, True),
    }


class Spell(Section):
    """A declared recipe: a note without ``argv``, a command with one. A trail adds no argument to it."""

    name: str
    level: int
    mana: int
    capability: str
    argv: list[str]
    RULES: ClassVar[Checks] = {
        "name": (check_text, None),
        "level": (_LEVEL, 0),
        "mana": (check_count(0, 1_000_000), 0),
        "capability": (check_text, ""),
        "argv": (check_texts, []),
    }


class Capability(Section):
    """A root grant of the host to the principal; ``uses`` 0 means without limit."""

    action: str
    uses: int
    RULES: ClassVar[Checks] = {"action": (check_text, None), "uses": (check_count(0, 1_000_000), 0)}


BUILT_IN = (
    {"name": "read"},
    {"name": "look"},
    {"name": "navigatium"},
    {"name": "detectum", "level": 1, "mana": 5},
)


class Rules:
    """The declarations by name. A room or spell given as a bare text has no conditions."""

    __slots__ = ("capabilities", "principal", "rooms", "self_declared_levels", "spells", "trust", "withheld")

    def __init__(self, config: Config) -> None:
        fleet = config.fleet
        self.principal = config.principal
        self.self_declared_levels = fleet.self_declared_levels
        self.trust = fleet.trust
        self.withheld = frozenset(config.withheld)
        self.rooms: dict[str, Room] = _named(Room, fleet.rooms, "name")
        self.spells: dict[str, Spell] = _named(Spell, [*BUILT_IN, *fleet.spells], "name")
        self.capabilities: dict[str, Capability] = _named(Capability, fleet.capabilities, "action")


def _named(kind: Any, items: list[Any], key: str) -> dict[str, Any]:
    named = {}
    for index, item in enumerate(items):
        one = kind({key: item} if type(item) is str else item, f"fleet.{kind.__name__.lower()}[{index}]")
        if not getattr(one, key):
            raise ConfigError(f"a {kind.__name__.lower()} needs a {key}")
        named[getattr(one, key)] = one
    return named


class Grant:
    """The permission for one action, held by one agent; a child never exceeds its parent."""

    __slots__ = ("action", "depth", "holder", "id", "issuer", "parent", "uses")

    def __init__(
        self,
        identity: str,
        *,
        action: str,
        holder: str,
        issuer: str,
        parent: str,
        depth: int,
        uses: int | None,
    ) -> None:
        self.id = identity
        self.action = action
        self.holder = holder
        self.issuer = issuer
        self.parent = parent
        self.depth = depth
        self.uses = uses


class State:
    """Where the run stands. Everything in it ends with the run."""

    __slots__ = ("grants", "levels", "mana_spent", "moved", "ranks", "room", "trust")

    def __init__(self, rules: Rules) -> None:
        self.room = ""
        self.levels: dict[str, int] = {}  # recorded, whether they count or not
        self.ranks: dict[str, int] = {}  # those that count
        self.trust: dict[str, int] = dict(rules.trust)
        self.moved: dict[str, int] = {}
        self.mana_spent = 0
        self.grants: list[Grant] = [
            Grant(
                f"host-{action}",
                action=action,
                holder=rules.principal,
                issuer="host",
                parent="",
                depth=0,
                uses=capability.uses or None,
            )
            for action, capability in rules.capabilities.items()
        ]

    def rank_of(self, agent: str) -> int:
        """The rank that counts: at most 4, 0 without an effective level."""
        return min(self.ranks.get(agent, 0), TOP_RANK)

    def trust_of(self, agent: str) -> int:
        """Points from 0 to 100."""
        return self.trust.get(agent, FIRST_TRUST)

    def mana_left(self, agent: str) -> int:
        """What the agent's spells may still cost."""
        return 100 + 50 * self.rank_of(agent) - self.mana_spent

    def grant_for(self, agent: str, action: str) -> Grant | None:
        """The least delegated grant with uses left, if the agent holds any for the action."""
        held = [g for g in self.grants if g.holder == agent and g.action == action and g.uses != 0]
        return min(held, key=lambda grant: grant.depth) if held else None

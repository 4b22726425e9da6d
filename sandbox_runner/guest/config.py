"""The guest's configuration: what the host decides before the first call. Unknown keys are faults."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar

    Rule = Callable[[Any, str], Any]
    Rules = dict[str, tuple[Rule, Any]]

__all__ = ["Config", "ConfigError", "Section", "check_count", "check_flag", "check_text", "check_texts"]


class ConfigError(Exception):
    """The host sent a configuration that this guest does not understand."""


def check_text(value: Any, where: str) -> str:
    """A text without NUL."""
    if type(value) is not str or "\0" in value:
        raise ConfigError(f"{where} must be a text")
    return value


def check_flag(value: Any, where: str) -> bool:
    """True or false."""
    if type(value) is not bool:
        raise ConfigError(f"{where} must be true or false")
    return value


def check_count(low: int, high: int) -> Rule:
    """The rule for an integer between two bounds, both included."""

    def check(value: Any, where: str) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ConfigError(f"{where} must be an integer from {low} to {high}")
        return value

    return check


def _seconds(value: Any, where: str) -> float:
    if type(value) not in (int, float) or not 0 < value <= 86_400:
        raise ConfigError(f"{where} must be a number of seconds up to 86400")
    return float(value)


def _one_of(*allowed: str) -> Rule:
    def check(value: Any, where: str) -> str:
        if value not in allowed:
            raise ConfigError("{} must be one of: {}".format(where, ", ".join(allowed)))
        return str(value)

    return check


def check_texts(value: Any, where: str) -> list[str]:
    """A list of texts."""
    if type(value) is not list:
        raise ConfigError(f"{where} must be a list")
    return [check_text(item, where) for item in value]


def _items(value: Any, where: str) -> list[Any]:
    """A list of texts and objects; who uses them checks the objects."""
    if type(value) is not list or not all(type(item) in (str, dict) for item in value):
        raise ConfigError(f"{where} must be a list of texts and objects")
    return list(value)


def _map(rule: Rule) -> Rule:
    def check(value: Any, where: str) -> dict[str, Any]:
        if type(value) is not dict:
            raise ConfigError(f"{where} must be an object")
        return {check_text(key, where): rule(item, f"{where}.{key}") for key, item in value.items()}

    return check


class Section:
    """Named values, each checked by the rule that stands beside it; read-only once built."""

    RULES: ClassVar[Rules] = {}

    def __init__(self, given: Any, where: str) -> None:
        if type(given) is not dict:
            raise ConfigError(f"{where} must be an object")
        for name in given:
            if name not in self.RULES:
                raise ConfigError(f"{where}.{name:.60} is no setting of this guest")
        for name, (rule, default) in self.RULES.items():
            value = rule(given.get(name, default), f"{where}.{name}")
            self.__dict__[name.rstrip("_")] = value

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("a configuration does not change")


class Git(Section):
    """What commits take, and what they may do beside committing.

    Attributes:
        init: make a repository where there is none.
        stage: ``changed`` for what the run changed, ``all`` for all that differs from the last commit.
    """

    init: bool
    stage: str
    RULES: ClassVar[Rules] = {"init": (check_flag, True), "stage": (_one_of("changed", "all"), "changed")}


class Tests(Section):
    """How TEST_RUN runs."""

    timeout_s: float
    honour_project_config: bool
    isolation: str
    RULES: ClassVar[Rules] = {
        "timeout_s": (_seconds, 120),
        "honour_project_config": (check_flag, False),
        "isolation": (_one_of("fresh", "server"), "fresh"),
    }


class Search(Section):
    """What SEARCH_CODE may cost."""

    max_pattern_bytes: int
    timeout_s: float
    RULES: ClassVar[Rules] = {
        "max_pattern_bytes": (check_count(1, 1 << 20), 4096),
        "timeout_s": (_seconds, 30),
    }


class Bottles(Section):
    """Limits of messages dropped in this run, and those that wait for it (``in``: ``{source, content}``)."""

    max_count: int
    max_bytes: int
    inbound: list[Any]
    RULES: ClassVar[Rules] = {
        "max_count": (check_count(0, 100_000), 100),
        "max_bytes": (check_count(0, 16 << 20), 65_536),
        "in": (_items, []),
    }

    def __init__(self, given: Any, where: str) -> None:
        super().__init__(given, where)
        self.__dict__["inbound"] = self.__dict__.pop("in")


class Fleet(Section):
    """What the host declared about spells, rooms, capabilities and trust; ``ledger`` gives it meaning."""

    spells: list[Any]
    rooms: list[Any]
    capabilities: list[Any]
    undeclared_spell: str
    empty_bottle: str
    self_declared_levels: bool
    trust: dict[str, int]
    RULES: ClassVar[Rules] = {
        "spells": (_items, []),
        "rooms": (_items, ["*"]),
        "capabilities": (_items, []),
        "undeclared_spell": (_one_of("skip", "strict"), "skip"),
        "empty_bottle": (_one_of("skip", "strict"), "skip"),
        "self_declared_levels": (check_flag, False),
        "trust": (_map(check_count(0, 100)), {}),
    }


class Limits(Section):
    """Limits of one call and of the programs it starts."""

    output_bytes: int
    file_bytes: int
    call_s: float
    open_files: int
    processes: int
    RULES: ClassVar[Rules] = {
        "output_bytes": (check_count(1, 1 << 30), 65_536),
        "file_bytes": (check_count(1, 32 << 20), 16 << 20),
        "call_s": (_seconds, 300),
        "open_files": (check_count(16, 1 << 20), 1024),
        "processes": (check_count(1, 1 << 20), 128),
    }


def _section(kind: Any) -> Rule:
    rule: Rule = kind
    return rule


class Config(Section):
    """The whole configuration.

    Attributes:
        run_id: goes into the ids of bottles and grants.
        principal: the acting agent; author of commits.
        clock: the run's time in seconds since 1970; the date of every commit.
        uid: the sandbox uid, which owns the workspace.
        workspace: where the workspace is mounted.
        shared: whether somebody outside of this sandbox may change the workspace while the run lasts.
        scratch: directories that are emptied after foreign code ran.
        repositories: from repository numbers (as text) to directories relative to the workspace.
        push: ``deny`` or ``quarantine``.
        withheld: methods that this run has no use for; they are refused.
    """

    run_id: str
    principal: str
    clock: int
    uid: int
    workspace: str
    shared: bool
    scratch: list[str]
    repositories: dict[str, str]
    push: str
    withheld: list[str]
    git: Git
    tests: Tests
    search: Search
    bottles: Bottles
    fleet: Fleet
    limits: Limits
    RULES: ClassVar[Rules] = {
        "run_id": (check_text, "run"),
        "principal": (check_text, "executor"),
        "clock": (check_count(0, 1 << 40), 0),
        "uid": (check_count(1, (1 << 32) - 2), None),
        "workspace": (check_text, "/workspace"),
        "shared": (check_flag, False),
        "scratch": (check_texts, ["/tmp", "/dev/shm", "/dev/mqueue"]),
        "repositories": (_map(check_text), {"0": ".", "1": "."}),
        "push": (_one_of("deny", "quarantine"), "deny"),
        "withheld": (check_texts, []),
        "git": (_section(Git), {}),
        "tests": (_section(Tests), {}),
        "search": (_section(Search), {}),
        "bottles": (_section(Bottles), {}),
        "fleet": (_section(Fleet), {}),
        "limits": (_section(Limits), {}),
    }

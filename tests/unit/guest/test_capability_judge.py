"""One judge for capabilities: a trail can use and pass on what its host granted, and never more."""

from typing import Any

import pytest

from sandbox_runner.guest.config import Config
from sandbox_runner.guest.ledger import judge, may_exercise
from sandbox_runner.guest.rules import Rules, State


def position(granted: list[Any], **trust: int) -> tuple[Rules, State]:
    rules = Rules(
        Config({"uid": 9, "principal": "ada", "fleet": {"capabilities": granted, "trust": trust}}, "config")
    )
    return rules, State(rules)


def issue(rules: Rules, state: State, action: str, holder: str = "bob") -> str | None:
    return judge(rules, state, "cap_issue", {"action": action, "holder": holder})


def test_what_the_host_granted_can_be_passed_on_and_nothing_else() -> None:
    rules, state = position(["build_room"], ada=60, bob=60)
    assert issue(rules, state, "build_room") is None
    for action in ("shell", "govern", "edit_room", "build_room2", "*", "build_room,shell", ""):
        assert issue(rules, state, action) is not None, action


def test_even_a_host_cannot_let_a_trail_issue_the_shell() -> None:
    rules, state = position(["shell", "govern"], ada=100, bob=100)
    assert issue(rules, state, "shell") is not None
    assert issue(rules, state, "govern") is not None


@pytest.mark.parametrize(("trust", "allowed"), [(24, False), (25, True)])
def test_exercising_asks_for_the_trust_that_a_query_asks_for(trust: int, allowed: bool) -> None:
    rules, state = position([{"action": "build_room"}], ada=trust)
    assert (may_exercise(rules, state, "build_room") is None) is allowed

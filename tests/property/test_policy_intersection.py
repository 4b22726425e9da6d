"""Combining policies: the laws, over random policies and calls."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox_runner.policy import Policy, Resources, guest_config
from sandbox_runner.trail import METHODS, OPERATIONS
from sandbox_runner.world import Call

OPCODES = sorted(opcode.name for opcode in OPERATIONS)
PATH_PATTERNS = [
    "**",
    "*",
    "src/**",
    "src/*.py",
    "tests/**",
    "**/.env",
    "*.md",
    "docs/",
    "/top",
    "[st]rc/?.py",
]
NAME_PATTERNS = ["*", "oracle-*", "o?acle-1", "bob", "[a-m]*"]
DIRECTORIES = [".", "src", "src/lib", "tests"]
ACTIONS = ["file_write", "edit_room"]
AGENTS = ["ada", "bob"]
PATHS = [
    "src/a.py",
    "src/lib/b.py",
    "src//./a.py",
    "tests/test_a.py",
    "tests",
    ".env",
    "src/.env",
    "README.md",
]
MORE_PATHS = ["docs/x", "docs", "top", "trc/b.py", "../x", "/etc/passwd", ".git/config", "a b", "", "."]
NAMES = ["bob", "oracle-1", "oracle-2", "file_write", "edit_room", "shell", "0", "1", "2", "x" * 40]
TEXTS = [*PATHS, *MORE_PATHS, *NAMES]


# Small vocabularies and a bias to "everything", so that two random policies meet often enough to disagree.
def subset(values: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), unique=True, max_size=4)


def pattern_lists(values: list[str]) -> st.SearchStrategy[Any]:
    return st.just(["**"]) | subset(values) | st.lists(subset(values), min_size=1, max_size=3)


def limits(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low, high)


ROOMS = st.fixed_dictionaries(
    {},
    optional={
        "level": limits(0, 4),
        "capability": st.sampled_from(["", *ACTIONS]),
        "read_only": st.booleans(),
        "directory": st.sampled_from(DIRECTORIES),
        "tests": st.booleans(),
    },
)
SPELL = st.fixed_dictionaries(
    {},
    optional={
        "level": limits(0, 4),
        "mana": limits(0, 50),
        "capability": st.sampled_from(["", *ACTIONS]),
        "argv": st.sampled_from([[], ["ls"]]),
    },
)
FLEET = st.fixed_dictionaries(
    {
        "spells": st.dictionaries(st.just("scribus"), SPELL),
        "rooms": pattern_lists(NAME_PATTERNS),
        "room_rules": st.dictionaries(st.just("vault"), ROOMS),
        "undeclared_spell": st.sampled_from(["skip", "strict"]),
        "capabilities": st.dictionaries(st.sampled_from(ACTIONS), limits(0, 3), max_size=3),
        "self_declared_levels": st.booleans(),
        "principal_trust": limits(0, 100),
        "trust": st.dictionaries(st.sampled_from(AGENTS), limits(20, 40), max_size=2),
    },
)
# Every policy here gives a repository number one meaning; two meanings have a test of their own.
REPOSITORIES = st.sets(st.sampled_from(["0", "1"])).map(
    lambda keys: {key: {"0": ".", "1": "src"}[key] for key in keys}
)
POLICIES = st.fixed_dictionaries(
    {
        "policy": st.just(1),
        "name": st.sampled_from(["a", "b", "c"]),
        "opcodes": st.just(OPCODES) | subset(OPCODES),
        "paths": st.fixed_dictionaries(
            {
                "read": pattern_lists(PATH_PATTERNS),
                "write": pattern_lists(PATH_PATTERNS),
                "deny": subset(PATH_PATTERNS[2:]),
            }
        ),
        "git": st.fixed_dictionaries(
            {"repositories": REPOSITORIES, "push": st.sampled_from(["deny", "quarantine"])}
        ),
        "tests": st.fixed_dictionaries(
            {
                "paths": pattern_lists(PATH_PATTERNS),
                "timeout_s": limits(1, 100),
                "honour_project_config": st.booleans(),
                "isolation": st.sampled_from(["fresh", "server"]),
            }
        ),
        "search": st.fixed_dictionaries({"max_pattern_bytes": limits(1, 60)}),
        "bottles": st.fixed_dictionaries(
            {"targets": pattern_lists(NAME_PATTERNS), "max_count": limits(0, 9)}
        ),
        "fleet": FLEET,
        "budget": st.fixed_dictionaries(
            {
                "steps": limits(0, 99),
                "per_opcode": st.dictionaries(st.sampled_from(["NOP", "TEST_RUN"]), limits(0, 9)),
            }
        ),
        "resources": st.fixed_dictionaries({"memory": limits(2**25, 2**26), "cpus": st.floats(0.5, 8)}),
        "runtime": st.sampled_from(["auto", "runc", "runsc", "kata"]),
        "on_violation": st.sampled_from(["refuse", "skip"]),
        "unsafe": st.booleans(),
    }
).map(Policy.from_mapping)


@st.composite
def calls(draw: st.DrawFn) -> Call:
    method = draw(st.sampled_from(sorted(METHODS)))
    operation = METHODS[method]
    arguments = {
        operand.name: draw(
            st.sampled_from(TEXTS) if operand.slots == 2 or operand.name == "repo" else limits(0, 9)
        )
        for operand in operation.operands
    }
    return Call(operation.opcode, method, arguments)


@settings(max_examples=400, deadline=None)
@given(POLICIES, POLICIES, st.lists(calls(), min_size=1, max_size=12))
def test_the_intersection_allows_exactly_what_both_allow(a: Policy, b: Policy, made: list[Call]) -> None:
    both = a.intersect(b)
    for call in made:
        expected = a.decide(call).allowed and b.decide(call).allowed
        assert both.decide(call).allowed == expected, call


@settings(max_examples=100, deadline=None)
@given(POLICIES, POLICIES, POLICIES)
def test_intersecting_is_associative_commutative_and_idempotent(a: Policy, b: Policy, c: Policy) -> None:
    assert a.intersect(a) == a
    assert a.intersect(b) == b.intersect(a)
    assert a.intersect(b).sha256 == b.intersect(a).sha256
    assert a.intersect(b).intersect(c) == a.intersect(b.intersect(c))


@settings(max_examples=100, deadline=None)
@given(POLICIES, POLICIES)
def test_the_canonical_form_reads_back_as_the_same_policy(a: Policy, b: Policy) -> None:
    for policy in (a, a.intersect(b)):
        again = Policy.from_mapping(json.loads(policy.canonical()))
        assert again == policy
        assert again.canonical() == policy.canonical()
        assert hash(again) == hash(policy)


@settings(max_examples=100, deadline=None)
@given(POLICIES, POLICIES)
def test_no_limit_of_the_intersection_is_above_either_side(a: Policy, b: Policy) -> None:
    both = a.intersect(b)
    for side in (a, b):
        for name in Resources.model_fields:
            assert getattr(both.resources, name) <= getattr(side.resources, name)
        for name in ("steps", "wall_clock_s", "output_bytes", "write_bytes"):
            assert getattr(both.budget, name) <= getattr(side.budget, name)
        for opcode, limit in side.budget.per_opcode.items():
            assert both.budget.per_opcode[opcode] <= limit
        assert both.tests.timeout_s <= side.tests.timeout_s
        assert both.bottles.max_count <= side.bottles.max_count
        assert both.tests.honour_project_config <= side.tests.honour_project_config
        assert both.unsafe <= side.unsafe
        assert not (side.tests.isolation == "fresh" and both.tests.isolation == "server")
        assert not (side.on_violation == "refuse" and both.on_violation == "skip")
        assert not (side.git.push == "deny" and both.git.push == "quarantine")
        assert side.runtime in {"auto", both.runtime} or both.runtime == "none"


@settings(max_examples=100, deadline=None)
@given(POLICIES, POLICIES, st.sampled_from(AGENTS))
def test_the_guest_is_told_nothing_wider_either(a: Policy, b: Policy, principal: str) -> None:
    both = guest_config(a.intersect(b), principal=principal)["fleet"]
    for side in (a, b):
        own = guest_config(side, principal=principal)["fleet"]
        for agent in AGENTS:
            assert both["trust"].get(agent, 30) <= own["trust"].get(agent, 30)
        uses = {grant["action"]: grant["uses"] or 10**9 for grant in own["capabilities"]}
        for grant in both["capabilities"]:
            assert (grant["uses"] or 10**9) <= uses[grant["action"]]
        spells = {spell["name"]: spell for spell in own["spells"]}
        for spell in both["spells"]:
            wider = spells[spell["name"]]
            assert spell["argv"] == wider["argv"]
            assert spell["level"] >= wider["level"]
            assert spell["mana"] >= wider["mana"]
            assert wider["capability"] in {"", spell["capability"]}
        rooms = {room["name"]: room for room in both["rooms"]}
        for room in own["rooms"]:
            narrower = rooms[room["name"]]
            assert narrower["level"] >= room["level"]
            assert narrower["read_only"] >= room["read_only"]
            assert narrower["tests"] <= room["tests"]
            closed = narrower["capability"] == "shell"
            assert closed or room["capability"] in {"", narrower["capability"]}
            assert (
                closed
                or room["directory"] in {".", narrower["directory"]}
                or narrower["directory"].startswith(room["directory"] + "/")
            )


def test_a_repository_number_with_two_meanings_is_left_out() -> None:
    a = Policy.from_mapping(
        {"policy": 1, "opcodes": ["GIT_COMMIT"], "git": {"repositories": {0: ".", 1: "lib"}}}
    )
    b = Policy.from_mapping(
        {"policy": 1, "opcodes": ["GIT_COMMIT"], "git": {"repositories": {0: "app", 1: "lib"}}}
    )
    both = a.intersect(b)
    assert dict(both.git.repositories) == {"1": "lib"}
    call = Call(METHODS["git_commit"].opcode, "git_commit", {"repo": "0", "message": "m"})
    assert both.decide(call).rule == "git.repositories"


def test_two_different_runtimes_leave_none() -> None:
    a, b = (Policy.from_mapping({"policy": 1, "runtime": name}) for name in ("runc", "runsc"))
    assert a.intersect(b).runtime == "none"
    assert a.intersect(b).intersect(a).runtime == "none"


def test_a_run_s_own_options_only_narrow() -> None:
    base = Policy.load("strict")
    assert base.narrowed(runtime="runsc").runtime == "runsc"
    assert base.narrowed(runtime="runsc").narrowed(runtime="runc").runtime == "none"
    assert base.narrowed(opcodes=OPCODES, on_violation="skip") == base
    assert base.narrowed(budget={"steps": 5}).budget.steps == 5

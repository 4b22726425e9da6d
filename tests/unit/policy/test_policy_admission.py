from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox_runner.guest.config import Config
from sandbox_runner.guest.ledger import judge
from sandbox_runner.guest.rules import Rules, State
from sandbox_runner.policy import Manifest, Policy, admit, explain, guest_config, what_if, withhold
from sandbox_runner.trail import Trail, TrailOpcodes, compile_worklog, load
from sandbox_runner.trail.operations import METHODS
from sandbox_runner.world import Call

SESSION = [
    {"op": "SEARCH_CODE", "pattern": "def f"},
    {"op": "FILE_READ", "path": "./src//a.py"},
    {"op": "FILE_EDIT", "path": "src/a.py", "old": "x", "new": "größer"},
    {"op": "FILE_WRITE", "path": "tests/test_a.py", "content": "12345"},
    {"op": "TEST_RUN", "path": "tests", "count": 1},
    {"op": "GIT_COMMIT", "repo": 0, "message": "m"},
    {"op": "GIT_PUSH", "repo": 1},
    {"op": "BOTTLE_DROP", "target": "oracle-1", "content": "hello"},
    {"op": "BOTTLE_READ", "source": "bob"},
    {"op": "SPELL_CAST", "spell": "look"},
    {"op": "ROOM_ENTER", "room": "dojo"},
    {"op": "CAP_ISSUE", "action": "edit_room", "holder": "bob"},
    {"op": "LEVEL_UP", "level": 2},
    {"op": "TRUST_UPDATE", "target": "bob", "delta": -3},
    {"op": "COMMENT", "comment": "done"},
]


def trail_of(*steps: dict[str, Any]) -> Trail:
    begin = {"op": "TRAIL_BEGIN", "agent": "ada", "trail_id": "t", "ts": 1}
    return load(compile_worklog([begin, *steps, {"op": "TRAIL_END", "status": 0}]))


def policy_of(**keys: Any) -> Policy:
    return Policy.load("default").model_copy(update=keys)


def rules(policy: Policy, *steps: dict[str, Any]) -> list[tuple[int, str]]:
    return [(violation.step, violation.rule) for violation in admit(trail_of(*steps), policy).violations]


def test_the_manifest_lists_everything_that_a_trail_touches() -> None:
    manifest = Manifest.of(trail_of(*SESSION).steps)
    assert manifest.to_json() == {
        "opcodes": dict.fromkeys(["TRAIL_BEGIN", *(step["op"] for step in SESSION), "TRAIL_END"], 1),
        "reads": ["src/a.py"],
        "writes": ["src/a.py", "tests/test_a.py"],
        "searches": ["def f"],
        "tests": ["tests"],
        "repositories": ["0", "1"],
        "pushes": ["1"],
        "bottles": ["bob", "oracle-1"],
        "spells": ["look"],
        "rooms": ["dojo"],
        "capabilities": ["edit_room"],
        "write_bytes": 5 + len("größer".encode()),
    }


def test_the_default_policy_admits_a_whole_session() -> None:
    admission = admit(trail_of(*SESSION), Policy.load("default"))
    assert admission.admitted
    assert admission.runnable
    document = json.loads(json.dumps(admission.to_json()))
    assert {*document} == {"admitted", "trail_sha256", "policy", "policy_sha256", "violations", "needs"}
    assert document["policy"] == "default"
    assert document["policy_sha256"] == Policy.load("default").sha256


def test_every_violation_is_reported_at_once() -> None:
    policy = policy_of(
        opcodes=["FILE_READ", "GIT_PUSH", "ROOM_ENTER", "BOTTLE_DROP", "CAP_ISSUE", "SEARCH_CODE"],
        paths={"read": ["docs/**"]},
        git={"push": "deny"},
        search={"max_pattern_bytes": 2},
        bottles={"targets": ["carol"]},
        fleet={"rooms": ["vault"]},
    )
    found = rules(policy, *SESSION)
    assert found == [
        (1, "search.max_pattern_bytes"),
        (2, "paths.read"),
        (3, "opcodes"),
        (4, "opcodes"),
        (5, "opcodes"),
        (6, "opcodes"),
        (7, "git.push"),
        (8, "bottles.targets"),
        (9, "opcodes"),
        (10, "opcodes"),
        (11, "fleet.rooms"),
        (12, "fleet.capabilities"),
        (13, "opcodes"),
        (14, "opcodes"),
        (15, "opcodes"),
    ]
    violation = admit(trail_of(*SESSION), policy).violations[1]
    assert violation.to_json() == {
        "step": 2,
        "opcode": "FILE_READ",
        "rule": "paths.read",
        "message": "no pattern allows 'src/a.py'",
    }


WRITE = {"op": "FILE_WRITE", "path": "a", "content": "12345"}
EDIT = {"op": "FILE_EDIT", "path": "a", "old": "x", "new": "123"}
DROP = {"op": "BOTTLE_DROP", "target": "bob", "content": "12345"}
LAST = ["budget.write_bytes"]
NOTE = {"op": "COMMENT", "comment": "c"}


@pytest.mark.parametrize(
    ("keys", "steps", "expected"),
    [
        ({"budget": {"steps": 2}}, [NOTE, WRITE, WRITE, NOTE], ["", "", "budget.steps", "budget.steps"]),
        ({"budget": {"write_bytes": 12}}, [WRITE, WRITE, WRITE, EDIT], ["", "", *LAST, *LAST]),
        ({"budget": {"write_bytes": 7}}, [WRITE, EDIT, NOTE, EDIT], ["", *LAST, "", *LAST]),
        ({"budget": {"per_opcode": {"FILE_WRITE": 1}}}, [WRITE, NOTE, WRITE], ["", "", "budget.per_opcode"]),
        ({"budget": {"per_opcode": {"COMMENT": 0}}}, [NOTE, WRITE], ["budget.per_opcode", ""]),
        ({"bottles": {"targets": ["*"], "max_count": 1}}, [DROP, DROP], ["", "bottles.max_count"]),
        ({"bottles": {"targets": ["*"], "max_bytes": 9}}, [DROP, DROP], ["", "bottles.max_bytes"]),
    ],
)
def test_a_budget_that_is_known_beforehand_is_judged_beforehand(
    keys: dict[str, Any], steps: list[dict[str, Any]], expected: list[str]
) -> None:
    assert rules(policy_of(**keys), *steps) == [(at, rule) for at, rule in enumerate(expected, 1) if rule]


def test_a_refused_step_uses_no_budget() -> None:
    outside = {"op": "FILE_WRITE", "path": "../a", "content": "12345"}
    assert rules(policy_of(budget={"write_bytes": 5}), outside, WRITE) == [(1, "paths.form")]


def test_what_if_tells_what_another_policy_would_have_refused() -> None:
    trail = trail_of(*SESSION)
    assert what_if(Policy.load("default"), trail.steps) == ()
    refused = {violation.opcode for violation in what_if(Policy.load("read-only"), trail.steps)}
    assert {"FILE_WRITE", "FILE_EDIT", "TEST_RUN", "GIT_PUSH"} < refused
    assert not refused & {"FILE_READ", "SEARCH_CODE", "COMMENT"}


def test_a_trail_that_only_reads_gets_no_more_than_that() -> None:
    policy = Policy.load("default")
    reads = admit(trail_of({"op": "FILE_READ", "path": "a"}), policy).manifest
    privileges = withhold(policy, reads)
    assert not any(
        (
            privileges.tests,
            privileges.push,
            privileges.git,
            privileges.search,
            privileges.programs,
            privileges.writes,
        )
    )
    assert privileges.resources.pids < policy.resources.pids
    assert privileges.resources.tmp < policy.resources.tmp
    lower = policy.resources.memory - privileges.resources.memory
    assert lower == policy.resources.tmp - privileges.resources.tmp  # what /tmp gives up, and no more
    assert privileges.resources.workspace == policy.resources.workspace
    said = " ".join(privileges.withheld)
    assert all(word in said for word in ("test runner", "quarantine", "git", "search", "read-only", "pids"))
    assert json.loads(json.dumps(privileges.to_json()))["withheld"] == list(privileges.withheld)


def test_a_trail_that_needs_everything_is_withheld_nothing() -> None:
    policy = Policy.load("default")
    privileges = withhold(policy, Manifest.of(trail_of(*SESSION).steps))
    assert privileges.withheld == ()
    assert privileges.resources == policy.resources
    assert all((privileges.tests, privileges.push, privileges.git, privileges.search, privileges.writes))


def test_what_the_policy_denies_is_no_privilege_though_the_trail_wants_it() -> None:
    manifest = Manifest.of(trail_of(*SESSION).steps)
    privileges = withhold(Policy.load("read-only"), manifest)
    assert not any((privileges.tests, privileges.push, privileges.git, privileges.writes))
    assert privileges.search


@pytest.mark.parametrize(("argv", "programs"), [([], False), (["ls"], True)])
def test_only_a_spell_with_a_command_runs_programs(argv: list[str], programs: bool) -> None:
    policy = policy_of(fleet={"spells": [{"name": "look", "argv": argv}], "rooms": ["*"]})
    privileges = withhold(policy, Manifest.of(trail_of({"op": "SPELL_CAST", "spell": "look"}).steps))
    assert privileges.programs is programs
    assert privileges.writes is programs


def test_explain_names_the_rule_that_decides_and_why() -> None:
    strict = Policy.load("strict")
    allowed = explain(strict, TrailOpcodes.FILE_WRITE, "src/./a.py").to_json()
    assert (allowed["allowed"], allowed["rule"]) == (True, "paths.write")
    assert allowed["message"] == "'src/a.py' is allowed by 'src/**'"
    assert allowed["limits"] == {"budget.steps": 10_000, "budget.write_bytes": 64 * 2**20}
    denied = explain(strict, TrailOpcodes.FILE_READ, "secrets/key")
    assert denied.decision.message == "'secrets/key' is denied by the pattern 'secrets/**'"
    assert explain(strict, TrailOpcodes.TEST_RUN, "tests", "3").limits["budget.per_opcode"] == 20
    assert explain(strict, TrailOpcodes.GIT_COMMIT, "1", "-m").decision.allowed
    assert explain(strict, TrailOpcodes.GIT_PUSH).decision.rule == "opcodes"


def test_explain_under_a_combined_policy_names_a_pattern_of_each_list() -> None:
    both = Policy.load("default").model_copy(update={"paths": {"write": [["src/**"], ["*.py", "*.md"]]}})
    message = explain(both, TrailOpcodes.FILE_WRITE, "src/a.py").decision.message
    assert message == "'src/a.py' is allowed by '*.py' and 'src/**'"


@pytest.mark.parametrize("words", [("a", "b", "c"), ("tests", "many")])
def test_explain_refuses_arguments_that_the_operation_does_not_take(words: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"TEST_RUN|invalid literal"):
        explain(Policy.load("strict"), TrailOpcodes.TEST_RUN, *words)


def test_a_test_directory_is_meant_by_the_pattern_for_what_is_in_it() -> None:
    policy = policy_of(tests={"paths": ["tests/**"]})
    for path in (
        "tests",
        "tests/",
        "./tests",
        "tests/unit",
        "tests/test_a.py::test_b",
        "tests/test_a.py::T::t[x/y]",
    ):
        assert explain(policy, TrailOpcodes.TEST_RUN, path).decision.allowed, path
    for path in ("", ".", "src", "tests2", "src/tests"):
        assert explain(policy, TrailOpcodes.TEST_RUN, path).decision.rule == "tests.paths", path
    assert explain(Policy.load("default"), TrailOpcodes.TEST_RUN, ".").decision.allowed
    hidden = policy_of(paths={"deny": ["tests/secret/**"]})
    assert explain(hidden, TrailOpcodes.TEST_RUN, "tests/secret").decision.rule == "paths.deny"


@pytest.mark.parametrize(
    ("target", "file"),
    [
        ("hidden/test_x.py::test_p[a/../../tests/q]", "hidden/test_x.py"),
        ("./tests//x/../test_x.py::test_p[\\u3044]", "tests/test_x.py"),
        ("tests/", "tests"),
        (".", "."),
        ("tests/test_x.py[1]", "tests/test_x.py[1]"),  # not admitted; listed as it stands
        ("../x.py::a", "../x.py::a"),
    ],
)
def test_the_manifest_lists_the_file_of_a_test_run(target: str, file: str) -> None:
    call = Call(METHODS["test_run"].opcode, "test_run", {"test_path": target, "expected": 0}, 1)
    assert Manifest.of([call]).tests == (file,)


def test_the_guest_is_told_what_the_policy_says() -> None:
    policy = policy_of(
        fleet={
            "spells": ["note", {"name": "list", "level": 1, "mana": 5, "argv": ["ls"]}],
            "rooms": ["*"],
            "room_rules": {"vault": {"level": 3, "read_only": True, "directory": "src"}},
            "capabilities": {"edit_room": 2},
            "principal_trust": 60,
            "trust": {"bob": 40},
        }
    )
    config = guest_config(policy, principal="ada")
    assert json.loads(json.dumps(config)) == config
    assert (config["push"], config["withheld"]) == ("quarantine", [])
    assert config["fleet"] == {
        "spells": [
            {"name": "list", "level": 1, "mana": 5, "capability": "", "argv": ["ls"]},
            {"name": "note", "level": 0, "mana": 0, "capability": "", "argv": []},
        ],
        "rooms": [
            {
                "name": "vault",
                "level": 3,
                "capability": "",
                "read_only": True,
                "directory": "src",
                "tests": True,
            }
        ],
        "capabilities": [{"action": "edit_room", "uses": 2}],
        "undeclared_spell": "skip",
        "empty_bottle": "skip",
        "self_declared_levels": False,
        "trust": {"bob": 40, "ada": 60},
    }
    assert guest_config(policy, principal="bob")["fleet"]["trust"] == {"bob": 40}


def test_the_guest_of_a_trail_that_reads_has_no_test_server_no_quarantine_and_no_other_method() -> None:
    policy = Policy.load("default")
    reads = withhold(policy, admit(trail_of({"op": "FILE_READ", "path": "a"}), policy).manifest)
    config = guest_config(policy, principal="ada", privileges=reads)
    assert (config["push"], config["tests"]["isolation"]) == ("deny", "fresh")
    assert {*METHODS} - {*config["withheld"]} == {"file_read"} == {*reads.methods}
    everything = withhold(policy, Manifest.of(trail_of(*SESSION).steps))
    assert guest_config(policy, principal="ada", privileges=everything) == guest_config(
        policy, principal="ada"
    )


def test_a_withheld_method_is_refused_by_the_guests_judge() -> None:
    rules = Rules(Config({"uid": 9, "withheld": ["file_write"]}, "config"))
    asked = [judge(rules, State(rules), method, {"path": "a"}) for method in ("file_write", "file_read")]
    assert asked == ["refused: withheld, no step of this run was to use it", None]

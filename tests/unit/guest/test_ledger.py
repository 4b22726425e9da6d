"""The run ledger: chained, reproducible, and judged by one pure function before every call."""

import hashlib
import json

import pytest

from sandbox_runner.guest import bottles, fleet, spells
from sandbox_runner.guest.config import Config, ConfigError
from sandbox_runner.guest.ledger import Ledger, canonical, judge
from sandbox_runner.guest.outcome import REFUSED, SKIPPED, StepError
from sandbox_runner.guest.rules import Rules, State


class Bench:
    """As much of a guest as the ledger's methods use."""

    def __init__(self, **settings):
        self.config = Config({"uid": 7, "run_id": "r1", "principal": "ada", **settings}, "config")
        self.ledger = Ledger(self.config)

    def call(self, handler, **arguments):
        try:
            self.ledger.admit(handler.__name__, arguments)
            return handler(self, **arguments)
        except StepError as error:
            return error

    def entries(self):
        header, body = self.ledger.export()
        return [json.loads(line) for line in body[: header["blobs"]["ledger"]].splitlines()]


def test_texts_on_success_are_the_references():
    bench = Bench(fleet={"capabilities": ["build_room"], "trust": {"ada": 60, "bob": 60}})
    assert bench.call(bottles.bottle_drop, target="bob", content="hé").text == "bottle_drop: →bob (2 chars)"
    assert bench.call(bottles.bottle_read, source="bob").text == "bottle_read: ←bob"
    assert bench.call(fleet.level_up, agent="ada", level=7).text == "level_up: ada → level 7"
    assert bench.call(spells.spell_cast, spell="encode-trail").text == "spell_cast: encode-trail"
    assert bench.call(fleet.room_enter, room="forge").text == "room_enter: forge"
    assert bench.call(fleet.trust_update, target="bob", delta=5.0).text == "trust_update: bob +5.0"
    assert bench.call(fleet.trust_update, target="bob", delta=-3.0).text == "trust_update: bob -3.0"
    assert bench.call(fleet.trust_update, target="bob", delta=0.0).text == "trust_update: bob +0.0"
    assert bench.call(fleet.cap_issue, action="build_room", holder="bob").text == "cap_issue: build_room →bob"


def test_every_entry_names_the_digest_of_the_one_before():
    bench = Bench()
    for room in ("a", "b", "a"):
        bench.call(fleet.room_enter, room=room)
    previous = hashlib.sha256(b"sandbox-runner ledger 1\nr1").hexdigest()
    for seq, entry in enumerate(bench.entries()):
        digest = entry.pop("digest")
        assert (entry["seq"], entry["previous"]) == (seq, previous)
        assert digest == hashlib.sha256(canonical(entry)).hexdigest()
        previous = digest
    assert bench.ledger.head == previous


def test_the_same_calls_give_the_same_ledger():
    def head(run_id):
        bench = Bench(run_id=run_id)
        bench.call(bottles.bottle_drop, target="bob", content="x")
        bench.call(fleet.level_up, agent="ada", level=2)
        return bench.ledger.head, bench.ledger.export()[1]

    assert head("r1") == head("r1")
    assert head("r1") != head("r2")


def test_a_bottle_is_addressed_by_a_safe_name_and_never_a_path():
    assert (
        bottles.file_name("../../etc/PASSWD x")
        == "etc-passwd-x-" + hashlib.sha256(b"../../etc/PASSWD x").hexdigest()[:8]
    )
    assert bottles.file_name("→") == hashlib.sha256("→".encode()).hexdigest()[:8]
    assert len(bottles.file_name("a" * 300)) == 49
    assert bottles.file_name("A") != bottles.file_name("a")


def test_bottles_have_a_size_and_a_number():
    bench = Bench(bottles={"max_count": 1, "max_bytes": 4})
    assert "over the limit" in bench.call(bottles.bottle_drop, target="b", content="12345").reason
    assert bench.call(bottles.bottle_drop, target="b", content="1234").status == "ok"
    assert "limit of this run" in bench.call(bottles.bottle_drop, target="b", content="").reason


def test_waiting_bottles_are_read_oldest_first_and_once():
    waiting = [
        {"source": "bob", "content": "1"},
        {"source": "eve", "content": "2"},
        {"source": "bob", "content": "3"},
    ]
    bench = Bench(bottles={"in": waiting})
    bench.call(bottles.bottle_drop, target="bob", content="mine")  # never read back as an answer
    assert len(bench.call(bottles.bottle_read, source="ada").details["inbox"]) == 3
    first = bench.call(bottles.bottle_read, source="bob")
    assert (first.details["content"], first.details["remaining"]) == ("1", 1)
    assert bench.call(bottles.bottle_read, source="bob").details["content"] == "3"
    none = bench.call(bottles.bottle_read, source="bob")
    assert (none.status, none.details["empty"]) == (SKIPPED, True)


def test_strict_hosts_fail_empty_bottles_and_unknown_spells():
    bench = Bench(fleet={"empty_bottle": "strict", "undeclared_spell": "strict"})
    assert bench.call(bottles.bottle_read, source="bob").reason == "no bottle from bob"
    assert bench.call(spells.spell_cast, spell="nix").reason == "unknown spell: nix"


def test_a_level_is_recorded_but_counts_only_with_a_grant_and_never_beyond_rank_four():
    plain = Bench()
    assert not plain.call(fleet.level_up, agent="ada", level=42).details["effective"]
    assert plain.ledger.state.rank_of("ada") == 0
    assert plain.call(fleet.level_up, agent="ada", level=42).reason == "level 42 not above 42"
    granted = Bench(fleet={"capabilities": ["manage_permissions", "edit_room"]})
    found = granted.call(fleet.level_up, agent="ada", level=42).details
    assert (found["effective"], found["rank"], found["eligible"]) == (
        True,
        4,
        ["edit_room", "manage_permissions"],
    )


def test_spells_ask_for_level_and_mana_and_are_paid():
    declared = [{"name": "costly", "mana": 60}, {"name": "high", "level": 2}]
    bench = Bench(fleet={"spells": declared, "self_declared_levels": True})
    refused = bench.call(spells.spell_cast, spell="high")
    assert (refused.reason, refused.status) == ("requires level 2", REFUSED)
    assert bench.call(spells.spell_cast, spell="costly").details["mana_left"] == 40
    assert bench.call(spells.spell_cast, spell="costly").reason == "needs 60 mana, has 40"
    bench.call(fleet.level_up, agent="ada", level=2)
    assert bench.call(spells.spell_cast, spell="costly").details["mana_left"] == 80
    assert bench.call(spells.spell_cast, spell="high").status == "ok"


def test_trust_moves_within_bounds_and_nobody_raises_their_own():
    bench = Bench()
    assert bench.call(fleet.trust_update, target="bob", delta=26.0).reason == "delta +26.0 exceeds limit"
    assert bench.call(fleet.trust_update, target="bob", delta=25.0).details["after"] == 55
    assert bench.call(fleet.trust_update, target="bob", delta=25.0).details["after"] == 80
    assert bench.call(fleet.trust_update, target="bob", delta=1.0).status == REFUSED
    assert bench.call(fleet.trust_update, target="eve", delta=-25.0).details["after"] == 5
    assert bench.call(fleet.trust_update, target="eve", delta=-10.0).details == {
        "after": 0, "before": 5, "clamped": True, "self": False, "target": "eve",
    }  # fmt: skip
    assert bench.call(fleet.trust_update, target="ada", delta=20.0).details["after"] == 30
    assert "whole" in bench.call(fleet.trust_update, target="zoe", delta=0.5).reason


@pytest.mark.parametrize(
    ("capabilities", "trust", "action", "why"),
    [
        ([], {"ada": 90, "bob": 90}, "build_room", "ada holds no grant"),
        (["shell"], {"ada": 90, "bob": 90}, "shell", "no trail can issue"),
        (["nonsense"], {"ada": 90, "bob": 90}, "nonsense", "no such action"),
        (["build_room"], {"ada": 40, "bob": 90}, "build_room", "delegating takes 50"),
        (["build_room"], {"ada": 90}, "build_room", "receiving takes 40"),
        (["build_room"], {"ada": 20, "bob": 90}, "build_room", "exercising takes 25"),
    ],
)
def test_a_capability_is_handed_on_only_by_who_may_to_who_may(capabilities, trust, action, why):
    refused = Bench(fleet={"capabilities": capabilities, "trust": trust}).call(
        fleet.cap_issue, action=action, holder="bob"
    )
    assert refused.status == REFUSED
    assert refused.reason.startswith(f"bob may not receive {action}: ")
    assert why in refused.reason


def test_a_grant_is_one_step_deeper_than_its_parent():
    bench = Bench(
        fleet={"capabilities": [{"action": "build_room", "uses": 3}], "trust": {"ada": 60, "bob": 60}}
    )
    found = bench.call(fleet.cap_issue, action="build_room", holder="bob").details
    assert (found["depth"], found["parent"], found["uses"], found["issuer"]) == (
        1,
        "host-build_room",
        3,
        "ada",
    )


ROOMS = [
    {"name": "vault", "level": 3},
    {"name": "museum", "read_only": True},
    {"name": "lab", "directory": "lab", "tests": False},
    {"name": "yard", "directory": "yard"},
    {"name": "study", "capability": "edit_room"},
]


def test_a_room_asks_for_level_and_capability():
    bench = Bench(fleet={"rooms": ROOMS})
    assert bench.call(fleet.room_enter, room="vault").reason == "room vault requires level 3"
    assert bench.call(fleet.room_enter, room="study").reason == "room study: ada holds no grant for edit_room"
    assert bench.call(fleet.room_enter, room="anywhere").details["previous"] == ""
    assert bench.ledger.room == "anywhere"


@pytest.mark.parametrize(
    ("room", "method", "arguments", "allowed"),
    [
        ("museum", "file_read", {"path": "a"}, True),
        ("museum", "file_write", {"path": "a", "content": ""}, False),
        ("museum", "test_run", {"test_path": "a", "expected": 0}, False),
        ("museum", "spell_cast", {"spell": "look"}, True),
        ("lab", "file_write", {"path": "lab/a", "content": ""}, True),
        ("lab", "file_write", {"path": "lab/../a", "content": ""}, False),
        ("lab", "file_read", {"path": "laboratory/a"}, False),
        ("lab", "search_code", {"pattern": "x"}, False),
        ("lab", "git_commit", {"repo": "0", "message": "m"}, False),
        ("lab", "test_run", {"test_path": "lab", "expected": 0}, False),
        ("yard", "test_run", {"test_path": "yard/a.py::t[../../../b::c]", "expected": 0}, True),
        ("yard", "test_run", {"test_path": "a.py::t[/../../yard/b]", "expected": 0}, False),
        ("yard", "test_run", {"test_path": "yard/../a.py::yard/b", "expected": 0}, False),
        ("hall", "file_write", {"path": "a", "content": ""}, True),
    ],
)
def test_a_room_restricts_every_method_and_allows_nothing_new(room, method, arguments, allowed):
    rules = Rules(Config({"uid": 7, "fleet": {"rooms": ROOMS}}, "config"))
    state = State(rules)
    state.room = room
    assert (judge(rules, state, method, arguments) is None) is allowed


def test_a_declaration_the_guest_does_not_understand_is_a_fault():
    for fleet_settings in (
        {"rooms": [{"name": "x", "open": True}]},
        {"spells": [{"level": 1}]},
        {"capabilities": [{}]},
    ):
        with pytest.raises(ConfigError):
            Bench(fleet=fleet_settings)

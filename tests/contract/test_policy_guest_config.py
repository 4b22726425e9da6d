"""What a policy tells the guest is what the guest understands."""

from __future__ import annotations

import pytest

from sandbox_runner.guest.config import Config
from sandbox_runner.guest.rules import Rules
from sandbox_runner.policy import SHIPPED, Policy, guest_config


@pytest.mark.parametrize("name", SHIPPED)
def test_the_guest_accepts_the_configuration_of_every_shipped_policy(name: str) -> None:
    rich = Policy.load(name).model_copy(
        update={
            "fleet": {
                "spells": [
                    "note",
                    {"name": "list", "level": 4, "mana": 5, "capability": "edit_room", "argv": ["ls"]},
                ],
                "room_rules": {"vault": {"level": 3, "read_only": True, "directory": "src", "tests": False}},
                "capabilities": {"edit_room": 2, "file_write": 0},
                "trust": {"bob": 40},
            }
        }
    )
    for policy in (
        Policy.load(name),
        rich,
        rich.narrowed(fleet={"room_rules": {"vault": {"directory": "tests"}}}),
    ):
        config = Config({**guest_config(policy, principal="ada"), "uid": 12345, "principal": "ada"}, "config")
        rules = Rules(config)
        assert rules.capabilities.keys() == policy.fleet.capabilities.keys()
        assert rules.rooms.keys() == policy.fleet.room_rules.keys()
        assert rules.spells.keys() >= policy.fleet.spells.keys()
        assert config.tests.timeout_s == policy.tests.timeout_s


def test_rooms_that_cannot_be_combined_are_closed_in_the_guest() -> None:
    one = Policy.from_mapping({"policy": 1, "fleet": {"room_rules": {"vault": {"directory": "src"}}}})
    other = Policy.from_mapping({"policy": 1, "fleet": {"room_rules": {"vault": {"directory": "tests"}}}})
    config = guest_config(one.intersect(other), principal="ada")
    room = Rules(Config({**config, "uid": 12345}, "config")).rooms["vault"]
    assert room.capability == "shell"  # which no policy can grant and no trail can issue

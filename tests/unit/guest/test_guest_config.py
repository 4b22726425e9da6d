"""The guest takes a configuration it understands to the last key, or none."""

import pytest

from sandbox_runner.guest.config import Config, ConfigError


def test_every_setting_but_the_uid_has_a_default():
    config = Config({"uid": 7}, "config")
    assert (config.principal, config.push, config.repositories) == ("executor", "deny", {"0": ".", "1": "."})
    assert config.tests.isolation == "fresh"
    assert config.git.init
    assert config.bottles.inbound == []


def test_given_settings_win_and_nested_ones_too():
    config = Config({"uid": 7, "tests": {"timeout_s": 1.5}, "fleet": {"trust": {"bob": 40}}}, "config")
    assert config.tests.timeout_s == 1.5
    assert config.fleet.trust == {"bob": 40}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "config.uid"),
        ({"uid": 0}, "config.uid"),
        ({"uid": True}, "config.uid"),
        ({"uid": 7, "network": "host"}, "config.network"),
        ({"uid": 7, "push": "allow"}, "config.push"),
        ({"uid": 7, "tests": {"isolation": "none"}}, "config.tests.isolation"),
        ({"uid": 7, "tests": {"timeout": 1}}, "config.tests.timeout"),
        ({"uid": 7, "tests": {"timeout_s": float("inf")}}, "config.tests.timeout_s"),
        ({"uid": 7, "limits": 5}, "config.limits"),
        ({"uid": 7, "repositories": {"0": 1}}, "config.repositories.0"),
        ({"uid": 7, "principal": "a\0b"}, "config.principal"),
        ({"uid": 7, "fleet": {"spells": [3]}}, "config.fleet.spells"),
    ],
)
def test_what_is_unknown_or_wrong_is_named(given, named):
    with pytest.raises(ConfigError, match=named.replace(".", r"\.")):
        Config(given, "config")


def test_a_configuration_does_not_change():
    config = Config({"uid": 7}, "config")
    with pytest.raises(AttributeError):
        config.push = "quarantine"

"""What depends on the host, judged from facts: each kind of host gets its row, its health and a way out."""

import errno
from typing import Any

import pytest

from sandbox_runner.sandbox.doctor import Check, Health, judge_host, open_advisories

EVERYTHING = (1 << 41) - 1
ROWS = ["runc release", "daemon", "confinement", "core files", "huge pages", "socket memory"]
ROWS += ["kernel log", "host figures"]

# A host where nothing is left to say.
VERSION = {"Components": [{"Name": "Engine", "Version": "28"}, {"Name": "runc", "Version": "1.3.3"}]}
OPTIONS = ["name=seccomp,profile=default", "name=userns"]
INFO = {"SecurityOptions": OPTIONS, "MemTotal": 1 << 34, "CgroupVersion": "2"}
INSIDE: dict[str, Any] = {
    "security_module": "docker-default (enforce)",
    "core_pattern": "core",
    "core_limit": 0,
    "huge": errno.EPERM,
    "huge_pages": "0",
    "killed_lines": ["errno"],
    "crash_lines": "0",
    "memory": 1,
    "groups": ["/"],
    "sockets": False,
    "disk": False,
    "places": False,
}


def row(
    name: str, *, version: Any = VERSION, info: Any = INFO, daemon: int | None = None, **inside: Any
) -> Check:
    (found,) = (c for c in judge_host(version, info, {**INSIDE, **inside}, daemon) if c.name == name)
    assert found.hint if found.health is not Health.GOOD else True
    return found


def test_a_host_where_all_is_well_says_so_in_every_row() -> None:
    checks = judge_host(VERSION, INFO, INSIDE, None)
    assert [check.name for check in checks] == ROWS
    assert {check.health for check in checks} == {Health.GOOD}


def test_what_was_not_looked_at_is_not_judged() -> None:
    assert [check.name for check in judge_host(VERSION, INFO, None, None)] == ROWS[:2]


@pytest.mark.parametrize(
    ("release", "open_"),
    [
        ("1.1.1", ["CVE-2022-29162", "CVE-2024-21626", "CVE-2025-31133"]),
        ("1.1.5+ds1", ["CVE-2024-21626", "CVE-2025-31133"]),
        ("1.1.11", ["CVE-2024-21626", "CVE-2025-31133"]),
        ("1.1.12", ["CVE-2025-31133"]),
        ("v1.1.15", ["CVE-2025-31133"]),
        ("1.2.7", ["CVE-2025-31133"]),
        ("1.2.8", []),
        ("1.3.0-rc.1", ["CVE-2025-31133"]),
        ("1.3.2", ["CVE-2025-31133"]),
        ("1.3.3-0ubuntu1", []),
        ("1.3.10", []),
        ("1.4.0-rc.1", ["CVE-2025-31133"]),
        ("1.4.0", []),
        ("1.5.0-rc.1", []),
        ("2.0.0", []),
        ("1.0.0-rc95", ["CVE-2022-29162", "CVE-2024-21626", "CVE-2025-31133"]),
        ("0.1.1", ["CVE-2022-29162", "CVE-2024-21626", "CVE-2025-31133"]),
    ],
)
def test_a_release_of_runc_is_held_against_the_mended_ones(release: str, open_: list[str]) -> None:
    found = open_advisories(release)
    assert found is not None
    assert [name.split(",")[0] for name in found] == open_
    components = {"Components": [{"Name": "runc", "Version": release}]}
    assert row("runc release", version=components).health is (Health.NOTE if open_ else Health.GOOD)


@pytest.mark.parametrize("release", ["", "unknown", "1.1", "N/A"])
def test_a_release_that_makes_no_sense_is_not_called_good(release: str) -> None:
    assert open_advisories(release) is None
    components = {"Components": [{"Name": "runc", "Version": release}]}
    assert row("runc release", version=components).health is Health.NOTE
    assert row("runc release", version={}).health is Health.NOTE


@pytest.mark.parametrize(
    ("name", "facts", "health", "word"),
    [
        ("confinement", {"security_module": ""}, Health.NOTE, "AppArmor or SELinux"),
        ("confinement", {"security_module": "unconfined"}, Health.NOTE, "AppArmor or SELinux"),
        ("confinement", {"security_module": "Invalid argument"}, Health.NOTE, "AppArmor or SELinux"),
        ("confinement", {"security_module": "system_u:system_r:container_t:s0"}, Health.GOOD, "container_t"),
        ("core files", {"core_pattern": "|/usr/share/apport/apport", "core_limit": 1}, Health.GOOD, "apport"),
        ("core files", {"core_pattern": "|/usr/share/apport/apport", "core_limit": 0}, Health.NOTE, "starts"),
        ("core files", {"core_pattern": "@/run/coredump", "core_limit": 1}, Health.NOTE, "core_pattern"),
        ("core files", {"core_pattern": "core", "core_limit": -1}, Health.NOTE, "limit -1"),
        ("huge pages", {"huge": "mapped", "huge_pages": "64"}, Health.BAD, "64"),
        ("huge pages", {"huge": errno.ENOMEM}, Health.NOTE, "may ask"),
        ("huge pages", {"huge_pages": "64"}, Health.GOOD, "64"),
        ("kernel log", {"crash_lines": "1"}, Health.NOTE, "line"),
        ("kernel log", {"killed_lines": ["kill_process", "errno"]}, Health.NOTE, "line"),
        ("host figures", {"memory": 1 << 34}, Health.NOTE, "sysinfo"),
        ("host figures", {"sockets": True}, Health.NOTE, "sockstat"),
        ("host figures", {"disk": True}, Health.NOTE, "statvfs"),
        ("host figures", {"places": True}, Health.NOTE, "mountinfo"),
        ("host figures", {"groups": ["/docker/c0ffee"]}, Health.NOTE, "container's id"),
    ],
)
def test_each_thing_that_the_host_leaves_open_is_told(
    name: str, facts: Any, health: Health, word: str
) -> None:
    found = row(name, **facts)
    assert found.health is health
    assert word in f"{found.detail} {found.hint}"


def test_a_daemon_that_is_root_is_told_with_what_it_lacks() -> None:
    plain = {"SecurityOptions": ["name=seccomp,profile=default"]}
    assert row("daemon", info=plain).health is Health.NOTE
    assert "SYS_RESOURCE" in row("daemon", info=plain, daemon=EVERYTHING & ~(1 << 24)).detail
    assert row("daemon", info=plain, daemon=EVERYTHING).detail.endswith("its own capabilities: all.")
    assert row("daemon", info={"SecurityOptions": ["name=rootless"]}, daemon=EVERYTHING).health is Health.GOOD


@pytest.mark.parametrize(
    ("limit", "health"),
    [
        *(("33554432", Health.GOOD), ("9223372036854771712", Health.NOTE)),
        *(("No such file or directory", Health.NOTE), ("-1", Health.NOTE)),
    ],
)
def test_memory_of_sockets_is_good_only_where_a_limit_was_seen(limit: str, health: Health) -> None:
    first = {**INFO, "CgroupVersion": "1"}
    assert row("socket memory", info=first, socket_limit=limit).health is health

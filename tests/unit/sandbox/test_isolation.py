import pytest

from sandbox_runner.sandbox.isolation import judge

HOLDS = {
    "capabilities": 0xE0,
    "no_new_privs": "1",
    "seccomp": "2",
    "interfaces": ["lo"],
    "routes": 0,
    "writable": [],
    "unmasked": [],
    "kernel": "6.1",
    "python": "3.11.2",
}


def test_what_holds_is_fine() -> None:
    isolation = judge(HOLDS, "runc")
    assert isolation.ok
    assert isolation.problems == isolation.notes == ()


def test_an_engine_that_does_not_see_the_files_of_this_machine_is_told_of() -> None:
    isolation = judge({**HOLDS, "given": False}, "runc")
    assert isolation.ok
    assert "has no name" in " ".join(isolation.notes)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"capabilities": 0xA80425FB}, "capabilities"),
        ({"capabilities": -1}, "capabilities"),
        ({"no_new_privs": "0"}, "no_new_privs"),
        ({"seccomp": "0"}, "system calls"),
        ({"interfaces": ["eth0", "lo"]}, "network"),
        ({"routes": 1}, "network"),
        ({"writable": ["/etc"]}, "/etc"),
        ({"unmasked": ["/proc/kallsyms"]}, "masked"),
    ],
)
def test_each_thing_that_does_not_hold_is_a_problem(change: dict, word: str) -> None:
    isolation = judge({**HOLDS, **change}, "runc")
    assert not isolation.ok
    assert word in isolation.problems[0]


def test_under_gvisor_its_own_kernel_is_a_note_and_a_network_is_still_a_problem() -> None:
    own = {**HOLDS, "seccomp": "0", "no_new_privs": "", "unmasked": ["/proc/version"]}
    assert judge(own, "runsc").ok
    assert len(judge(own, "runsc").notes) == 3
    assert not judge({**own, "interfaces": ["eth0"]}, "runsc").ok
    assert not judge({**own, "capabilities": 0xFF}, "runsc").ok

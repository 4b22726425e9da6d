"""Whatever a policy file holds, the answer is a policy or one typed error."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sandbox_runner.errors import PolicyError
from sandbox_runner.policy import Policy, shipped_path
from sandbox_runner.policy.paths import UnusablePathError, normal_form
from sandbox_runner.policy.patterns import canonical

SHAPE = json.loads(Policy.load("default").canonical())
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from(["**", "16MiB", "TEST_RUN", "skip", ".", "auto", "../x", "[", "#", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
PLACES = [(key,) for key in SHAPE] + [
    (key, part) for key in SHAPE if isinstance(SHAPE[key], dict) for part in SHAPE[key]
]


def with_value(place: tuple[str, ...], value: Any) -> dict[str, Any]:
    document = json.loads(json.dumps(SHAPE))
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return document


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(PLACES), VALUES)
@example(("opcodes",), [["NOP"]])
@example(("fleet", "spells"), [{"name": ["x"]}])
@example(("fleet", "capabilities"), [["x"]])
@example(("git", "repositories"), {"0": "\ud800"})
@example(("paths", "deny"), ["\ud800"])
def test_any_value_anywhere_gives_a_policy_or_a_typed_error(place: tuple[str, ...], value: Any) -> None:
    with suppress(PolicyError):
        policy = Policy.from_mapping(with_value(place, value))
        assert policy.intersect(policy) == policy
        assert Policy.from_mapping(json.loads(policy.canonical())) == policy


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_gives_a_policy_or_a_typed_error(tmp_path: Path, data: st.DataObject) -> None:
    raw = shipped_path("strict").read_bytes()
    at = data.draw(st.integers(0, len(raw) - 1))
    junk = data.draw(
        st.binary(max_size=4)
        | st.sampled_from([b"\n", b": ", b"- ", b"&a ", b"*a ", b"!!x ", b"? ", b"{", b"["])
    )
    file = tmp_path / "policy.yaml"
    file.write_bytes(raw[:at] + junk + raw[at + data.draw(st.integers(0, 3)) :])
    with suppress(PolicyError):
        Policy.load(file)


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet="ab./\\- \x00\n\u00e9\ud800", max_size=30))
def test_a_normal_form_is_its_own_normal_form_and_never_leaves_the_root(path: str) -> None:
    with suppress(UnusablePathError):
        normal = normal_form(path)
        assert normal_form(normal) == normal
        assert not normal.startswith("/")
        assert not {"", ".", ".."} & {*normal.split("/")} or normal == ""
        for spelling in (f"./{path}", f"x/../{path}", f"{path}/", f"{path}/."):
            assert normal_form(spelling) == normal


@given(
    st.lists(st.lists(st.sampled_from(["a", "b", "c", "*"]), max_size=3), max_size=4),
    st.sets(st.sampled_from("abc")),
)
def test_the_canonical_form_of_pattern_lists_allows_what_the_lists_allow(
    clauses: list[list[str]], matching: set[str]
) -> None:
    def allows(some: Any) -> bool:
        return bool(some) and all(
            any(item in matching or item in {"*", "**"} for item in clause) for clause in some
        )

    assert allows(canonical(clauses)) == allows(clauses)
    assert canonical(canonical(clauses)) == canonical(clauses)

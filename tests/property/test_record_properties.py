"""The fast writer of facts is the library's; a fact survives its storage; a cut never goes unnoticed."""

import json
from typing import Any

import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from sandbox_runner.record.chain import link
from sandbox_runner.record.encoding import ascii_form, canonical_fact, compact, visible
from sandbox_runner.record.facts import TEXT_LIMIT, fact_of, shorten
from sandbox_runner.record.lines import parse_line
from sandbox_runner.trail import TrailOpcodes
from sandbox_runner.world import Call, Outcome, Status

SAFE = 2**53 - 1
text = st.text(max_size=60)
scalars = st.none() | st.booleans() | st.integers(-SAFE, SAFE) | st.floats(-SAFE, SAFE) | text
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
wild = st.recursive(
    scalars
    | st.integers()
    | st.floats()
    | st.text(alphabet=st.characters(), max_size=20)
    | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4) | st.tuples(inner),
    max_leaves=12,
)


@given(st.dictionaries(text, scalars, max_size=4), st.dictionaries(text, values, max_size=5), text | values)
def test_the_fast_canonical_form_is_that_of_the_library(
    arguments: dict[str, Any], details: dict[str, Any], outcome: Any
) -> None:
    fact = {"arguments": arguments, "details": details, "outcome": outcome, "seq": 1, "prev": "0" * 64}
    assert canonical_fact(fact) == rfc8785.dumps(fact)


@given(values)
def test_the_ascii_form_says_the_same(value: Any) -> None:
    stored = ascii_form(rfc8785.dumps(value))
    assert all(0x20 <= byte < 0x7F for byte in stored)
    assert rfc8785.dumps(json.loads(stored)) == rfc8785.dumps(value)


@given(
    st.dictionaries(text, st.text(max_size=700) | st.integers() | st.floats(), max_size=4),
    st.text(max_size=700),
    st.dictionaries(text, wild, max_size=4),
    st.sampled_from(list(Status)),
)
def test_whatever_a_world_answers_its_line_can_be_read_back(
    arguments: dict[str, Any], outcome: str, details: dict[str, Any], status: Status
) -> None:
    call = Call(TrailOpcodes.FILE_READ, "file_read", arguments, 3)
    fact = fact_of(call, Outcome(status, outcome, details), seq=0, prev="0" * 64)
    data = canonical_fact(fact)
    line = b'{"digest":"%b","fact":%b,"meta":%b}' % (link(data).encode(), ascii_form(data), compact({}))
    assert b"\n" not in line
    read = parse_line(line, 0)
    assert canonical_fact(read.fact) == data
    assert data == rfc8785.dumps(fact)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=2000))
def test_a_short_text_is_kept_and_a_long_one_is_named_by_its_digest(value: str) -> None:
    kept = shorten(value)
    size = len(value.encode())
    if size <= TEXT_LIMIT:
        assert kept == value
    else:
        assert isinstance(kept, dict)
        assert (kept["bytes"], kept["sha256"]) == (size, link(value.encode()))
        assert value.startswith(kept["head"])


@given(st.text(max_size=80))
def test_visible_text_steers_nothing(value: str) -> None:
    shown = visible(value)
    assert "\x1b" not in shown
    assert len(shown.splitlines() or [""]) == 1
    assert not any(char in shown for char in "\u202e\u2066\x9b\x7f\u2028")
    shown.encode()

import json

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from sandbox_runner.replay.event import chain_link, outcome_digest
from sandbox_runner.world import Status, canonical_digest, canonical_json

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(values)
@example({"\ue000": 1, "\U00010000": 2})  # UTF-16 units sort these the other way round than characters
@example({"é": 1.5, "b": [], "a": {}})
def test_canonical_json_is_what_the_library_for_rfc_8785_writes(value):
    assert canonical_json(value) == rfc8785.dumps(value)


@given(values)
def test_canonical_json_reads_back(value):
    assert json.loads(canonical_json(value), parse_int=float) == value


@given(st.text(), st.sampled_from(list(Status)), st.dictionaries(st.text(max_size=4), scalars, max_size=3))
def test_the_record_of_an_outcome_is_canonical_json(text, status, details):
    whole = {"details": canonical_digest(details), "result": text, "status": status.value}
    assert outcome_digest(status, text, details) == canonical_digest(whole)


@given(
    st.integers(0, 2**32),
    st.integers(0x90, 0xA3),
    st.dictionaries(st.text(max_size=4), st.text() | st.integers(0, 9)),
)
def test_a_link_of_the_chain_is_canonical_json(index, opcode, operands):
    link = {"index": index, "opcode": opcode, "operands": operands, "outcome": "o", "previous": "p"}
    assert chain_link("p", index, opcode, operands, "o") == canonical_digest(link)


@pytest.mark.parametrize(
    "value",
    [
        2**53,
        float("inf"),
        float("nan"),
        "\ud800",
        {"k": "\ud800"},
        {1: 2},
        {1: 2, "a": 3},
        b"x",
        object(),
        {"x": {2}},
    ],
)
def test_what_has_no_canonical_form_is_a_value_error(value):
    with pytest.raises(ValueError):
        canonical_json(value)


def test_a_bottomless_value_is_a_value_error():
    value = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(ValueError, match="nested too deeply"):
        canonical_json(value)

"""Details that a replay keeps are those of the outcome, whatever JSON can hold."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from sandbox_runner.replay.details import LastRead, PackedDetails, packed


@pytest.mark.parametrize(
    "details",
    [
        {"b": 1, "a": [1.0, -0.0, 0.1, True, None, "é\u2028\x00"], "n": {"deep": {}}},
        MappingProxyType({"effect": "none"}),
    ],
)
def test_packed_details_are_the_same_details(details: dict[str, Any]) -> None:
    kept = packed(details, LastRead())
    assert isinstance(kept, PackedDetails)
    assert kept == details
    assert (repr(kept), len(kept)) == (repr(dict(details)), len(details))
    assert list(kept) == list(details)


@pytest.mark.parametrize("details", [{}, {"n": 2**70}, {"text": "\ud800"}, {1: 2}])
def test_what_json_would_not_give_back_is_kept_as_it_is(details: dict[str, Any]) -> None:
    assert packed(details, LastRead()) is details

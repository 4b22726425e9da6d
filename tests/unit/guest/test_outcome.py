"""How a call ends, whatever ends it."""

import errno
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox_runner.guest.outcome import invalid_pattern, listing, of_the_step
from sandbox_runner.guest.wire import encode_json


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOSPC, errno.EACCES, errno.EAGAIN, errno.ENOTDIR])
def test_what_a_workspace_can_bring_about_is_the_steps(number: int) -> None:
    reason = of_the_step(OSError(number, "words", "/some/path"))
    assert reason is not None
    assert "/some/path" not in reason.reason
    assert not reason.reason.endswith((":", " "))


def test_running_out_of_memory_is_the_steps() -> None:
    reason = of_the_step(MemoryError())
    assert reason is not None
    assert reason.details == {"exhausted": ["memory"]}


@pytest.mark.parametrize("error", [OSError("no number"), OSError(errno.EIO, "x"), OSError(errno.EBADF, "x")])
def test_a_mistake_of_ours_and_a_broken_disk_are_not(error: OSError) -> None:
    assert of_the_step(error) is None


@settings(deadline=None)
@given(st.lists(st.text(max_size=400), max_size=300), st.sampled_from(["\x01", "\\", "é", "\U0001f600", "x"]))
def test_a_listing_is_bounded_as_json(names: list[str], filler: str) -> None:
    for given_names in (names, [filler * 1000] * 300):
        shown = listing(given_names)
        assert shown == given_names[: len(shown)]
        assert len(encode_json(shown)) <= (1 << 16) + 1000
        assert json.loads(encode_json(shown)) == shown


@pytest.mark.parametrize(
    ("complaint", "reason"),
    [
        ("regex parse error:\n    a(\n     ^\nerror: unclosed group", ": unclosed group"),
        ("regex parse error:\n1: error: mine\n2: (\n   ^\nerror: unclosed group\n", ": unclosed group"),
        ("Compiled regex exceeds size limit of 10 bytes.", ": Compiled regex exceeds size limit of 10 bytes"),
        ("error: \x1b[31m\u202e" + "x" * 9000, ": ?[31m?" + "x" * 194),
        ("", ""),
        (" \n", ""),
    ],
)
def test_a_bad_pattern_is_told_with_the_programs_reason_and_nothing_that_moves_the_screen(
    complaint: str, reason: str
) -> None:
    assert invalid_pattern(complaint) == "invalid pattern" + reason

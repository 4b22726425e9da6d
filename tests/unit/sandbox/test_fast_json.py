"""The host's faster JSON says and reads what the wire's own does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_runner.guest.wire import decode_json, encode_json
from sandbox_runner.sandbox.fast_json import decode, encode

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
PIECES = st.sampled_from(
    [
        *(
            "{",
            "}",
            "[",
            "]",
            '"a"',
            '"\\u00e9"',
            '"\\ud800"',
            '"\x7f"',
            ":",
            ",",
            " ",
            "true",
            "null",
            "NaN",
        ),
        *("1", "-0", "1e400", "0.10", "2e2", "9" * 20, "\ud800", "\ufeff"),
    ]
)


def read(reader, data):
    try:
        return repr(reader(data))
    except (ValueError, RecursionError):
        return None


@given(st.lists(PIECES, max_size=9).map("".join))
def test_any_bytes_are_read_alike_or_refused_alike(text):
    data = text.encode("utf-8", "surrogatepass")
    assert read(decode, data) == read(decode_json, data)


@given(VALUES)
def test_what_one_writes_the_other_reads(value):
    for write in (encode, encode_json):
        try:
            data = write(value)
        except (TypeError, ValueError):
            with pytest.raises((TypeError, ValueError)):
                encode_json(value)
            continue
        assert repr(decode(data)) == repr(decode_json(data)) == repr(value)


@pytest.mark.parametrize(
    "text", [b'{"a":1,"a":1}', b'{"a":{"b":1,"b":2}}', b"[1] ", b"[NaN]", b"", b"[" * 10_000]
)
def test_what_two_readers_could_take_for_two_things_is_refused(text):
    with pytest.raises((ValueError, RecursionError)):
        decode(text)

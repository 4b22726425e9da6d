"""Hostile input: whatever the bytes, a trail or a TrailError, at little cost; what loads is canonical."""

import json
import random
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox_runner.errors import TrailCompileError, TrailDecodeError, TrailError
from sandbox_runner.trail import (
    TrailDecoder,
    TrailEncoder,
    TrailPrinter,
    TrailVerifier,
    compile_worklog,
    convert,
    iter_worklog,
    load,
)

DATA = Path(__file__).parents[1] / "data" / "vectors"
COMPILED = json.loads((DATA / "compile.json").read_text())["vectors"]
V2 = json.loads((DATA / "trail_v2.json").read_text())["vectors"]
TRAILS = [bytes.fromhex(vector.get("bytecode_hex") or vector["hex"]) for vector in COMPILED + V2]
WORKLOGS = [json.dumps(vector["entries"]).encode() for vector in COMPILED]
WORKLOGS += [json.dumps({"entries": COMPILED[-2]["entries"]}).encode()]
WORKLOGS += [b"\n".join(json.dumps(entry).encode() for entry in COMPILED[-2]["entries"])]

SECONDS, ROUNDS = 10, 100_000  # whichever is less, for each of the two mutation tests
WATCHED = 4_000  # rounds whose memory is traced, which takes most of the time
SPICE = (b"\xff", b"\0", b"\xb0", b"\xa0", b"\xa1", b"\xff\xff\xff\xff", b"\x89FLUX2\r\n", b"\xed\xa0\x80")
JSON_SPICE = (
    b"[",
    b"{",
    b"]",
    b"}",
    b'"',
    b"\\",
    b"\\ud800",
    b",",
    b":",
    b"NaN",
    b"1e999",
    b"null",
    b"\xff",
    b"\0",
)


def mutants(seeds: list[bytes], spice: tuple[bytes, ...], randomness: random.Random) -> Iterator[bytes]:
    """Seeds with a few bytes changed, taken out, doubled or put in; for a time and a number of rounds."""
    deadline = time.monotonic() + SECONDS
    for _ in range(ROUNDS):
        if time.monotonic() > deadline:
            return
        data = bytearray(randomness.choice(seeds))
        for _ in range(randomness.randint(1, 4)):
            at = randomness.randrange(len(data) + 1)
            match randomness.randrange(6):
                case 0:
                    data[at : at + 1] = bytes([randomness.randrange(256)])
                case 1:
                    del data[at : at + randomness.randint(1, 8)]
                case 2:
                    data[at:at] = randomness.choice(spice)
                case 3:
                    data[at:at] = data[at : at + randomness.randint(1, 40)]
                case 4:
                    del data[at:]
                case _:
                    other = randomness.choice(seeds)
                    data[at:] = other[randomness.randrange(len(other)) :]
        yield bytes(data)


def attempt(read: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return read(data)
    except TrailError as error:
        return error


def check_trail(data: bytes) -> bool:
    """Every reader ends in a value or a TrailError, and they agree on what may be replayed."""
    trail = attempt(load, data)
    if isinstance(trail, TrailError):
        assert not isinstance(trail, TrailDecodeError) or 0 <= trail.offset <= len(data)
        passed = TrailVerifier().verify_bytecode(data)  # and never what has texts, or no table
        assert not passed or (
            data.endswith(b"\xb0\0\0") and not TrailVerifier({"": ""}).verify_bytecode(data)
        )
    else:
        assert list(trail.steps)[-1].opcode.name == "TRAIL_END"
        assert convert(trail, str(trail.version)) == data  # type: ignore[arg-type]
        assert convert(load(convert(trail, "2")), "1") == data if trail.version == 1 else True
        assert TrailVerifier().verify_bytecode(data)
    decoder = TrailDecoder()
    program = attempt(decoder.decode, data)
    if isinstance(program, TrailError):
        assert isinstance(trail, TrailDecodeError)
        return False
    TrailPrinter(decoder.string_table).print_program(program, fmt="verbose")
    TrailVerifier(decoder.string_table).verify(program)
    if isinstance(trail, TrailError):
        return False
    assert TrailEncoder(decoder.string_table).encode(program) == data
    return True


def check_worklog(data: bytes) -> bool:
    trail = attempt(lambda raw: load(compile_worklog(iter_worklog(raw))), data)
    return not isinstance(trail, TrailCompileError) and len(trail.steps) >= 2


@pytest.mark.parametrize(
    ("seeds", "spice", "check"),
    [(TRAILS, SPICE, check_trail), (WORKLOGS, JSON_SPICE, check_worklog)],
    ids=["trails", "worklogs"],
)
def test_mutated_input_ends_in_a_trail_or_a_trail_error(
    seeds: list[bytes],
    spice: tuple[bytes, ...],
    check: Callable[[bytes], bool],
) -> None:
    outcomes = Counter()
    tracemalloc.start()
    for rounds, data in enumerate(mutants(seeds, spice, random.Random(20_261_123))):
        if rounds == WATCHED:
            assert tracemalloc.get_traced_memory()[1] < 64 << 20
            tracemalloc.stop()
        outcomes[check(data)] += 1
    tracemalloc.stop()
    print(dict(outcomes))  # noqa: T201  # how many inputs the budget allowed; shown with -s
    assert outcomes[True]
    assert outcomes[False]


@settings(max_examples=2000, deadline=None)
@given(st.binary(max_size=200) | st.builds(lambda tail: b"\x89FLUX2\r\n" + tail, st.binary(max_size=120)))
def test_arbitrary_bytes_end_in_a_trail_or_a_trail_error(data: bytes) -> None:
    check_trail(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
OPS = st.sampled_from(
    ["FILE_READ", "TEST_RUN", "TRUST_UPDATE", "TRAIL_BEGIN", "TRAIL_END", "COMMENT", "NOPE"]
)
KEYS = st.sampled_from(
    ["path", "test_path", "count", "target", "delta", "agent", "ts", "status", "comment", "desc"]
)
ENTRY = st.builds(lambda op, rest: {"op": op, **rest}, OPS | JSON, st.dictionaries(KEYS, JSON, max_size=4))


@settings(max_examples=400, deadline=None)
@given(st.lists(ENTRY | JSON, max_size=5) | JSON)
def test_arbitrary_json_ends_in_a_trail_or_a_compile_error(value: object) -> None:
    check_worklog(json.dumps(value).encode())
    if isinstance(value, list):
        try:
            compile_worklog(value)
        except TrailCompileError:
            return
        load(compile_worklog(value))


@settings(max_examples=1000, deadline=None)
@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_arbitrary_text_ends_in_a_trail_or_a_compile_error(text: str) -> None:
    check_worklog(text.encode("utf-8", "surrogatepass"))

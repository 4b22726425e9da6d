"""Version 2: bytes of an independent writer, and everything that breaks a rule."""

import json
import struct
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from sandbox_runner.errors import TrailDecodeError, TrailError, TrailVerificationError
from sandbox_runner.trail import (
    TrailDecoder,
    TrailEncoder,
    TrailLimits,
    TrailVerifier,
    compile_worklog,
    load,
)

DATA = Path(__file__).parents[2] / "data" / "vectors"
VECTORS = json.loads((DATA / "trail_v2.json").read_text())["vectors"]
BY_ID = {vector["id"]: vector for vector in VECTORS}
SOUND = [vector for vector in VECTORS if "arguments" in vector]
BROKEN = [vector for vector in VECTORS if "offset" in vector]


def data_of(vector: dict[str, Any]) -> bytes:
    return bytes.fromhex(vector["hex"])


@pytest.mark.parametrize("vector", SOUND, ids=lambda vector: vector["id"])
def test_a_vector_loads_to_its_arguments_and_strings(vector: dict[str, Any]) -> None:
    trail = load(data_of(vector))
    assert trail.version == 2
    assert [[step.opcode.name, step.arguments] for step in trail.steps] == vector["arguments"]
    assert sorted(trail.strings) == sorted(vector["strings"])


@pytest.mark.parametrize(
    "vector", [vector for vector in SOUND if "entries" in vector], ids=lambda vector: vector["id"]
)
def test_a_worklog_compiles_to_the_bytes_of_the_independent_writer(vector: dict[str, Any]) -> None:
    assert compile_worklog(vector["entries"], format="2") == data_of(vector)


@pytest.mark.parametrize("vector", BROKEN, ids=lambda vector: vector["id"])
def test_a_broken_rule_is_an_error_with_its_offset(vector: dict[str, Any]) -> None:
    with pytest.raises(TrailDecodeError) as caught:
        load(data_of(vector))
    assert caught.value.offset == vector["offset"]
    with pytest.raises(TrailDecodeError):
        TrailDecoder().decode(data_of(vector))


def test_a_trail_cut_off_anywhere_is_malformed() -> None:
    data = data_of(BY_ID["every operation"])
    for end in range(1, len(data)):
        with pytest.raises(TrailDecodeError) as caught:
            load(data[:end])
        assert caught.value.offset <= end


@pytest.mark.parametrize("name", ["no end", "steps after the end", "no begin", "no steps"])
def test_an_unframed_trail_decodes_and_is_not_replayed(name: str) -> None:
    data = data_of(BY_ID[name])
    TrailDecoder().decode(data)
    with pytest.raises(TrailVerificationError):
        load(data)
    assert not TrailVerifier().verify_bytecode(data)


@pytest.mark.parametrize("vector", SOUND, ids=lambda vector: vector["id"])
def test_the_low_level_classes_give_the_bytes_back(vector: dict[str, Any]) -> None:
    decoder = TrailDecoder()
    program = decoder.decode(data_of(vector))
    assert program.version == 2
    assert TrailEncoder(decoder.string_table).encode(program) == data_of(vector)
    assert TrailVerifier(decoder.string_table).verify(program)


def test_the_encoder_refuses_version_2_operands_that_its_table_lacks() -> None:
    decoder = TrailDecoder()
    program = decoder.decode(data_of(BY_ID["every operation"]))
    with pytest.raises(TrailError, match="lacks"):
        TrailEncoder().encode(program)
    program.steps[3].operands.append(1)
    with pytest.raises(TrailError, match="operand slots"):
        TrailEncoder(decoder.string_table).encode(program)


def test_a_string_of_16_mib_is_held_and_one_byte_more_is_not() -> None:
    frame = [{"op": "TRAIL_BEGIN"}, {"op": "COMMENT", "comment": "x" * (16 << 20)}, {"op": "TRAIL_END"}]
    data = compile_worklog(frame)
    assert load(data).steps[1].arguments["comment"] == "x" * (16 << 20)
    size = data.index(struct.pack("<I", 16 << 20))
    longer = data[:size] + struct.pack("<I", (16 << 20) + 1) + data[size + 4 :]
    with pytest.raises(TrailDecodeError, match="limit string_bytes"):
        load(longer)


@pytest.mark.parametrize(
    "limits", [TrailLimits(steps=3), TrailLimits(strings=3), TrailLimits(trail_bytes=99)]
)
def test_each_limit_is_named_by_the_error_that_it_causes(limits: TrailLimits) -> None:
    name = next(name for name in ("steps", "strings", "trail_bytes") if getattr(limits, name) < 100)
    with pytest.raises(TrailDecodeError, match=f"limit {name} of"):
        load(data_of(BY_ID["every operation"]), limits)


def test_absurd_counts_are_refused_before_anything_is_read() -> None:
    for counts in (struct.pack("<II", 0xFFFF_FFFF, 0), struct.pack("<II", 0, 0xFFFF_FFFF)):
        with pytest.raises(TrailDecodeError, match="limit"):
            load(b"\x89FLUX2\r\n" + counts)
    for counts in (struct.pack("<II", 1_000_000, 0), struct.pack("<II", 0, 1_000_000)):
        with pytest.raises(TrailDecodeError, match="cut off"):
            load(b"\x89FLUX2\r\n" + counts)


def test_a_string_digest_is_the_whole_sha256_of_its_text() -> None:
    data = compile_worklog([{"op": "TRAIL_BEGIN", "agent": "m", "trail_id": "t"}, {"op": "TRAIL_END"}])
    from_v2 = compile_worklog(
        [{"op": "TRAIL_BEGIN", "agent": "m", "trail_id": "t"}, {"op": "TRAIL_END"}], format="2"
    )
    for text in (b"m", b"t"):
        assert sha256(text).digest() in from_v2
        assert sha256(text).digest() not in data

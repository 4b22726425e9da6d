"""The reference's compile vectors: the same bytes, except where a known defect applies."""

import json
from pathlib import Path
from typing import Any

import pytest

from sandbox_runner.errors import TrailCompileError, TrailVerificationError
from sandbox_runner.trail import TrailCompiler, TrailDecoder, compile_worklog, load, resolve_operands

DATA = Path(__file__).parents[2] / "data" / "vectors"
VECTORS = {vector["id"]: vector for vector in json.loads((DATA / "compile.json").read_text())["vectors"]}
ERRORS = json.loads((DATA / "compile_errors.json").read_text())["vectors"]

# By defect: what the successor does with these worklogs instead.
REFUSED = {
    "aliases": ("message_hash", 1),
    "defaults": ("message", 1),
    "trust_edges": ("delta", 8),
    "count_edges": ("count", 6),
    "level_edges": ("level", 4),
    "repo_forms": ("repo_id", 4),
    "timestamps": ("ts", 4),
    "end_status": ("status", 7),
    "op_name_ligature": ("op", 1),
}
VERSION_2 = {"len_256", "len_300", "len_256_multibyte", "collision"}
UNFRAMED = {"no_frame": 0, "end_in_middle": 1}
TIMELESS = {"no_ts"}
SAME_BYTES = sorted(VECTORS.keys() - REFUSED.keys() - VERSION_2 - TIMELESS)


def reference_bytes(vector: dict[str, Any], ours: bytes) -> bytes:
    """The reference's bytes with our agent byte: theirs came from a salted hash."""
    data = bytearray.fromhex(vector["bytecode_hex"])
    for offset in vector["seed_dependent_offsets"]:
        data[offset] = ours[offset]
    return bytes(data)


def test_every_vector_is_accounted_for() -> None:
    assert len(VECTORS) == 60
    assert len(SAME_BYTES) == 46


@pytest.mark.parametrize("name", SAME_BYTES)
def test_a_worklog_compiles_to_the_bytes_of_the_reference(name: str) -> None:
    vector = VECTORS[name]
    compiler = TrailCompiler()
    data = compiler.compile_and_encode(vector["entries"])
    assert data == reference_bytes(vector, data)
    assert compiler.string_table == vector["compiled_string_table"]


@pytest.mark.parametrize("name", sorted(set(SAME_BYTES) - UNFRAMED.keys()))
def test_compiled_bytes_load_with_every_argument_resolved(name: str) -> None:
    vector = VECTORS[name]
    trail = load(compile_worklog(vector["entries"]))
    assert trail.version == 1
    for step, resolved in zip(trail.steps, vector["resolved"], strict=True):
        if step.opcode.name not in {"TRAIL_BEGIN", "TRAIL_END", "GIT_PUSH"}:
            assert list(step.arguments.values()) == resolved


@pytest.mark.parametrize("name", SAME_BYTES)
def test_plain_decoding_gives_the_steps_and_strings_of_the_reference(name: str) -> None:
    vector = VECTORS[name]
    decoder = TrailDecoder()
    program = decoder.decode(bytes.fromhex(vector["bytecode_hex"]))
    assert decoder.string_table == vector["decode"]["string_table"]
    steps = zip(program.steps, vector["decode"]["steps"], vector["resolved"], strict=True)
    for step, expected, resolved in steps:
        metadata = dict(expected["metadata"])
        if "trail_id" in metadata:  # the text, which the reference never recovered
            metadata["trail_id"] = decoder.string_table.get(metadata["trail_id"], metadata["trail_id"])
        assert (step.opcode, step.operands) == (expected["opcode"], expected["operands"])
        assert (step.metadata, step.timestamp) == (metadata, expected["timestamp"])
        assert step.description == expected["description"]
        if step.opcode.name != "GIT_PUSH":
            assert resolve_operands(step.opcode, step.operands, decoder.string_table) == resolved


@pytest.mark.parametrize("name", sorted(VERSION_2))
def test_what_version_1_would_corrupt_is_written_as_version_2_or_refused(name: str) -> None:
    entries = VECTORS[name]["entries"]
    trail = load(compile_worklog(entries))
    assert trail.version == 2
    texts = {value for entry in entries for value in entry.values() if isinstance(value, str)} - {
        entry["op"] for entry in entries
    }
    assert set(trail.strings) == texts
    with pytest.raises(TrailCompileError) as caught:
        compile_worklog(entries, format="1")
    assert caught.value.entry is not None
    assert caught.value.key is not None


@pytest.mark.parametrize(("name", "place"), REFUSED.items())
def test_what_the_reference_wrapped_or_guessed_is_an_error_with_entry_and_key(
    name: str, place: tuple[str, int]
) -> None:
    with pytest.raises(TrailCompileError) as caught:
        TrailCompiler().compile_and_encode(VECTORS[name]["entries"])
    assert (caught.value.key, caught.value.entry) == place


@pytest.mark.parametrize(("name", "entry"), UNFRAMED.items())
def test_an_unframed_worklog_compiles_for_inspection_but_is_no_trail(name: str, entry: int) -> None:
    data = TrailCompiler().compile_and_encode(VECTORS[name]["entries"])
    with pytest.raises(TrailVerificationError):
        load(data)
    with pytest.raises(TrailCompileError) as caught:
        compile_worklog(VECTORS[name]["entries"])
    assert caught.value.entry == entry


def test_a_worklog_without_a_time_is_written_with_time_zero_and_never_the_clock() -> None:
    (name,) = TIMELESS
    data = TrailCompiler().compile_and_encode(VECTORS[name]["entries"])
    assert data[6:10] == bytes(4)
    assert data[:6] + data[10:] == (expected := reference_bytes(VECTORS[name], data))[:6] + expected[10:]


def json_value(value: Any) -> Any:
    return bytes.fromhex(value["__bytes__"]) if isinstance(value, dict) and "__bytes__" in value else value


@pytest.mark.parametrize("vector", ERRORS, ids=lambda vector: vector["id"])
def test_a_worklog_that_the_reference_rejects_is_one_kind_of_error(vector: dict[str, Any]) -> None:
    entries = [
        {key: json_value(value) for key, value in entry.items()} if isinstance(entry, dict) else entry
        for entry in vector["entries"]
    ]
    with pytest.raises(TrailCompileError) as caught:
        TrailCompiler().compile_and_encode(entries)
    assert isinstance(caught.value, ValueError)
    expected = vector["outcome"]["message"]
    if expected.startswith(("Unknown opcode", "No compiler", "Cannot encode")):
        assert expected in str(caught.value)

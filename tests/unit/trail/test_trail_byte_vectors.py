"""The reference's byte-level vectors: hashes, steps, malformed input, resolution, joining, verification."""

import json
from pathlib import Path
from typing import Any

import pytest

from sandbox_runner.errors import TrailDecodeError, TrailError, TrailVerificationError
from sandbox_runner.trail import (
    OPCODE_ARG_TYPES,
    TrailCompiler,
    TrailDecoder,
    TrailEncoder,
    TrailOpcodes,
    TrailProgram,
    TrailStep,
    TrailVerifier,
    load,
    operand_names,
    resolve_operands,
    str_hash_to_u16_pair,
    str_to_hash,
    u16_pair_to_hex,
)

DATA = Path(__file__).parents[2] / "data" / "vectors"


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text())
    return content


HASHES, STEPS, MALFORMED, RESOLVE, VERIFY = map(read, ("hashes", "steps", "malformed", "resolve", "verify"))
BY_ID = {vector["id"]: vector for vector in MALFORMED["vectors"]}


@pytest.mark.parametrize("vector", HASHES["vectors"], ids=lambda vector: vector["hash"])
def test_a_string_has_the_hash_pair_and_table_entry_of_the_reference(vector: dict[str, Any]) -> None:
    text = vector["string"]
    pair = str_hash_to_u16_pair(text)
    assert str_to_hash(text) == vector["hash"] == u16_pair_to_hex(*pair)
    assert list(pair) == vector["pair"]
    encoder = TrailEncoder()
    assert encoder.register_string(text) == pair
    nop = TrailProgram([TrailStep(TrailOpcodes.NOP)])
    if vector["utf8_len"] < 256:
        assert encoder.encode(nop)[1:].hex() == vector["table_hex"]
    else:
        with pytest.raises(TrailError, match="255"):
            encoder.encode(nop)


def test_table_entries_are_written_in_ascending_order_of_their_hashes() -> None:
    encoder = TrailEncoder()
    for text in HASHES["ordering"]["strings"]:
        encoder.register_string(text)
    data = encoder.encode(TrailProgram([TrailStep(TrailOpcodes.NOP)]))
    assert data[1:].hex() == HASHES["ordering"]["table_hex"]


@pytest.mark.parametrize("vector", STEPS["vectors"], ids=lambda vector: vector["id"])
def test_low_level_steps_encode_as_leniently_as_in_the_reference(vector: dict[str, Any]) -> None:
    outcome = vector["outcome"]
    if "raised" in outcome:
        with pytest.raises(ValueError):
            encode_steps(vector)
        return
    if vector["id"] == "hashtable_step":
        with pytest.raises(TrailError, match="HASHTABLE"):
            encode_steps(vector)
        return
    program, data = encode_steps(vector)
    assert [step.operands for step in program.steps] == outcome["stored_operands"]
    assert data.hex() == outcome["hex"]
    decoded = TrailDecoder().decode(data)
    for step, expected in zip(decoded.steps, outcome["decoded"], strict=True):
        assert (step.opcode, step.operands, step.metadata) == (
            expected["opcode"],
            expected["operands"],
            expected["metadata"],
        )


def encode_steps(vector: dict[str, Any]) -> tuple[TrailProgram, bytes]:
    program = TrailProgram([TrailStep(**step) for step in vector["steps"]])
    return program, TrailEncoder(vector["string_table"]).encode(program)


# What plain decoding refuses although the reference accepted it: structure, not meaning.
STRUCTURE = {"D06", "D08", "D29"}


@pytest.mark.parametrize("name", BY_ID)
def test_plain_decoding_refuses_what_is_malformed_and_nothing_else(name: str) -> None:
    vector = BY_ID[name]
    data = bytes.fromhex(vector["hex"])
    if "raised" in vector["outcome"] or STRUCTURE & set(vector["known_defects"]):
        with pytest.raises(TrailDecodeError) as caught:
            TrailDecoder().decode(data)
        assert 0 <= caught.value.offset <= len(data)
        if vector["outcome"].get("message", "").startswith("Invalid opcode"):
            assert str(caught.value) == vector["outcome"]["message"]
        return
    decoder = TrailDecoder()
    program = decoder.decode(data)
    assert [[step.opcode.name, step.operands] for step in program.steps] == vector["outcome"]["ok"]
    assert decoder.string_table == vector["outcome"]["string_table"]


ACCEPTED = {"base", "end_status_200", "push_one_operand", "push_two_operands"}


@pytest.mark.parametrize("name", BY_ID)
def test_strict_loading_accepts_only_what_is_sound(name: str) -> None:
    data = bytes.fromhex(BY_ID[name]["hex"])
    if name in ACCEPTED:
        assert load(data).data == data
    else:
        with pytest.raises((TrailDecodeError, TrailVerificationError)):
            load(data)


# Sound but for their references, with an empty table, as an encoder writes them that was given none.
TEXTLESS = {"empty_table_unresolved"}


@pytest.mark.parametrize("name", BY_ID)
def test_the_byte_verifier_passes_what_loads_and_what_has_no_text_to_refer_to(name: str) -> None:
    data = bytes.fromhex(BY_ID[name]["hex"])
    verifier = TrailVerifier()
    assert verifier.verify_bytecode(data) is (name in ACCEPTED | TEXTLESS)
    assert bool(verifier.errors) is (name not in ACCEPTED | TEXTLESS)
    assert bool(verifier.warnings) >= (name in TEXTLESS)
    if name in TEXTLESS:
        assert not TrailVerifier({str_to_hash("a"): "a"}).verify_bytecode(data)


def test_the_first_byte_alone_is_judged_as_in_the_reference() -> None:
    for first, outcome in MALFORMED["single_byte_programs"].items():
        if outcome == "step:NOP":
            assert TrailDecoder().decode(bytes.fromhex(first)).steps[0].opcode is TrailOpcodes.NOP
        else:
            with pytest.raises(TrailDecodeError):
                TrailDecoder().decode(bytes.fromhex(first))
    for first, outcome in MALFORMED["byte_then_16_zero_bytes"].items():
        with pytest.raises(TrailDecodeError) as caught:
            TrailDecoder().decode(bytes.fromhex(first) + bytes(16))
        if first not in {"89", "b0"}:  # the magic of version 2; a table that ends before the input does
            assert f"ValueError: {caught.value}" == outcome


@pytest.mark.parametrize(
    "vector", RESOLVE["vectors"], ids=lambda vector: f"{vector['name']}-{len(vector['operands'])}"
)
def test_operands_resolve_as_in_the_reference(vector: dict[str, Any]) -> None:
    opcode, slots = vector["opcode"], vector["operands"]
    assert operand_names(opcode) == vector["names"]
    expected, types = vector["resolved"], vector["types"]
    if vector["name"] == "GIT_PUSH":  # one slot is a number: what the compiler writes
        types = "n"
        expected = slots if len(slots) == 1 else expected
    assert resolve_operands(opcode, slots, RESOLVE["string_table"]) == expected
    assert OPCODE_ARG_TYPES.get(TrailOpcodes(opcode), "") == types


@pytest.mark.parametrize("vector", read("concatenate")["vectors"], ids=lambda vector: vector["id"])
def test_programs_concatenate_as_in_the_reference(vector: dict[str, Any]) -> None:
    first, second = TrailCompiler(), TrailCompiler()
    a, b = first.compile(vector["a"]), second.compile(vector["b"])
    assert (a.is_valid, b.is_valid) == (vector["a_valid"], vector["b_valid"])
    if "outcome" in vector:
        with pytest.raises(TrailError, match=vector["outcome"]["message"]):
            a.concatenate(b)
        return
    merged = a.concatenate(b)
    union = TrailEncoder(first.string_table | second.string_table).encode(merged)
    expected = bytearray.fromhex(vector["hex_with_union_table"])
    expected[1] = union[1]
    assert union == expected
    assert len(merged.action_steps) == vector["action_steps"]
    assert (a.is_valid, len(a.steps)) == (True, len(vector["a"]))


STRICTER = {"D09", "D10", "D27", "D28", "D39", "D01"}


@pytest.mark.parametrize(
    "vector",
    [vector for vector in VERIFY["vectors"] if vector["steps"] is not None],
    ids=lambda vector: vector["id"],
)
def test_programs_verify_as_in_the_reference_but_with_exact_operand_counts(vector: dict[str, Any]) -> None:
    program = TrailProgram(
        [TrailStep(op, operands, *metadata) for op, operands, *metadata in vector["steps"]]
    )
    verifier = TrailVerifier()
    assert verifier.verify(program) is vector["trail_agent"]["ok"]
    assert ("PASSED" in verifier.report()) is vector["trail_agent"]["ok"]


# Worklogs that are no longer compiled at all; the compile vectors say why.
UNCOMPILED = {
    *("aliases", "defaults", "trust_edges", "count_edges", "level_edges", "repo_forms"),
    *("timestamps", "end_status", "op_name_ligature", "collision"),
}
COMPILED = [
    vector for vector in VERIFY["vectors"] if vector["steps"] is None and vector["id"] not in UNCOMPILED
]


@pytest.mark.parametrize("vector", COMPILED, ids=lambda vector: vector["id"])
def test_compiled_programs_verify_with_their_table(vector: dict[str, Any]) -> None:
    compiler = TrailCompiler()
    program = compiler.compile(vector["entries"])
    verifier = TrailVerifier(string_table=compiler.string_table)
    passes = vector["holodeck"]["ok"] and not STRICTER & set(vector["known_defects"])
    assert verifier.verify(program) is passes, verifier.report()
    assert verifier.warnings == []

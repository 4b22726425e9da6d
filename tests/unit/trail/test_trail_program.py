"""The low-level classes: as lenient as other tools rely on, and never silently wrong."""

import json
import struct
from pathlib import Path

import pytest

from sandbox_runner.errors import TrailError
from sandbox_runner.trail import (
    OPCODE_ARG_TYPES,
    OPCODE_OPERAND_COUNT,
    TrailCompiler,
    TrailDecoder,
    TrailEncoder,
    TrailOpcodes,
    TrailProgram,
    TrailStep,
    str_hash_to_u16_pair,
)

DATA = Path(__file__).parents[2] / "data" / "vectors"
COMPILED = json.loads((DATA / "compile.json").read_text())["vectors"]
BEGIN = TrailStep(opcode=TrailOpcodes.TRAIL_BEGIN, operands=[1], metadata={"trail_id": "t", "timestamp": 1})


def test_a_step_masks_its_operands_and_converts_its_opcode() -> None:
    step = TrailStep(0x99, [70000, -1, "12", 3.9], {"a": 1}, 2.5, "up")  # type: ignore[arg-type, list-item]
    assert step.opcode is TrailOpcodes.LEVEL_UP
    assert step.operands == [4464, 65535, 12, 3]
    assert (step.metadata, step.timestamp, step.description) == ({"a": 1}, 2.5, "up")
    with pytest.raises(ValueError, match="16 is not a valid TrailOpcodes"):
        TrailStep(0x10)  # type: ignore[arg-type]


def test_steps_do_not_share_their_defaults() -> None:
    first, second = TrailStep(TrailOpcodes.NOP), TrailStep(TrailOpcodes.NOP)
    first.metadata["x"] = 1
    assert second.metadata == {}


def test_a_program_grows_step_by_step_and_knows_its_actions() -> None:
    program = TrailProgram().add_step(BEGIN).add_step(TrailStep(TrailOpcodes.NOP))
    assert not program.is_valid
    program.add_step(TrailStep(TrailOpcodes.COMMENT, [0, 0])).add_step(TrailStep(TrailOpcodes.TRAIL_END))
    assert program.is_valid
    assert [step.opcode.name for step in program.action_steps] == ["COMMENT"]


def test_the_fingerprint_is_the_program_digest_of_the_reference() -> None:
    for vector in COMPILED:
        if vector["known_defects"] == [] and not vector["clock_dependent"]:
            program = TrailDecoder().decode(bytes.fromhex(vector["bytecode_hex"]))
            assert program.fingerprint() == vector["program_fingerprint"], vector["id"]


def test_decoding_and_encoding_give_the_same_bytes() -> None:
    for vector in COMPILED:
        if {"D01", "D11"}.isdisjoint(vector["known_defects"]):
            data, decoder = bytes.fromhex(vector["bytecode_hex"]), TrailDecoder()
            program = decoder.decode(data)
            assert TrailEncoder(decoder.string_table).encode(program) == data, vector["id"]


def test_a_decoder_forgets_the_trail_before() -> None:
    decoder = TrailDecoder()
    decoder.decode(bytes.fromhex(COMPILED[1]["bytecode_hex"]))
    assert decoder.string_table
    assert decoder.decode(b"").steps == []
    assert decoder.string_table == {}


@pytest.mark.parametrize("table", [{}, {"2d711642": "x"}])
def test_an_encoder_copies_the_table_it_is_given(table: dict[str, str]) -> None:
    encoder = TrailEncoder(table)
    encoder.register_string("another")
    assert len(table) <= 1
    assert len(encoder.string_table) == len(table) + 1


def test_an_encoder_refuses_to_merge_colliding_strings() -> None:
    encoder = TrailEncoder()
    encoder.register_string("src/mod_21071.py")
    encoder.register_string("src/mod_21071.py")
    with pytest.raises(TrailError, match="91a6f4de"):
        encoder.register_string("src/mod_28115.py")
    with pytest.raises(TrailError, match="aabbccdd"):
        TrailEncoder({"aabbccdd1": "a", "aabbccdd2": "b"}).encode(TrailProgram([BEGIN]))


@pytest.mark.parametrize(
    ("program", "text"),
    [
        (TrailProgram(), "Cannot encode empty trail program"),
        (TrailProgram([TrailStep(TrailOpcodes.NOP)] * 65536), "65535 steps"),
        (TrailProgram([TrailStep(TrailOpcodes.COMMENT, [0] * 256)]), "at most 255"),
        (TrailProgram([TrailStep(TrailOpcodes.HASHTABLE)]), "HASHTABLE"),
        (TrailProgram([TrailStep(TrailOpcodes.TRAIL_BEGIN, [1], timestamp=2.0**32)]), "outside"),
        (TrailProgram([TrailStep(TrailOpcodes.TRAIL_BEGIN, [1], {"timestamp": -5})]), "outside"),
        (TrailProgram([TrailStep(TrailOpcodes.TRAIL_BEGIN, [1], {"timestamp": "now"})]), "no number"),
        (TrailProgram([TrailStep(TrailOpcodes.TRAIL_BEGIN, [1], timestamp=float("inf"))]), "no number"),
    ],
    ids=["empty", "steps", "operands", "marker", "late", "early", "text", "infinite"],
)
def test_what_does_not_fit_is_one_kind_of_error(program: TrailProgram, text: str) -> None:
    with pytest.raises(TrailError, match=text):
        TrailEncoder().encode(program)


def test_65536_strings_do_not_fit_version_1() -> None:
    table = {f"{number:08x}": "" for number in range(65536)}
    with pytest.raises(TrailError, match="65535 strings"):
        TrailEncoder(table).encode(TrailProgram([BEGIN]))


def test_a_begin_without_operands_takes_its_byte_from_the_agents_name() -> None:
    step = TrailStep(TrailOpcodes.TRAIL_BEGIN, [], {"agent": "tester"})
    assert TrailEncoder().encode(TrailProgram([step]))[1] == 0x9B


def test_changing_a_decoded_trail_id_changes_the_bytes() -> None:
    decoder = TrailDecoder()
    program = decoder.decode(TrailEncoder().encode(TrailProgram([BEGIN])))
    program.steps[0].metadata["trail_id"] = "another"
    high, low = str_hash_to_u16_pair("another")
    assert TrailEncoder().encode(program)[2:6] == struct.pack("<HH", high, low)


def test_programs_of_both_versions_do_not_mix() -> None:
    one, two = TrailProgram([BEGIN, TrailStep(0xA1)]), TrailProgram([BEGIN, TrailStep(0xA1)], version=2)  # type: ignore[arg-type]
    with pytest.raises(TrailError, match="version 1 and 2"):
        one.concatenate(two)


def test_concatenation_changes_neither_program() -> None:
    one, two = (
        TrailCompiler().compile([{"op": "TRAIL_BEGIN"}, {"op": "TRAIL_END", "status": status}])
        for status in (1, 0)
    )
    merged = one.concatenate(two)
    assert merged.steps[-1].operands == [1]
    assert (one.steps[-1].operands, two.steps[-1].operands) == ([1], [0])
    assert two.steps[-1].metadata["status"] == 0


def test_the_tables_cover_the_eighteen_operations_with_arguments() -> None:
    assert len(OPCODE_OPERAND_COUNT) == len(OPCODE_ARG_TYPES) == 18
    assert OPCODE_OPERAND_COUNT[TrailOpcodes.FILE_EDIT] == 3
    assert OPCODE_ARG_TYPES[TrailOpcodes.TRUST_UPDATE] == "sn"
    assert all(len(types) == OPCODE_OPERAND_COUNT[opcode] for opcode, types in OPCODE_ARG_TYPES.items())
    assert TrailOpcodes.TRAIL_BEGIN not in OPCODE_OPERAND_COUNT


def test_opcodes_are_classified() -> None:
    assert [byte for byte in range(256) if TrailOpcodes.is_valid(byte)] == [*range(0x90, 0xA4), 0xB0]
    assert [byte for byte in range(256) if TrailOpcodes.is_trail_op(byte)] == [*range(0x90, 0xA0)]
    assert [byte for byte in range(256) if TrailOpcodes.is_meta_op(byte)] == [*range(0xA0, 0xA4)]

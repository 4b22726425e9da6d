"""The verifier: exact where the reference looked away, lenient where other tools build dummy programs."""

import json
from pathlib import Path

import pytest

from sandbox_runner.errors import TrailVerificationError
from sandbox_runner.trail import (
    TrailCompiler,
    TrailEncoder,
    TrailOpcodes,
    TrailProgram,
    TrailStep,
    TrailVerifier,
    compile_worklog,
    load,
    str_to_hash,
)

DATA = Path(__file__).parents[2] / "data" / "vectors"
WORKLOG = [
    {"op": "TRAIL_BEGIN", "agent": "ada", "trail_id": "t", "ts": 1},
    {"op": "GIT_COMMIT", "repo": 3, "message": "fix"},
    {"op": "GIT_PUSH", "repo": 3},
    {"op": "TRAIL_END", "status": 0},
]


def program(*steps: TrailStep, end: int = 0) -> TrailProgram:
    begin = TrailStep(TrailOpcodes.TRAIL_BEGIN, [1], {"timestamp": 1})
    return TrailProgram([begin, *steps, TrailStep(TrailOpcodes.TRAIL_END, [end])])


def verdict(subject: TrailProgram, **table: str) -> tuple[bool, set[str]]:
    verifier = TrailVerifier(table or None)
    passed = verifier.verify(subject)
    return passed, {finding.code for finding in verifier.findings}


def test_a_program_with_dummy_operands_passes_where_no_table_is_given() -> None:
    dummy = program(TrailStep(TrailOpcodes.FILE_READ, [0, 0]), TrailStep(TrailOpcodes.GIT_PUSH, [1, 2]))
    assert verdict(dummy) == (True, set())


def test_with_a_table_every_reference_must_be_in_it_by_signature() -> None:
    compiler = TrailCompiler()
    subject = compiler.compile(WORKLOG)
    assert verdict(subject, **compiler.string_table) == (True, set())
    del compiler.string_table[str_to_hash("fix")]
    passed, codes = verdict(subject, **compiler.string_table)
    assert not passed
    assert codes == {"unresolved-reference"}


def test_a_text_under_the_wrong_hash_is_an_error() -> None:
    assert verdict(program(), aabbccdd="x") == (False, {"wrong-hash"})


@pytest.mark.parametrize("slots", [0, 1, 3, 200])
def test_the_number_of_operands_is_exact(slots: int) -> None:
    assert verdict(program(TrailStep(TrailOpcodes.FILE_READ, [0] * slots))) == (False, {"operand-count"})


def test_what_its_record_cannot_hold_is_an_error() -> None:
    assert verdict(program(TrailStep(TrailOpcodes.NOP, [1]))) == (False, {"operand-count", "lost-operands"})
    assert verdict(program(end=300)) == (False, {"lost-operands"})
    assert verdict(program(TrailStep(TrailOpcodes.HASHTABLE, [0])))[0] is False
    assert verdict(program(TrailStep(TrailOpcodes.COMMENT, [0, 0])), **{"ab" * 4: "x" * 256})[0] is False


def test_a_program_without_frame_fails() -> None:
    assert verdict(TrailProgram())[1] == {"too-short", "round-trip", "no-fingerprint"}
    assert verdict(TrailProgram(program().steps[:1])) == (False, {"too-short"})
    end = TrailStep(TrailOpcodes.TRAIL_END, [0])
    assert verdict(TrailProgram([*program().steps, end])) == (False, {"steps-after-end"})


def test_findings_are_those_of_the_last_verification_alone() -> None:
    verifier = TrailVerifier()
    assert not verifier.verify_bytecode(b"\xa0")
    assert verifier.errors == [
        "Bytecode decode error: the TRAIL_BEGIN record at offset 0 is cut off: the trail ends at offset 1"
    ]
    assert verifier.verify_bytecode(compile_worklog(WORKLOG))
    assert (verifier.errors, verifier.warnings, verifier.findings) == ([], [], ())


def test_the_report_says_passed_or_counts_what_is_wrong() -> None:
    verifier = TrailVerifier()
    verifier.verify_bytecode(compile_worklog(WORKLOG))
    assert "PASSED" in verifier.report()
    verifier.verify_bytecode(b"\x9f\x9f")
    report = verifier.report()
    assert "PASSED" not in report
    assert "3 errors:" in report
    assert "step 1: the first step is NOP, not TRAIL_BEGIN" in report


def test_the_byte_verifier_uses_the_strings_of_the_bytes() -> None:
    vectors = {v["id"]: v for v in json.loads((DATA / "malformed.json").read_text())["vectors"]}
    verifier = TrailVerifier()
    assert not verifier.verify_bytecode(bytes.fromhex(vectors["no_table"]["hex"]))
    assert not verifier.verify_bytecode(bytes.fromhex(vectors["table_count_minus_1"]["hex"]))
    assert not verifier.verify_bytecode(bytes.fromhex(vectors["hash_mismatch"]["hex"]))


def test_bytes_that_say_they_carry_no_text_pass_with_a_warning_for_each_reference() -> None:
    """As an encoder without a table writes a program; they are replayed nowhere."""
    program = TrailCompiler().compile(WORKLOG)
    data = TrailEncoder().encode(program)
    verifier = TrailVerifier()
    assert verifier.verify_bytecode(data)
    assert verifier.errors == []
    assert verifier.warnings == [
        f"step 2: GIT_COMMIT refers to message {str_to_hash('fix')}, which the string table lacks"
    ]
    assert "PASSED with warnings" in verifier.report()
    with pytest.raises(TrailVerificationError):
        load(data)
    assert not TrailVerifier({str_to_hash("a"): "a"}).verify_bytecode(data)
    assert not verifier.verify_bytecode(TrailEncoder({str_to_hash("a"): "a"}).encode(program))


def test_no_number_of_warnings_hides_an_error() -> None:
    reads = [TrailStep(TrailOpcodes.FILE_READ, [1, 2])] * 2000
    sound = program(*reads)
    verifier = TrailVerifier()
    assert verifier.verify_bytecode(TrailEncoder().encode(sound))
    assert len(verifier.warnings) == 1000
    broken = program(*reads, TrailStep(TrailOpcodes.FILE_READ, [1]))
    assert not verifier.verify_bytecode(TrailEncoder().encode(broken))
    assert verifier.errors == ["step 2002: FILE_READ has 1 operand slots and needs 2"]


def test_verifying_twice_gives_the_same_answer_whatever_the_clock_says() -> None:
    timeless = TrailCompiler().compile([{"op": "TRAIL_BEGIN"}, {"op": "TRAIL_END"}])
    assert timeless.fingerprint() == timeless.fingerprint()
    assert verdict(timeless) == (True, set())

"""Compiling worklogs: what an entry may say, and how an error tells what is wrong."""

from typing import Any

import pytest

from sandbox_runner.errors import TrailCompileError
from sandbox_runner.trail import TrailCompiler, TrailDecoder, TrailLimits, compile_worklog, load

BEGIN = {"op": "TRAIL_BEGIN", "agent": "ada", "trail_id": "t-1", "ts": 1_750_000_000}
END = {"op": "TRAIL_END", "status": 0}
COLLIDING = ("src/mod_21071.py", "src/mod_28115.py")


def framed(*entries: dict[str, Any], **begin: Any) -> list[dict[str, Any]]:
    return [BEGIN | begin, *entries, END]


def refusal(*entries: Any, **options: Any) -> TrailCompileError:
    with pytest.raises(TrailCompileError) as caught:
        compile_worklog([BEGIN, *entries, END], **options)
    return caught.value


@pytest.mark.parametrize(
    ("entry", "key", "hint"),
    [
        ({"op": "FILE_READ", "paht": "x"}, "paht", "'path'"),
        ({"op": "FILE_WRITE", "path": "x", "contents": "y"}, "contents", "'content'"),
        ({"op": "TEST_RUN", "test_path": "x", "expected": 3}, "expected", "'expected_count'"),
        ({"op": "GIT_COMMIT", "messsage": "x"}, "messsage", "'message'"),
        ({"op": "NOP", "path": "x"}, "path", "no keys"),
        ({"op": "COMMENT", "comment": "x", 7: "y"}, "7", "'text'"),
        ({"op": "FILE_RAED", "path": "x"}, "op", "FILE_READ"),
    ],
)
def test_a_misspelt_key_is_named_together_with_the_nearest_valid_one(
    entry: dict[str, Any], key: str, hint: str
) -> None:
    error = refusal(entry)
    assert (error.entry, error.key) == (1, key)
    assert hint in str(error) or "takes" in str(error)


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        ({"op": "FILE_READ"}, "path"),
        ({"op": "FILE_WRITE", "path": "x"}, "content"),
        ({"op": "FILE_EDIT", "path": "x", "old": ""}, "new"),
        ({"op": "TEST_RUN", "count": 1}, "test_path"),
        ({"op": "LEVEL_UP"}, "level"),
        ({"op": "TRUST_UPDATE", "target": "x"}, "delta"),
        ({"op": "SPELL_CAST"}, "spell_id"),
        ({"op": "FILE_READ", "path": None}, "path"),
        ({"op": "FILE_READ", "path": 5}, "path"),
        ({"op": "FILE_READ", "path": ["x"]}, "path"),
        ({"op": "FILE_READ", "path": "a\0b"}, "path"),
        ({"op": "ROOM_ENTER", "room": ["x"]}, "room"),
        ({"op": "LEVEL_UP", "level": -1}, "level"),
        ({"op": "LEVEL_UP", "level": 65536}, "level"),
        ({"op": "LEVEL_UP", "level": "high"}, "level"),
        ({"op": "LEVEL_UP", "level": "٣"}, "level"),
        ({"op": "LEVEL_UP", "level": "1_0"}, "level"),
        ({"op": "LEVEL_UP", "level": float("inf")}, "level"),
        ({"op": "LEVEL_UP", "level": float("nan")}, "level"),
        ({"op": "LEVEL_UP", "level": 10**5000}, "level"),
        ({"op": "TRUST_UPDATE", "target": "x", "delta": 0.5}, "delta"),
        ({"op": "TRUST_UPDATE", "target": "x", "delta": 5.0}, "delta"),
        ({"op": "TRUST_UPDATE", "target": "x", "delta": "5"}, "delta"),
        ({"op": "TRUST_UPDATE", "target": "x", "delta": 32768}, "delta"),
        ({"op": "GIT_COMMIT", "repo": ".", "message": "m"}, "repo"),
        ({"op": "FILE_WRITE", "path": "x", "content_hash": "deadbeef"}, "content_hash"),
        ({"op": "FILE_EDIT", "path": "x", "old_hash": "a", "new": "b"}, "old_hash"),
        ({"op": "COMMENT", "comment": "\ud800"}, "comment"),
        ({"op": 146}, "op"),
        ({"op": None}, "op"),
        ({"op": "file_read ", "path": "x"}, "op"),
        ({"op": "HASHTABLE"}, "op"),
        ({"op": "\ufb01le_read", "path": "x"}, "op"),
        ({"op": "te\u017ft_run", "path": "x"}, "op"),
        ({}, "op"),
        ("FILE_READ", None),
        (None, None),
    ],
)
def test_an_unusable_value_is_an_error_with_entry_and_key(entry: Any, key: str | None) -> None:
    error = refusal({"op": "NOP"}, entry)
    assert (error.entry, error.key) == (2, key)
    assert str(error).startswith("entry 3: ")
    assert len(str(error)) < 300


@pytest.mark.parametrize(
    ("begin", "key"),
    [
        ({"ts": -5}, "ts"),
        ({"ts": None}, "ts"),
        ({"ts": "yesterday"}, "ts"),
        ({"ts": 2**53}, "ts"),
        ({"agent": 7}, "agent"),
        ({"trail_id": None}, "trail_id"),
        ({"agent_id": 256}, "agent_id"),
    ],
)
def test_a_bad_begin_is_named_by_its_key(begin: dict[str, Any], key: str) -> None:
    with pytest.raises(TrailCompileError) as caught:
        compile_worklog(framed(**begin))
    assert (caught.value.entry, caught.value.key) == (0, key)


def test_numbers_may_come_as_numeric_text_fractions_and_booleans() -> None:
    trail = load(
        compile_worklog(
            framed(
                {"op": "LEVEL_UP", "level": " 12 "},
                {"op": "LEVEL_UP", "level": 3.9},
                {"op": "LEVEL_UP", "level": True},
                {"op": "TRUST_UPDATE", "target": "t", "delta": -32768},
                ts=1_750_000_000.9,
            )
        )
    )
    assert [step.arguments["level"] for step in trail.steps[1:4]] == [12, 3, 1]
    assert trail.steps[4].arguments == {"target": "t", "delta": -32768}
    assert trail.timestamp == 1_750_000_000


def test_notes_for_people_are_accepted_and_do_not_reach_the_bytes() -> None:
    plain = compile_worklog(framed({"op": "NOP"}))
    assert compile_worklog(framed({"op": "NOP", "desc": "d", "note": "n", "ts": 5, "timestamp": 6})) == plain


def test_a_description_stays_with_the_step_in_memory() -> None:
    program = TrailCompiler().compile(framed({"op": "FILE_READ", "path": "x", "desc": "look"}, {"op": "NOP"}))
    assert program.steps[1].description == "look"
    assert program.steps[2].description == "NOP"


def test_the_agent_byte_is_the_first_of_the_names_digest_unless_given() -> None:
    assert load(compile_worklog(framed(agent="tester"))).agent_id == 0x9B
    assert load(compile_worklog(framed(agent_id=7))).agent_id == 7


def test_the_same_worklog_gives_the_same_bytes_in_every_process() -> None:
    data = compile_worklog([{"op": "TRAIL_BEGIN", "agent": "tester", "trail_id": "v"}, END])
    assert data.hex() == "a09b944c5e4800000000a1020000b00200944c5e480176ba9b535c06746573746572"


def test_a_reused_compiler_keeps_nothing_of_the_worklog_before() -> None:
    compiler = TrailCompiler()
    compiler.compile(framed({"op": "COMMENT", "comment": "the secret"}))
    data = compiler.compile_and_encode(framed({"op": "NOP"}))
    assert b"secret" not in data
    assert set(compiler.string_table.values()) == {"ada", "t-1"}


def test_strings_that_version_1_cannot_hold_are_refused_there_with_entry_key_and_size() -> None:
    long = {"op": "COMMENT", "comment": "中" * 86}
    error = refusal(long, format="1")
    assert (error.entry, error.key) == (1, "comment")
    assert "258 bytes" in str(error)
    assert load(compile_worklog(framed(long))).version == 2
    assert load(compile_worklog(framed({"op": "COMMENT", "comment": "x" * 255}))).version == 1


def test_colliding_strings_are_kept_apart_or_refused_and_never_merged() -> None:
    entries = [{"op": "FILE_READ", "path": path} for path in COLLIDING]
    error = refusal(*entries, format="1")
    assert (error.entry, error.key) == (2, "path")
    trail = load(compile_worklog(framed(*entries)))
    assert [step.arguments["path"] for step in trail.steps[1:3]] == list(COLLIDING)
    with pytest.raises(TrailCompileError, match="91a6f4de"):
        TrailCompiler().compile(framed(*entries))


def test_a_time_after_2106_needs_version_2() -> None:
    assert refusal_begin(ts=2**32).entry == 0
    trail = load(compile_worklog(framed(ts=2**32)))
    assert (trail.version, trail.timestamp) == (2, 2**32)


def refusal_begin(**begin: Any) -> TrailCompileError:
    with pytest.raises(TrailCompileError) as caught:
        compile_worklog(framed(**begin), format="1")
    return caught.value


def test_an_empty_trail_id_is_no_id() -> None:
    data = compile_worklog(framed(trail_id=""))
    assert data[2:6] == bytes(4)
    assert load(data).trail_id is None


def test_counted_steps_are_written_by_the_encoder_and_not_believed() -> None:
    data = compile_worklog([BEGIN, {"op": "TRAIL_END", "status": 2, "steps": 99}])
    assert load(data).steps[-1].arguments == {"status": 2, "total_steps": 2}


@pytest.mark.parametrize(
    ("entries", "entry"),
    [
        ([], None),
        ([END], 0),
        ([BEGIN], 0),
        ([BEGIN, {"op": "NOP"}], 1),
        ([BEGIN, END, END], 1),
        ([BEGIN, END, {"op": "NOP"}], 1),
    ],
)
def test_a_worklog_must_be_framed(entries: list[dict[str, Any]], entry: int | None) -> None:
    with pytest.raises(TrailCompileError) as caught:
        compile_worklog(entries)
    assert caught.value.entry == entry


def test_limits_stop_a_compilation_by_name() -> None:
    for limits, name in ((TrailLimits(entries=2), "entries"), (TrailLimits(string_bytes=2), "string_bytes")):
        with pytest.raises(TrailCompileError, match=f"limit {name} of"):
            compile_worklog(framed({"op": "NOP"}), limits=limits)


def test_a_compiled_program_decodes_to_the_operands_it_was_given() -> None:
    compiler = TrailCompiler()
    entries = framed({"op": "TEST_RUN", "test_path": "t", "count": 9}, {"op": "GIT_PUSH", "repo": 3})
    program = compiler.compile(entries)
    decoded = TrailDecoder().decode(compiler.compile_and_encode(entries))
    assert [(s.opcode, s.operands) for s in program.steps] == [(s.opcode, s.operands) for s in decoded.steps]
    assert decoded.steps[2].operands == [3]


def test_65535_steps_fit_version_1_and_one_more_needs_version_2() -> None:
    nops = [{"op": "NOP"}] * 65_533
    assert load(compile_worklog([BEGIN, *nops, END])).version == 1
    assert load(compile_worklog([BEGIN, *nops, {"op": "NOP"}, END])).version == 2
    with pytest.raises(TrailCompileError, match="65536 steps"):
        compile_worklog([BEGIN, *nops, {"op": "NOP"}, END], format="1")

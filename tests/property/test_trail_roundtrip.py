"""Whatever a worklog says, its trail says the same: in both versions, there and back."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox_runner.trail import (
    TrailDecoder,
    TrailEncoder,
    TrailVerifier,
    compile_worklog,
    concatenate,
    convert,
    load,
    read_worklog,
)

NAME = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=80)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
WORD = st.integers(0, 0xFFFF)


def entry(op: str, **keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"op": st.just(op), **keys})


STEP = st.one_of(
    entry("GIT_COMMIT", repo=WORD, message=NAME),
    entry("GIT_PUSH", repo=WORD),
    entry("FILE_READ", path=NAME),
    entry("FILE_WRITE", path=NAME, content=TEXT),
    entry("FILE_EDIT", path=NAME, old=TEXT, new=TEXT),
    entry("TEST_RUN", test_path=NAME, expected_count=WORD),
    entry("SEARCH_CODE", pattern=NAME),
    entry("BOTTLE_DROP", target=NAME, content=TEXT),
    entry("BOTTLE_READ", source=NAME),
    entry("LEVEL_UP", level=WORD),
    entry("SPELL_CAST", spell=NAME),
    entry("ROOM_ENTER", room=NAME),
    entry("TRUST_UPDATE", target=NAME, delta=st.integers(-0x8000, 0x7FFF)),
    entry("CAP_ISSUE", action=NAME, holder=NAME),
    entry("BRANCH", register=WORD),
    entry("NOP"),
    entry("COMMENT", comment=TEXT),
    entry("LABEL", label=TEXT),
)
BEGIN = entry("TRAIL_BEGIN", agent=NAME, trail_id=NAME, ts=st.integers(0, 2**53 - 1))
END = entry("TRAIL_END", status=st.integers(0, 255))
WORKLOG = st.builds(lambda begin, steps, end: [begin, *steps, end], BEGIN, st.lists(STEP, max_size=8), END)
RENAMED = {"expected_count": "expected"}


@settings(max_examples=300, deadline=None)
@given(WORKLOG)
def test_a_loaded_trail_says_what_its_worklog_said(worklog: list[dict[str, Any]]) -> None:
    for form in ("auto", "2"):
        trail = load(compile_worklog(worklog, format=form))
        assert trail.timestamp == worklog[0]["ts"]
        assert (trail.trail_id or "") == worklog[0]["trail_id"]
        assert trail.status == worklog[-1]["status"]
        for said, step in zip(worklog[1:-1], trail.steps[1:-1], strict=True):
            assert step.opcode.name == said["op"]
            assert step.arguments == {RENAMED.get(k, k): v for k, v in said.items() if k != "op"}
    assert trail.agent == worklog[0]["agent"]


@settings(max_examples=300, deadline=None)
@given(WORKLOG)
def test_versions_convert_into_each_other_and_every_codec_gives_the_bytes_back(
    worklog: list[dict[str, Any]],
) -> None:
    for form in ("auto", "2"):
        data = compile_worklog(worklog, format=form)
        trail = load(data)
        assert load(convert(trail, "2")).steps == trail.steps
        assert convert(load(convert(trail, "2")), str(trail.version)) == data  # type: ignore[arg-type]
        decoder = TrailDecoder()
        program = decoder.decode(data)
        assert TrailEncoder(decoder.string_table).encode(program) == data
        assert TrailVerifier(decoder.string_table).verify(program)
        assert TrailVerifier().verify_bytecode(data)


@settings(max_examples=200, deadline=None)
@given(WORKLOG, st.booleans())
def test_a_worklog_in_json_is_the_same_worklog(worklog: list[dict[str, Any]], ascii_only: bool) -> None:
    compiled = compile_worklog(worklog)
    for text in (
        json.dumps(worklog, ensure_ascii=ascii_only),
        json.dumps({"entries": worklog}, ensure_ascii=ascii_only, indent=1),
        "\n".join(json.dumps(said, ensure_ascii=ascii_only) for said in worklog),
    ):
        assert compile_worklog(read_worklog(text.encode())) == compiled


@settings(max_examples=150, deadline=None)
@given(WORKLOG, WORKLOG)
def test_joined_trails_hold_the_steps_of_both_in_order(
    first: list[dict[str, Any]], second: list[dict[str, Any]]
) -> None:
    parts = [load(compile_worklog(worklog)) for worklog in (first, second)]
    joined = load(concatenate(parts))
    steps = [(step.opcode, step.arguments) for step in joined.steps]
    one, two = ([(step.opcode, step.arguments) for step in part.steps[1:-1]] for part in parts)
    assert steps[3 : 3 + len(one)] == one
    assert steps[5 + len(one) : -1] == two
    assert joined.status == max(first[-1]["status"], second[-1]["status"])

"""Converting between the versions, and joining trails."""

import json
from pathlib import Path
from typing import Any

import pytest

from sandbox_runner.errors import TrailError
from sandbox_runner.trail import compile_worklog, concatenate, convert, load

DATA = Path(__file__).parents[2] / "data" / "vectors"
COMPILED = json.loads((DATA / "compile.json").read_text())["vectors"]
V2 = {
    vector["id"]: bytes.fromhex(vector["hex"])
    for vector in json.loads((DATA / "trail_v2.json").read_text())["vectors"]
}


def loadable() -> dict[str, bytes]:
    found = {}
    for vector in COMPILED:
        data = bytes.fromhex(vector["bytecode_hex"])
        try:
            load(data)
        except TrailError:
            continue
        found[vector["id"]] = data
    return found


LOADABLE = loadable()


def begin(**fields: Any) -> dict[str, Any]:
    return {"op": "TRAIL_BEGIN", "agent": "ada", "trail_id": "one", "ts": 5} | fields


def end(status: int = 0) -> dict[str, Any]:
    return {"op": "TRAIL_END", "status": status}


@pytest.mark.parametrize("name", LOADABLE)
def test_version_1_goes_to_version_2_and_back_without_losing_a_byte(name: str) -> None:
    trail = load(LOADABLE[name])
    other = load(convert(trail, "2"))
    assert other.version == 2
    assert other.steps == trail.steps
    assert sorted(other.strings) == sorted(trail.strings)
    for field in ("trail_id", "trail_id_hash", "agent", "agent_id", "timestamp", "status"):
        assert getattr(other, field) == getattr(trail, field)
    assert convert(other, "1") == trail.data == convert(trail, "1") == convert(trail, "auto")


def test_most_vectors_can_be_loaded_at_all() -> None:
    assert len(LOADABLE) > 40


def test_unusual_version_1_trails_convert_without_loss() -> None:
    push = "a00100000000000000009102fc5cccfaa1030000b00100fc5cccfa08736166652e747874"
    unknown_id = "a001deadbeef00000000a1020000b00000"
    for data in map(bytes.fromhex, (push, unknown_id)):
        assert convert(load(convert(load(data), "2")), "1") == data


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("every operation", "bytes"),
        ("strings with one 32-bit hash", "32-bit hash"),
        ("time at its end", "2106"),
        ("agent, id and operand are one text", "agent's name"),
        ("a string that nothing refers to", "agent's name"),
        ("an empty agent and an empty id", "agent's name"),
    ],
)
def test_what_version_1_would_lose_is_refused_and_auto_stays_with_version_2(name: str, reason: str) -> None:
    trail = load(V2[name])
    with pytest.raises(TrailError, match=reason):
        convert(trail, "1")
    assert convert(trail, "auto") == convert(trail, "2") == trail.data


def test_compiling_and_converting_agree() -> None:
    entries = [begin(), {"op": "FILE_WRITE", "path": "p", "content": "c"}, end(1)]
    first, second = compile_worklog(entries, format="1"), compile_worklog(entries, format="2")
    assert convert(load(first), "2") == second
    assert convert(load(second), "1") == first
    assert load(second).agent == "ada"


def joined(*parts: list[dict[str, Any]]) -> Any:
    return load(concatenate([load(compile_worklog(part)) for part in parts]))


def test_joined_trails_keep_every_string_and_the_order_of_their_steps() -> None:
    trail = joined(
        [begin(), {"op": "FILE_READ", "path": "a"}, end()],
        [begin(agent="bob", trail_id="two"), {"op": "FILE_READ", "path": "b"}, {"op": "NOP"}, end()],
    )
    reads = [step.arguments["path"] for step in trail.steps if step.opcode.name == "FILE_READ"]
    assert reads == ["a", "b"]
    assert [step.index for step in trail.steps] == list(range(len(trail.steps)))
    assert (trail.agent, trail.trail_id, trail.timestamp) == ("ada", "one", 5)


def test_joined_trails_say_where_each_part_came_from() -> None:
    second = compile_worklog([begin(agent="bob", trail_id="two"), {"op": "NOP"}, end(1)])
    trail = load(concatenate([load(compile_worklog([begin(), end()])), load(second)]))
    comments = [step.arguments["comment"] for step in trail.steps if step.opcode.name == "COMMENT"]
    assert comments[2:] == [f"trail: source sha256:{load(second).sha256}", "trail: by bob, id two, error"]


@pytest.mark.parametrize(
    ("first", "second", "worst"), [(1, 0, 1), (0, 1, 1), (0, 0, 0), (1, 2, 2), (3, 2, 3)]
)
def test_the_worst_status_wins(first: int, second: int, worst: int) -> None:
    assert joined([begin(), end(first)], [begin(), end(second)]).status == worst


def test_joining_mixes_versions_and_takes_the_one_that_holds_the_result() -> None:
    short = [begin(), {"op": "COMMENT", "comment": "x"}, end()]
    long = [begin(), {"op": "COMMENT", "comment": "x" * 300}, end()]
    assert joined(short, short).version == 1
    assert joined(short, long).version == 2
    with pytest.raises(TrailError, match="300 bytes"):
        concatenate([load(compile_worklog(short)), load(compile_worklog(long))], format="1")


def test_a_long_name_is_cut_in_the_note_and_not_in_the_trail() -> None:
    trail = joined([begin(agent="é" * 127), end()])
    assert trail.version == 1
    assert trail.agent == "é" * 127


def test_joining_one_trail_works_and_joining_none_does_not() -> None:
    assert joined([begin(), end()]).trail_id == "one"
    with pytest.raises(TrailError, match="nothing"):
        concatenate([])

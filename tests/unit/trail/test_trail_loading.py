"""The one door: what a loaded trail shows, what it costs, and what is found in one that is refused."""

import contextlib
import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from sandbox_runner.errors import TrailDecodeError, TrailError, TrailVerificationError
from sandbox_runner.trail import (
    ResolvedStep,
    Severity,
    TrailDecoder,
    TrailLimits,
    TrailOpcodes,
    TrailVerifier,
    compile_worklog,
    examine,
    file_digest,
    load,
    verify_chain,
)

FRAME = bytes.fromhex("a0010000000000000000")
EMPTY_TABLE = bytes.fromhex("b00000")


def end(total: int, status: int = 0) -> bytes:
    return struct.pack("<BHB", 0xA1, total, status)


def worklog(*entries: dict[str, Any], **begin: Any) -> list[dict[str, Any]]:
    return [{"op": "TRAIL_BEGIN", "agent": "ada", "trail_id": "t"} | begin, *entries, {"op": "TRAIL_END"}]


def codes(data: bytes) -> set[str]:
    with pytest.raises(TrailVerificationError) as caught:
        load(data)
    assert {finding.severity for finding in caught.value.findings} == {Severity.ERROR}
    return {finding.code for finding in caught.value.findings}


def test_steps_are_a_sequence_of_frozen_records() -> None:
    trail = load(compile_worklog(worklog({"op": "FILE_READ", "path": "a"}, {"op": "LEVEL_UP", "level": 2})))
    assert len(trail.steps) == 4
    assert trail.steps[1] == ResolvedStep(1, TrailOpcodes.FILE_READ, {"path": "a"})
    assert trail.steps[-1].opcode is TrailOpcodes.TRAIL_END
    assert trail.steps[1:3] == tuple(trail.steps)[1:3]
    assert trail.steps == list(trail.steps)
    assert trail.steps != list(trail.steps)[:-1]
    with pytest.raises(IndexError):
        trail.steps[4]
    with pytest.raises(AttributeError):
        trail.steps[0].index = 5  # type: ignore[misc]


def test_a_trail_is_identified_by_the_digest_of_its_file() -> None:
    data = compile_worklog(worklog())
    trail = load(data)
    assert trail.sha256 == file_digest(data) != trail.program.fingerprint()
    assert trail == load(data)
    assert len({trail, load(data)}) == 1
    assert trail != load(compile_worklog(worklog(agent="bob")))


def test_the_agent_is_the_one_text_that_nothing_refers_to() -> None:
    assert load(compile_worklog(worklog())).agent == "ada"
    assert load(compile_worklog(worklog({"op": "COMMENT", "comment": "ada"}))).agent is None
    two = worklog({"op": "TRAIL_BEGIN", "agent": "bob", "trail_id": "u"})
    assert load(compile_worklog(two)).agent is None
    assert load(compile_worklog(two, format="2")).agent == "ada"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", {"too-short", "no-table"}),
        (EMPTY_TABLE, {"too-short"}),
        (b"\x9f" * 3 + EMPTY_TABLE, {"no-begin", "no-end"}),
        (FRAME + end(2), {"no-table"}),
        (FRAME + end(7) + EMPTY_TABLE, {"wrong-total"}),
        (FRAME + end(4) + b"\x9f" + end(4) + EMPTY_TABLE, {"steps-after-end"}),
        (FRAME + end(3) + b"\x9f" + EMPTY_TABLE, {"steps-after-end", "no-end"}),
        (FRAME + b"\x92\x00" + end(3) + EMPTY_TABLE, {"operand-count"}),
        (FRAME + b"\x92\x02\1\2\3\4" + end(3) + EMPTY_TABLE, {"unresolved-reference"}),
        (FRAME + end(2) + bytes.fromhex("b001002dca11970178"), {"wrong-hash"}),
    ],
)
def test_each_rule_has_a_finding(data: bytes, expected: set[str]) -> None:
    assert codes(data) == expected


def test_every_finding_is_reported_at_once_and_names_its_step() -> None:
    data = FRAME + b"\x92\x02\1\2\3\4" + b"\x93\x01\0\0" + end(9) + EMPTY_TABLE
    with pytest.raises(TrailVerificationError, match=r"and 2 more") as caught:
        load(data)
    assert [(finding.code, finding.step) for finding in caught.value.findings] == [
        ("wrong-total", 3),
        ("unresolved-reference", 1),
        ("operand-count", 2),
    ]


def test_an_unsorted_table_is_refused() -> None:
    data = compile_worklog(worklog())
    table = data.index(b"\xb0\x02\x00") + 3
    first, second = data[table : table + 8], data[table + 8 :]
    sizes = [5 + part[4] for part in (first, second)]
    entries = data[table:]
    swapped = data[:table] + entries[sizes[0] :] + entries[: sizes[0]]
    assert codes(swapped) == {"unsorted-table"}


def test_remarks_do_not_forbid_replay() -> None:
    unknown_id = bytes.fromhex("a001deadbeef00000000") + end(2, 200) + EMPTY_TABLE
    assert {(finding.severity, finding.code) for finding in examine(unknown_id)} == {
        (Severity.WARNING, "unknown-id"),
        (Severity.INFO, "unknown-status"),
    }
    again = compile_worklog(worklog({"op": "TRAIL_BEGIN", "agent": "ada", "trail_id": "t"}))
    assert [finding.code for finding in examine(again)] == ["second-begin"]
    assert load(unknown_id).trail_id is None
    assert load(unknown_id).status == 200


HOSTILE: dict[str, Callable[[], bytes]] = {
    "a million bytes of NOP": lambda: b"\x9f" * 1_000_000,
    "a version 2 trail of NOPs": lambda: (
        b"\x89FLUX2\r\n"
        + struct.pack("<II", 0, 300_000)
        + b"\xa0"
        + bytes(21)
        + b"\x9f" * 299_998
        + b"\xa1\0"
    ),
    "steps with 255 operands each": lambda: FRAME + (b"\x92\xff" + bytes(510)) * 60_000,
    "the largest table": lambda: FRAME + b"\xb0\xff\xff" + bytes(8),
    "wrong in every step": lambda: FRAME + b"\x92\x00" * 65_000 + end(5) + EMPTY_TABLE,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("read", [load, TrailDecoder().decode, TrailVerifier().verify_bytecode])
def test_hostile_bytes_cost_little_memory(name: str, read: Callable[[bytes], object]) -> None:
    data = HOSTILE[name]()
    tracemalloc.start()
    with contextlib.suppress(TrailError):
        read(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (64 << 20) + len(data)


def test_steps_and_strings_cost_a_few_bytes_each_until_they_are_read() -> None:
    entries = [{"op": "COMMENT", "comment": f"note {number}"} for number in range(50_000)]
    data = compile_worklog(worklog(*entries), format="2")
    tracemalloc.start()
    trail = load(data)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 10 * len(entries)
    assert trail.steps[40_000].arguments == {"comment": "note 39999"}


def test_program_objects_are_limited_where_loading_is_not() -> None:
    data = compile_worklog(worklog(*[{"op": "NOP"}] * 10), format="2")
    with pytest.raises(TrailDecodeError, match="limit program_steps of"):
        TrailDecoder(TrailLimits(program_steps=5)).decode(data)
    with pytest.raises(TrailDecodeError, match="limit program_slots of"):
        TrailDecoder(TrailLimits(program_slots=3)).decode(b"\x92\x02\0\0\0\0" * 2)
    with pytest.raises(TrailDecodeError, match="limit named steps"):
        load(b"\x9f" * 3, TrailLimits(steps=2))
    with pytest.raises(TrailDecodeError, match="limit trail_bytes of"):
        load(b"\x9f" * 3, TrailLimits(trail_bytes=2))


def meta(source: str | None, *more: str) -> bytes:
    first = [] if source is None else [{"op": "COMMENT", "comment": source}]
    return compile_worklog(worklog(*first, *({"op": "COMMENT", "comment": text} for text in more)))


def test_a_chain_of_three_holds_link_by_link() -> None:
    trail = load(compile_worklog(worklog()))
    first = load(meta(f"exec: source sha256:{trail.sha256}"))
    second = load(meta(f"exec: source sha256:{first.sha256}"))
    links = verify_chain([trail, first, second])
    assert [(link.source, link.meta, link.holds) for link in links] == [
        (trail.sha256, first.sha256, True),
        (first.sha256, second.sha256, True),
    ]
    assert "records a replay of" in str(links[0])


def test_a_broken_chain_says_which_link_names_what() -> None:
    trail, other = load(compile_worklog(worklog())), load(compile_worklog(worklog(agent="bob")))
    claim = f"exec: source sha256:{trail.sha256}"
    for data, said in (
        (meta(f"exec: source sha256:{other.sha256}"), f"names {other.sha256[:16]}"),
        (meta("hello", claim), "names no source"),
        (meta(claim + "\n"), "names no source"),
        (meta(claim.upper()), "names no source"),
        (meta(None), "names no source"),
        (compile_worklog(worklog({"op": "LABEL", "label": claim})), "names no source"),
    ):
        (link,) = verify_chain([trail, load(data)])
        assert not link.holds
        assert said in str(link)
    with pytest.raises(TrailError, match="at least two"):
        verify_chain([trail])

"""The log of calls: what a line says, what it leaves out, what survives a death."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox_runner.errors import SandboxError, StoreError
from sandbox_runner.record import ChainOrigin, RecordedWorld, Recorder
from sandbox_runner.record.chain import link
from sandbox_runner.record.facts import TEXT_LIMIT
from sandbox_runner.record.lines import parse_line
from sandbox_runner.trail import TrailOpcodes
from sandbox_runner.world import Call, CallStream, Outcome, Status, World, canonical_json

ORIGIN = ChainOrigin("a" * 64, "b" * 64, "c" * 64)


def read(path: str = "a.py", step: int = 0) -> Call:
    return Call(TrailOpcodes.FILE_READ, "file_read", {"path": path}, step)


def lines(directory: Path) -> list[dict]:
    return [json.loads(line) for line in (directory / "calls.jsonl").read_text().splitlines()]


def journal(directory: Path) -> list[dict]:
    return [json.loads(line) for line in (directory / "dispatched.jsonl").read_text().splitlines()]


class Windowed(World):
    """Pulls up to three calls ahead and notes how far it was when each outcome left."""

    def __init__(self) -> None:
        self.pulled = 0
        self.depths: list[int] = []

    def perform_all(self, calls: CallStream, *, stop_on_failure: bool = False) -> Iterator[Outcome]:
        waiting: list[Call] = []
        for call in calls:
            if call is not None:
                waiting.append(call)
                self.pulled += 1
            while waiting and (call is None or len(waiting) == 3):
                yield self.answer(waiting.pop(0))
        while waiting:
            yield self.answer(waiting.pop(0))

    def answer(self, call: Call) -> Outcome:
        self.depths.append(self.pulled)
        return Outcome(Status.OK, f"file_read: {call.arguments['path']}")


class Scripted(World):
    def __init__(self, *outcomes: Outcome | Exception) -> None:
        self.outcomes = outcomes

    def perform_all(self, calls: CallStream, *, stop_on_failure: bool = False) -> Iterator[Outcome]:
        pulled = [call for call in calls if call is not None]
        for outcome, _ in zip(self.outcomes, pulled, strict=False):
            if isinstance(outcome, Exception):
                raise outcome
            yield outcome
            if stop_on_failure and outcome.status.stops:
                return


def test_a_line_separates_the_fact_from_what_differs_between_two_runs(tmp_path: Path) -> None:
    recorder = Recorder(
        tmp_path, ORIGIN, context={"run": "r1", "tenant": "t"}, now_ns=lambda: 0, tick_ns=lambda: 7
    )
    recorder.bind(container="c0ffee")
    recorder.dispatch(read())
    recorder.record(Outcome(Status.OK, "file_read: a.py", {"lines": 3}, 900, {"pid": 4}))
    (line,) = lines(tmp_path)
    assert line["fact"] == {
        "seq": 0,
        "step": 0,
        "opcode": "FILE_READ",
        "method": "file_read",
        "arguments": {"path": "a.py"},
        "status": "ok",
        "outcome": "file_read: a.py",
        "details": {"lines": 3},
        "prev": ORIGIN.genesis,
    }
    assert line["meta"] == {
        "at": "1970-01-01T00:00:00.000000+00:00",
        "container": "c0ffee",
        "details": {"pid": 4},
        "duration_ns": 0,
        "guest_ns": 900,
        "pid": os.getpid(),
        "run": "r1",
        "tenant": "t",
    }
    assert line["digest"] == link(canonical_json(line["fact"])) == recorder.head


def test_each_line_carries_the_digest_of_the_one_before(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, ORIGIN)
    list(RecordedWorld(Windowed(), recorder).perform_all(read(step=n) for n in range(5)))
    written = lines(tmp_path)
    assert [line["fact"]["seq"] for line in written] == [0, 1, 2, 3, 4]
    assert [line["fact"]["prev"] for line in written] == [
        ORIGIN.genesis,
        *(line["digest"] for line in written[:-1]),
    ]
    assert (recorder.head, recorder.length) == (written[-1]["digest"], 5)
    assert recorder.counts[Status.OK] == 5


def test_the_genesis_binds_trail_policy_and_base() -> None:
    changed = [
        ChainOrigin("d" * 64, "b" * 64),
        ChainOrigin("a" * 64, "d" * 64),
        ChainOrigin("a" * 64, "b" * 64),
    ]
    assert len({ORIGIN.genesis, *(origin.genesis for origin in changed)}) == 4


def test_a_long_text_stands_as_digest_length_and_head(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, ORIGIN)
    long, short = "é" * TEXT_LIMIT, "x" * TEXT_LIMIT
    recorder.dispatch(Call(TrailOpcodes.FILE_WRITE, "file_write", {"path": short, "content": long}))
    recorder.record(Outcome(Status.OK, "ok"))
    arguments = lines(tmp_path)[0]["fact"]["arguments"]
    assert arguments["path"] == short
    assert arguments["content"]["bytes"] == 2 * TEXT_LIMIT
    assert arguments["content"]["head"] == "é" * 128
    assert arguments["content"]["sha256"] == link(long.encode())


@pytest.mark.parametrize(
    "text",
    ["\r\n{}\n", "\x1b[2J", "\x9b31m\x85", "\u2028\u2029", "\u202e\u200f", "\x7f", "\x00", "\ud800", "😀"],
    ids=ascii,
)
def test_whatever_a_text_holds_it_stays_one_printable_line(tmp_path: Path, text: str) -> None:
    recorder = Recorder(tmp_path, ORIGIN)
    recorder.dispatch(read(text))
    recorder.record(Outcome(Status.FAILED, text, {text: [text]}, 0, {"output": text}))
    recorder.close()
    data = (tmp_path / "calls.jsonl").read_bytes()
    assert data.count(b"\n") == 1
    assert data.endswith(b"\n")
    assert all(0x20 <= byte < 0x7F for byte in data[:-1])
    parse_line(data[:-1], 0)


def test_details_beyond_the_limit_are_replaced_by_their_digest(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, ORIGIN)
    recorder.dispatch(read())
    recorder.record(Outcome(Status.OK, "ok", {str(n): "y" * 500 for n in range(1500)}))
    assert set(lines(tmp_path)[0]["fact"]["details"]) == {"<cut>"}


def test_details_that_json_cannot_hold_are_kept_as_words(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, ORIGIN)
    recorder.dispatch(read())
    nested: list = []
    for _ in range(50):
        nested = [nested]
    recorder.record(
        Outcome(Status.OK, "ok", {"nan": float("nan"), "huge": 1 << 70, "whole": 5.0, "deep": nested})
    )
    details = lines(tmp_path)[0]["fact"]["details"]
    assert (details["nan"], details["huge"], details["whole"]) == ("<nan>", "<integer of 71 bits>", 5)


def test_recording_lets_the_world_pull_ahead(tmp_path: Path) -> None:
    world = Windowed()
    recorder = Recorder(tmp_path, ORIGIN)
    outcomes = list(RecordedWorld(world, recorder).perform_all(read(str(n), n) for n in range(6)))
    assert [outcome.text for outcome in outcomes] == [f"file_read: {n}" for n in range(6)]
    assert world.depths == [3, 4, 5, 6, 6, 6]


def test_a_barrier_reaches_the_world(tmp_path: Path) -> None:
    world = Windowed()
    calls = [read("a"), None, read("b"), None]
    list(RecordedWorld(world, Recorder(tmp_path, ORIGIN)).perform_all(iter(calls)))
    assert world.depths == [1, 2]


def test_a_call_is_journalled_before_the_world_sees_it(tmp_path: Path) -> None:
    seen = []

    class Looking(World):
        def perform_all(self, calls: CallStream, *, stop_on_failure: bool = False) -> Iterator[Outcome]:
            for _ in calls:
                seen.append((len(journal(tmp_path)), len(lines(tmp_path))))
                yield Outcome(Status.OK, "ok")

    list(RecordedWorld(Looking(), Recorder(tmp_path, ORIGIN)).perform_all([read(step=0), read(step=1)]))
    assert seen == [(1, 0), (2, 1)]


def test_calls_sent_to_a_world_that_breaks_stay_in_doubt(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, ORIGIN)
    world = RecordedWorld(Scripted(Outcome(Status.OK, "ok"), SandboxError("gone")), recorder)
    with pytest.raises(SandboxError, match="gone"):
        list(world.perform_all(read(step=n) for n in range(3)))
    assert [sent.seq for sent in recorder.in_doubt] == [1, 2]
    assert recorder.length == 1


def test_calls_that_a_stopping_world_left_out_are_not_in_doubt(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, ORIGIN)
    world = RecordedWorld(Scripted(Outcome(Status.REFUSED, "no")), recorder)
    list(world.perform_all((read(step=n) for n in range(3)), stop_on_failure=True))
    assert recorder.in_doubt == ()
    assert journal(tmp_path)[-1] == {"withdrawn_from": 1}
    recorder.dispatch(read(step=7))
    assert recorder.in_doubt[0].seq == 1


def test_an_outcome_without_a_call_is_a_fault_of_the_world(tmp_path: Path) -> None:
    class Chatty(World):
        def perform_all(self, calls: CallStream, *, stop_on_failure: bool = False) -> Iterator[Outcome]:
            yield Outcome(Status.OK, "unasked")

    with pytest.raises(SandboxError, match="never made"):
        list(RecordedWorld(Chatty(), Recorder(tmp_path, ORIGIN)).perform_all([read()]))


def test_a_second_recorder_never_continues_a_log(tmp_path: Path) -> None:
    Recorder(tmp_path, ORIGIN)
    with pytest.raises(StoreError, match="cannot create"):
        Recorder(tmp_path, ORIGIN)


def test_a_killed_runner_leaves_whole_lines_and_the_call_in_doubt(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        from sandbox_runner.record import ChainOrigin, Recorder
        from sandbox_runner.trail import TrailOpcodes
        from sandbox_runner.world import Call, Outcome, Status
        recorder = Recorder(Path(sys.argv[1]), ChainOrigin("a" * 64, "b" * 64, "c" * 64))
        for step in range(4):
            recorder.dispatch(Call(TrailOpcodes.FILE_READ, "file_read", {"path": "x" * 300}, step))
            if step == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            recorder.record(Outcome(Status.OK, "ok"))
    """)
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    data = (tmp_path / "calls.jsonl").read_bytes()
    assert data.endswith(b"\n")
    assert [parse_line(raw, 0).step for raw in data.splitlines()] == [0, 1, 2]
    assert journal(tmp_path)[-1] == {"method": "file_read", "seq": 3, "step": 3}

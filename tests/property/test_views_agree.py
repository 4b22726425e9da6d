"""Whatever a run came to, every view of it counts the same and calls each step by the same number."""

import contextlib
import io
import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox_runner.cli import main
from sandbox_runner.record import (
    PolicyInfo,
    RecordedWorld,
    RunDirectory,
    RunInfo,
    RunRecord,
    TrailInfo,
    forms_of,
)
from sandbox_runner.replay import TrailExecutor
from sandbox_runner.runner.summary import counts_of, outcome_of
from sandbox_runner.trail import compile_worklog, load
from sandbox_runner.world import Call, CallStream, Outcome, Printed, Status, World

RUN = "20260102T000000Z-bbbb"
BEGIN = {"op": "TRAIL_BEGIN", "agent": "ann", "trail_id": "t", "ts": 1}
END = {"op": "TRAIL_END"}
ENTRIES = st.one_of(
    st.builds(lambda name: {"op": "FILE_READ", "path": name}, st.sampled_from(["a", "b/c"])),
    st.builds(lambda name: {"op": "COMMENT", "comment": name}, st.sampled_from(["x", "y"])),
    st.just({"op": "TEST_RUN", "path": "tests", "count": 2}),
)
ENDED = st.tuples(st.sampled_from(list(Status)), st.integers(0, 3), st.binary(max_size=30))


class Scripted(World):
    """Answers as it was told to."""

    def __init__(self, answers: list[tuple[Status, int, bytes]]) -> None:
        self.answers = iter(answers)

    def perform_all(self, calls: CallStream, *, stop_on_failure: bool = False) -> Iterator[Outcome]:
        for call in calls:
            if call is not None:
                outcome = self.answer(call)
                yield outcome
                if stop_on_failure and outcome.status.stops:
                    return

    def answer(self, call: Call) -> Outcome:
        status, passed, printed = next(self.answers)
        ok = status in {Status.OK, Status.SKIPPED}
        text = f"{call.method}: fine" if ok else f"{call.method}: ERROR no"
        if call.method != "test_run":
            return Outcome(status, text)
        details = {"passed": passed, "failed": 3 - passed, "executed": 3}
        return Outcome(status, text, details, 0, {}, Printed(printed, len(printed), len(printed)))


def recorded(home: Path, entries: list[dict[str, Any]], answers: list, *, fail_fast: bool) -> RunRecord:
    trail = load(compile_worklog([BEGIN, *entries, END]))
    policy = b"{}"
    info = RunInfo(
        run_id=RUN,
        created_at="2026-01-02T00:00:00Z",
        trail=TrailInfo(
            sha256=trail.sha256, bytes=len(trail.data), version=trail.version, steps=len(trail.steps)
        ),
        policy=PolicyInfo(name="p", sha256=sha256(policy).hexdigest()),
    )
    runs = home / "tenants" / "default" / "runs"
    with RunDirectory.create(runs, info, trail=trail.data, policy=policy) as directory:
        world = RecordedWorld(Scripted(answers), directory.recorder())
        result = TrailExecutor(world, trail, fail_fast=fail_fast, principal="executor").execute()
        status, code = outcome_of(result.events)
        directory.seal(
            meta_trail=result.execution_trail,
            status=status,
            exit_code=int(code),
            steps=counts_of(len(trail.steps), result.events, refused=0),
            events=forms_of(result.events),
        )
    return RunRecord.load(directory.path)


def said(home: Path, *words: object) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        assert main(["--home", str(home), *map(str, words)]) == 0
    return out.getvalue()


def counted(text: str) -> dict[str, int]:
    return {name: int(count) for count, name in re.findall(r"(\d+) (ok|failed|refused|skipped)\b", text)}


@given(
    entries=st.lists(ENTRIES, max_size=6), answers=st.lists(ENDED, min_size=6, max_size=6), fast=st.booleans()
)
@settings(max_examples=10, deadline=None)
def test_every_view_of_a_run_counts_and_numbers_alike(entries: list, answers: list, fast: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        record = recorded(home, entries, answers, fail_fast=fast)
        events = list(record.result.events)
        total = len(entries) + 2
        seen = Counter(event["status"] for event in events)
        rest = total - len(events)

        shown = said(home, "show", RUN)
        line = next(line for line in shown.splitlines() if line.startswith("  steps  "))
        assert counted(line) == seen
        assert line.split()[1].rstrip(":") == str(total)
        assert (f"{rest} not reached" in line) is bool(rest)

        as_json = json.loads(said(home, "show", RUN, "--json"))["result"]["steps"]
        assert as_json == {"total": total, **{status.value: seen[status.value] for status in Status}}
        (listed,) = map(json.loads, said(home, "runs", "--json").splitlines())
        assert listed["steps"] == as_json
        row = said(home, "runs").splitlines()[1].split()
        assert row[2:5] == [str(total), *(str(seen[name] or "-") for name in ("failed", "refused"))]

        wrong = [event for event in events if event["status"] in {"failed", "refused"}]
        numbers = [str(event["step_index"] + 1) for event in wrong]
        told = re.findall(r"^ +(\d+)  (?:failed |refused)  ", shown, re.MULTILINE)
        assert told == numbers[:12]

        logged = [line.split()[:2] for line in said(home, "log", RUN).splitlines()]
        called = [event for event in events if event["opcode_name"] in {"FILE_READ", "TEST_RUN"}]
        assert logged == [[str(event["step_index"] + 1), event["status"]] for event in called]

        page = home / "page.html"
        said(home, "report", RUN, "-o", page)
        html = page.read_text()
        top = html.partition("<main")[0]
        tiles = dict(re.findall(r'<li class="(ok|failed|refused|skipped)"><b>(\d+)</b> \1</li>', top))
        assert {name: int(count) for name, count in tiles.items() if count != "0"} == seen
        rows = re.findall(r'<td class="number">(\d+)</td>\s*<td class="opcode">(\w+)</td>', html)
        assert rows == [(str(event["step_index"] + 1), event["opcode_name"]) for event in events]
        cards = re.findall(r'<span class="number">(\d+)</span> <b>', html)
        assert cards == numbers

        for event in events:
            number = event["step_index"] + 1
            full = said(home, "log", RUN, number)
            assert f"step {number} of {total}  {event['opcode_name']}" in full
            if event["opcode_name"] == "TEST_RUN":
                assert re.search(rf"^  passed +{event['details']['passed']}$", full, re.MULTILINE)

"""A command line to call, a state directory of its own, and run records to look at."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from sandbox_runner.cli import main
from sandbox_runner.record import (
    PolicyInfo,
    RunDirectory,
    RunInfo,
    RunStatus,
    StepCounts,
    TrailInfo,
    now_text,
)
from sandbox_runner.trail import METHODS, compile_worklog
from sandbox_runner.world.call import Call, Outcome, Status

DIGEST = "ab" * 32


@dataclass(frozen=True)
class Ran:
    """What a command line came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def json_lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Cli = Callable[..., Ran]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "home"
    monkeypatch.setenv("SANDBOX_RUNNER_HOME", str(path))
    return path


@pytest.fixture
def cli(home: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    def run(*argv: object) -> Ran:
        capsys.readouterr()
        code = main([str(word) for word in argv])
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture
def runs(home: Path) -> Path:
    return home / "tenants" / "default" / "runs"


def call_of(method: str, step: int, **arguments: Any) -> Call:
    return Call(METHODS[method].opcode, method, arguments, step)


CALLS = (
    (call_of("file_read", 1, path="src/a.py"), Outcome(Status.OK, "file_read: 12 bytes")),
    (
        call_of("file_write", 2, path="/etc/\x1b[31mpasswd\n", content="x" * 2000),
        Outcome(Status.REFUSED, "file_write: ERROR no \x1b[0m path", {"rule": "paths.normal"}),
    ),
    (
        call_of("test_run", 3, test_path="tests", expected=2),
        Outcome(Status.FAILED, "test_run: ERROR 1 failed"),
    ),
)


@pytest.fixture
def calls() -> tuple[tuple[Call, Outcome], ...]:
    return CALLS


@dataclass
class Draft:
    """A run in progress, written with the real writer."""

    directory: RunDirectory
    recorder: Any

    def call(self, call: Call, outcome: Outcome) -> None:
        self.recorder.dispatch(call)
        self.recorder.record(outcome)

    def seal(self, status: RunStatus = RunStatus.FAILED, **more: Any) -> None:
        events = [
            {
                "step_index": call.step,
                "opcode_name": call.opcode.name,
                "operands": dict(call.arguments),
                "result": outcome.text,
                "status": outcome.status.value,
                "details": dict(outcome.details),
            }
            for call, outcome in CALLS
        ]
        self.directory.seal(
            meta_trail=b"meta",
            status=status,
            exit_code=1,
            steps=StepCounts(total=5, ok=3, failed=1, refused=1),
            events=tuple(events),
            duration_s=1.5,
            **{"snapshot": DIGEST, **more},
        )

    def abandon(self) -> None:
        self.directory.close()


@pytest.fixture
def begin_run(runs: Path) -> Iterator[Callable[..., Draft]]:
    begun: list[Draft] = []

    def begin(run_id: str, calls: Iterable[tuple[Call, Outcome]] = CALLS, trail: bytes = b"trail") -> Draft:
        policy = b"{}"
        info = RunInfo(
            run_id=run_id,
            created_at=now_text(),
            trail=TrailInfo(
                sha256=sha256(trail).hexdigest(),
                bytes=5,
                version=1,
                steps=5,
                agent="ann",
                source="work\x1blog.json",
            ),
            policy=PolicyInfo(name="strict", sha256=sha256(policy).hexdigest()),
            runtime="runc",
        )
        directory = RunDirectory.create(runs, info, trail=trail, policy=policy)
        draft = Draft(directory, directory.recorder())
        begun.append(draft)
        for call, outcome in calls:
            draft.call(call, outcome)
        return draft

    yield begin
    for draft in begun:
        draft.abandon()


@pytest.fixture
def sealed_run(begin_run: Callable[..., Draft]) -> str:
    begin_run("20260102T000000Z-bbbb").seal()
    return "20260102T000000Z-bbbb"


@pytest.fixture
def trail_run(begin_run: Callable[..., Draft]) -> str:
    """A run whose trail can be judged again."""
    begin = {"op": "TRAIL_BEGIN", "agent": "ann", "trail_id": "t", "ts": 1}
    write = {"op": "FILE_WRITE", "path": "src/a.py", "content": "x"}
    trail = compile_worklog([begin, write, {"op": "TRAIL_END"}])
    begin_run("20260103T000000Z-dddd", trail=trail).seal()
    return "20260103T000000Z-dddd"

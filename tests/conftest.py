"""What tests of several layers share: sealed run records that need no sandbox, and sandboxes in Docker.

Two rules for all of them stand here as well. No verdict hangs on how busy the machine is: what never ends is
ended by the limit that ``pyproject.toml`` sets for every test, and what others do in their own time is waited
for. And no run is quieter than it looks: in CI a skipped test is a failed one, and a summary says which
runtimes were tried.
"""

from __future__ import annotations

import functools
import hashlib
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from sandbox_runner.errors import SandboxError
from sandbox_runner.record import (
    Check,
    ImageInfo,
    PolicyInfo,
    RecordedWorld,
    RunDirectory,
    RunInfo,
    RunRecord,
    RunStatus,
    SigningKey,
    StepCounts,
    TrailInfo,
    new_run_id,
    now_text,
)
from sandbox_runner.record.report import FileChange, render_report
from sandbox_runner.replay import TrailExecutor
from sandbox_runner.sandbox import ContainerWorld, Engine, Image, Sandbox, SandboxSpec, ensure_image
from sandbox_runner.sandbox.janitor import find_leftovers
from sandbox_runner.snapshot import DirectorySource, SnapshotStore
from sandbox_runner.trail import compile_worklog, load
from sandbox_runner.world import Call, CallStream, Outcome, Status, World

WORKLOG: tuple[dict[str, Any], ...] = (
    {"op": "TRAIL_BEGIN", "agent": "ada", "trail_id": "session-1", "ts": 1_700_000_000},
    {"op": "LABEL", "label": "find it"},
    {"op": "SEARCH_CODE", "pattern": "def total"},
    {"op": "FILE_READ", "path": "src/cart.py"},
    {"op": "FILE_WRITE", "path": "src/größe.py", "content": "x = 1\n" * 120},
    {"op": "FILE_EDIT", "path": "src/cart.py", "old": "+", "new": "*"},
    {"op": "FILE_WRITE", "path": "../../etc/passwd", "content": "root::0:0\u202e\x9b\x1b[2J\r\n{}"},
    {"op": "TEST_RUN", "path": "tests", "count": 2},
    {"op": "LEVEL_UP", "level": 3},
    {"op": "TRUST_UPDATE", "target": "bob", "delta": -5},
    {"op": "GIT_COMMIT", "repo": 0, "message": "Fix the total"},
    {"op": "NOP"},
    {"op": "COMMENT", "comment": "done"},
    {"op": "TRAIL_END", "status": 0},
)


Twist = Callable[[Call, Outcome], Outcome]


class ScriptedWorld(World):
    """Answers every call in a way that depends on the call alone, but for the twist; `..` is refused."""

    def __init__(self, twist: Twist = lambda _call, outcome: outcome) -> None:
        self._twist = twist

    def perform_all(self, calls: CallStream, *, stop_on_failure: bool = False) -> Iterator[Outcome]:
        for call in calls:
            if call is None:
                continue
            outcome = self._twist(call, self.answer(call))
            yield outcome
            if stop_on_failure and outcome.status.stops:
                return

    def answer(self, call: Call) -> Outcome:
        subject = next(iter(call.arguments.values()))
        if str(subject).startswith(".."):
            return Outcome(
                Status.REFUSED, f"{call.method}: ERROR path leaves the workspace", {"rule": "paths"}
            )
        if call.method == "test_run":
            details = {"passed": 1, "failed": 1, "exit": 1, "report": ["a", {"b": None}]}
            meta = {"output": "1 failed, 1 passed in 0.12s\n\x1b[31m" * 3, "pid": 71}
            return Outcome(Status.FAILED, "test_run: tests (exit=1)", details, 48_000_000, meta)
        return Outcome(Status.OK, f"{call.method}: {subject}" + "." * 600, {"sha256": "ab" * 32}, 1000)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


PUSH = "pushes/repository-0123456789abcdef.bundle"


def write_record(
    root: Path,
    *,
    signer: SigningKey | None = None,
    worklog: Sequence[dict[str, Any]] = WORKLOG,
    twist: Twist = lambda _call, outcome: outcome,
    **info: Any,
) -> Path:
    """Replay a worklog and seal its record under ``root``; returns the record's directory."""
    data = compile_worklog(list(worklog))
    trail, policy = load(data), b'{"policy":1}'
    facts: dict[str, Any] = {
        "run_id": new_run_id(),
        "created_at": now_text(),
        "trail": TrailInfo(
            sha256=trail.sha256,
            bytes=len(data),
            version=trail.version,
            steps=len(trail.steps),
            agent=trail.agent,
            trail_id=trail.trail_id,
            source="session.json",
        ),
        "policy": PolicyInfo(name="default", sha256=sha256(policy)),
        "image": ImageInfo(reference="sandbox-runner/python:1", id="sha256:" + "1" * 64),
        "seccomp_sha256": "2" * 64,
        "base_snapshot": "sha256:" + "3" * 64,
        "runtime": "runc",
        "limits": {"cpus": 1.5, "memory": 1024, "pids": 128},
        "options": {"fail_fast": False},
        "versions": {"sandbox_runner": "0.1.0"},
        **info,
    }
    with RunDirectory.create(root, RunInfo(**facts), trail=data, policy=policy) as directory:
        recorder = directory.recorder()
        recorder.bind(container="c0ffee")
        executor = TrailExecutor(
            RecordedWorld(ScriptedWorld(twist), recorder),
            trail,
            principal=directory.info.principal,
            chain_head=lambda: recorder.head,
            meta_style=directory.info.options.get("meta_style", "bound"),
        )
        result = executor.execute()
        directory.add_artifact(PUSH, b"# v2 git bundle\n")
        counts = {status.value: sum(event.status is status for event in result.events) for status in Status}
        directory.seal(
            meta_trail=result.execution_trail,
            signer=signer,
            status=RunStatus.SUCCESS if result.success else RunStatus.FAILED,
            exit_code=0 if result.success else 1,
            steps=StepCounts(total=len(result.events), **counts),
            events=tuple(event.to_dict() for event in result.events),
            snapshot="sha256:" + "4" * 64,
            verdict_source="pytest exited 1 and reported 1 passed, 1 failed",
            cleanup={"container": "gone", "volume": "gone"},
            duration_s=1.25,
            facts={"pushes": [{"repository": ".", "refs": {"refs/heads/main": "5" * 40}, "artifact": PUSH}]},
        )
    return directory.path


@pytest.fixture(name="write_record")
def _write_record() -> Callable[..., Path]:
    return write_record


EVIL = (
    "</pre></style><script>document.title='owned'</script><img src=x onerror=alert(1)>'\"&\u202e\x1b[2J\x9b"
)


def hostile_outcome(call: Call, outcome: Outcome) -> Outcome:
    details = {EVIL: EVIL, "passed": 1, "list": [EVIL], "nested": {EVIL: [{"a": EVIL}]}}
    return Outcome(outcome.status, f"{call.method}: {EVIL}", details, 1000, {"output": EVIL + "\n" + EVIL})


@pytest.fixture
def hostile_page(tmp_path: Path) -> str:
    """The report of a record that holds markup wherever a record can hold text."""
    worklog = [
        {"op": "TRAIL_BEGIN", "agent": EVIL, "trail_id": EVIL, "ts": 1},
        {"op": "FILE_READ", "path": EVIL},
        {"op": "FILE_READ", "path": "../" + EVIL},
        {"op": "TEST_RUN", "path": EVIL, "count": 1},
        {"op": "LABEL", "label": EVIL},
        {"op": "COMMENT", "comment": EVIL},
        {"op": "TRAIL_END", "status": 0},
    ]
    labelled = {"limits": {EVIL: EVIL}, "versions": {EVIL: EVIL}, "runtime": EVIL, "tenant": EVIL}
    record = RunRecord.load(write_record(tmp_path, worklog=worklog, twist=hostile_outcome, **labelled))
    checks = [Check(EVIL, ok=False, detail=EVIL)]
    changes = [FileChange(EVIL, "changed", EVIL, [EVIL, f"+{EVIL}", f"-{EVIL}"]), FileChange(EVIL, "added")]
    return render_report(record, checks=checks, changes=changes)


SESSION_LABELS = {"sandbox-runner.test": secrets.token_hex(8)}
PATIENCE_S = 60.0
"""How long a test waits for what Docker or another process does in its own time, before it fails."""

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

_TRIED: pytest.StashKey[Counter[str]] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_TRIED] = Counter()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Count what ran under each runtime, and let nothing be skipped in CI."""
    report = yield
    unwanted(report)
    if report.when == "call" and not report.skipped:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        runtime = parameters.get("runtime") or parameters.get("way", ("",))[0]
        item.config.stash[_TRIED][runtime] += 1
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A file that skips itself is no better."""
    report = yield
    unwanted(report)
    return report


def unwanted(report: pytest.TestReport | pytest.CollectReport) -> None:
    """In CI what is skipped has failed: a machine that cannot run a test must not say that it passed."""
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"skipped, and in CI no test may be: {report.longreprtext}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which runtimes were tried, and in words when gVisor was not."""
    tried = config.stash[_TRIED]
    told = [f"{name} {tried[name]}" for name in ("runc", "runsc") if tried[name]]
    if not told:
        return
    terminalreporter.section("runtimes")
    terminalreporter.line(f"tests under each: {', '.join(told)}")
    if "runsc" not in registered_runtimes():
        terminalreporter.line("gVisor was not tried: Docker knows no runtime named runsc on this machine.")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for ``runtime`` runs under each of runc and runsc that Docker knows here.

    One that asks for ``way`` runs its tests in each way that matters: a new process for every run, or forks
    of a server, the latter under each runtime.
    """
    if "runtime" in metafunc.fixturenames:
        metafunc.parametrize("runtime", registered_runtimes(), scope="session")
    if "way" in metafunc.fixturenames:
        ways = [("runc", "fresh"), *((runtime, "server") for runtime in registered_runtimes())]
        metafunc.parametrize("way", ways, ids=map("-".join, ways), scope="session")


@functools.cache
def registered_runtimes() -> tuple[str, ...]:
    try:
        engine = Engine.connect()
        known = engine.info().get("Runtimes") or {}
    except SandboxError:
        return ("runc",)  # the test itself then fails with Docker's reason
    engine.close()
    return tuple(name for name in ("runc", "runsc") if name in known)


@pytest.fixture
def exported(tmp_path: Path) -> tuple[Path, str]:
    """A snapshot's digest, and a directory where it lies in every form that it can be exported to."""
    tree = tmp_path / "tree"
    (tree / "d").mkdir(parents=True)
    (tree / "d" / "file").write_text("hello\n")
    (tree / "d" / "run.sh").write_text("#!/bin/sh\n")
    (tree / "d" / "run.sh").chmod(0o755)
    (tree / ("long-name-" * 20)).write_text("x")
    (tree / "größe").write_text("x")
    (tree / "link").symlink_to("d/file")
    store = SnapshotStore(tmp_path / "store")
    digest = store.capture(DirectorySource(tree)).digest
    store.export(digest, tmp_path / "image", form="oci")
    store.export(digest, tmp_path / "image.tar", form="oci")
    store.export(digest, tmp_path / "tree.tar.zst", form="tar.zst")
    return tmp_path, digest


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The Docker Engine; without one the test fails. At the end nothing of this session may be left in it."""
    engine = Engine.connect()
    before = {leftover.id for leftover in find_leftovers(engine)}
    yield engine
    ours = {"label": [f"{key}={value}" for key, value in SESSION_LABELS.items()]}
    end = time.monotonic() + PATIENCE_S
    while True:
        left = [container["Id"] for container in engine.api.containers(all=True, filters=ours)]
        left += [volume["Name"] for volume in engine.api.volumes(filters=ours).get("Volumes") or ()]
        left += [leftover.id for leftover in find_leftovers(engine) if leftover.id not in before]
        if not left or time.monotonic() > end:
            break
        time.sleep(0.1)
    engine.close()
    assert not left, f"containers or volumes are left behind: {left}"


@pytest.fixture(scope="session")
def image(engine: Engine) -> Image:
    """The default image, built once where missing."""
    return ensure_image(engine, on_progress=print)


@pytest.fixture
def start_sandbox(engine: Engine, image: Image) -> Iterator[Callable[..., Sandbox]]:
    """Start sandboxes with the fields of a ``SandboxSpec``; each is ended and must leave nothing behind."""
    started: list[Sandbox] = []

    def start(**fields: Any) -> Sandbox:
        spec = SandboxSpec(**{"runtime": "runc", **fields, "labels": SESSION_LABELS})
        sandbox = Sandbox.start(spec, engine=engine)
        started.append(sandbox)
        return sandbox

    yield start
    receipts = [sandbox.close() for sandbox in started]
    assert all(receipt.clean for receipt in receipts), receipts


@pytest.fixture
def start_world(start_sandbox: Callable[..., Sandbox]) -> Callable[..., ContainerWorld]:
    """The same, as worlds."""
    return lambda **fields: ContainerWorld(start_sandbox(**fields))

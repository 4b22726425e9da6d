"""The whole program against a real Docker Engine: exit codes, JSON on stdout, signals, nothing left."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandbox_runner.cli import main
from sandbox_runner.errors import ExitCode

pytestmark = pytest.mark.docker

EXAMPLES = Path(__file__).parent.parent / "data" / "examples"
PROGRAM = [sys.executable, "-m", "sandbox_runner.cli"]
KEYS = {
    "run_id",
    "record",
    "trail_sha256",
    "status",
    "exit_code",
    "steps",
    "chain_head",
    "meta_trail_sha256",
    "snapshot",
    "left_out",
    "runtime",
    "duration_s",
}
BEGIN = {"op": "TRAIL_BEGIN", "agent": "ann", "trail_id": "t", "ts": 1_753_000_000}
END = {"op": "TRAIL_END", "status": 0}
PATIENCE_S = 60


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str
    pid: int

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def started(home: Path, *argv: object) -> subprocess.Popen[str]:
    environ = {**os.environ, "SANDBOX_RUNNER_HOME": str(home), "SANDBOX_RUNNER_RUNTIME": "runc"}
    words = [*PROGRAM, *map(str, argv)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)


def ended(process: subprocess.Popen[str]) -> Ran:
    out, err = process.communicate(timeout=120)
    return Ran(process.returncode, out, err, process.pid)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def inside(home: Path, *argv: object) -> Ran:
    """The same within this process, which saves a start of Python each."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setenv("SANDBOX_RUNNER_HOME", str(home))
        patch.setenv("SANDBOX_RUNNER_RUNTIME", "runc")
        code = main([str(word) for word in argv])
    return Ran(code, out.getvalue(), err.getvalue(), os.getpid())


@pytest.fixture(scope="module")
def cli(home: Path) -> Callable[..., Ran]:
    return lambda *argv: inside(home, *argv)


@pytest.fixture(scope="module")
def bugfix(home: Path) -> Ran:
    folder = EXAMPLES / "bugfix"
    return ended(started(home, "run", folder / "worklog.json", "-w", folder / "workspace", "--json"))


def left_behind(pid: int) -> list[str]:
    """Containers and volumes that a process owned and that are still there."""
    owned = ["--filter", f"label=sandbox-runner.owner={pid}"]
    found = []
    for command in (["ps", "--all", "--quiet"], ["volume", "ls", "--quiet"]):
        done = subprocess.run(
            ["docker", *command, *owned], capture_output=True, text=True, check=True, timeout=30
        )
        found += done.stdout.split()
    return found


def test_the_example_replays_and_prints_the_promised_keys(bugfix: Ran) -> None:
    assert bugfix.code == ExitCode.OK, bugfix.err
    told = bugfix.json
    assert told.keys() >= KEYS
    assert (told["status"], told["exit_code"]) == ("success", 0)
    assert told["steps"]["total"] == told["steps"]["ok"] + told["steps"]["skipped"]
    assert all(len(told[name]) == 64 for name in ("trail_sha256", "chain_head", "meta_trail_sha256"))
    assert left_behind(bugfix.pid) == []


def test_the_record_can_be_looked_at_with_every_command(cli: Callable[..., Ran], bugfix: Ran) -> None:
    run = bugfix.json["run_id"]
    summary = cli("show", run)
    assert summary.code == ExitCode.OK
    assert bugfix.json["meta_trail_sha256"] in summary.out
    assert bugfix.json["snapshot"] in summary.out
    log = cli("log", run, "--json")
    with Path(bugfix.json["record"], "calls.jsonl").open() as calls:
        assert len(log.out.splitlines()) == sum(1 for _ in calls) > 0
    assert run in cli("runs").out
    assert cli("snapshot", "diff", run, "--names").out
    verified = cli("verify", run, "--json")
    assert verified.code == ExitCode.OK, verified.out
    assert verified.json["ok"] is True


def test_a_replay_comes_to_the_same(cli: Callable[..., Ran], bugfix: Ran) -> None:
    ran = cli("verify", bugfix.json["run_id"], "--replay", "--json")
    assert ran.code == ExitCode.OK, ran.out
    assert ran.json["first_divergence"] is None
    assert ran.json["checks"][-1]["name"] == "replay"


def test_the_changes_of_a_run_can_be_taken_over(cli: Callable[..., Ran], bugfix: Ran, tmp_path: Path) -> None:
    base = json.loads(Path(bugfix.json["record"], "run.json").read_text())["base_snapshot"]
    assert cli("snapshot", "restore", base, tmp_path / "mine").code == ExitCode.OK
    assert cli("snapshot", "apply", bugfix.json["run_id"], tmp_path / "mine").code == ExitCode.OK
    before = (EXAMPLES / "bugfix" / "workspace" / "invoice" / "totals.py").read_text()
    assert (tmp_path / "mine" / "invoice" / "totals.py").read_text() != before


def test_people_are_told_what_came_of_it_and_what_to_do_next(cli: Callable[..., Ran]) -> None:
    folder = EXAMPLES / "bugfix"
    ran = cli("run", folder / "worklog.json", "-w", folder / "workspace")
    assert ran.code == ExitCode.OK, ran.err
    assert ran.out.startswith("SUCCESS  worklog.json: every step ok in ")
    for word in (
        "meta-trail",
        "chain head",
        "snapshot",
        "record",
        "sandbox-runner log",
        "sandbox-runner report",
    ):
        assert word in ran.out
    assert "\x1b" not in ran.out + ran.err
    assert "snapshot" in ran.err, "progress goes to stderr, as plain lines"


def test_a_way_out_is_refused_with_three_named_violations(cli: Callable[..., Ran]) -> None:
    folder = EXAMPLES / "hostile"
    ran = cli("run", folder / "worklog.json", "-w", folder / "workspace", "--json")
    assert ran.code == ExitCode.REFUSED
    assert ran.json["status"] == "refused"
    assert ran.json["steps"]["refused"] == 3
    shown = cli("show", ran.json["run_id"]).out
    for rule in ("paths.form", "paths.git"):
        assert f"[{rule}]" in shown
    assert left_behind(ran.pid) == []


def test_a_failed_step_is_exit_1_and_named(cli: Callable[..., Ran], tmp_path: Path) -> None:
    trail = tmp_path / "w.json"
    trail.write_text(json.dumps([BEGIN, {"op": "FILE_READ", "path": "missing.txt"}, END]))
    ran = cli("run", trail)
    assert ran.code == ExitCode.STEP_FAILED, ran.err
    assert ran.out.startswith("FAILED")
    assert "FILE_READ missing.txt" in ran.out


NOISY = """
import sys
def test_noise():
    sys.stdout.buffer.write(b"FIRST\\xff\\n" + b"noise \\x1b[2J\\n" * 30_000)
    assert False, "the reason"
"""


def test_a_failed_test_says_why_and_all_it_printed_is_part_of_the_sealed_record(
    cli: Callable[..., Ran], tmp_path: Path
) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "test_noise.py").write_text(NOISY)
    worklog = tmp_path / "noise.json"
    worklog.write_text(json.dumps([BEGIN, {"op": "TEST_RUN", "path": "test_noise.py", "count": 1}, END]))
    ran = cli("run", worklog, "-w", tmp_path / "work")
    assert ran.code == ExitCode.STEP_FAILED
    assert "  | FAILED test_noise.py::test_noise - AssertionError: the reason" in ran.out
    assert all(line.isprintable() for line in ran.out.splitlines())
    run_id = re.search(r"\d{8}T\d{6}Z-[0-9a-f]{12}", ran.out)[0]  # other tests' runs began in this second
    assert cli("log", run_id, 2, "-o", tmp_path / "out").code == ExitCode.OK
    whole = (tmp_path / "out").read_bytes()
    assert whole.count(b"noise \x1b[2J\n") == 30_000
    assert b"the reason" in whole
    run = cli("show", run_id, "--json").json
    (kept,) = [item for item in run["result"]["artifacts"] if item["path"].startswith("outputs/")]
    assert kept["path"] == "outputs/step-2.out"
    verified = cli("verify", run_id, "--replay", "--json")
    assert verified.code == ExitCode.OK, verified.out


def test_an_empty_workspace_is_said_to_be_empty_where_the_trail_looks_into_it(
    cli: Callable[..., Ran], tmp_path: Path
) -> None:
    worklog = tmp_path / "read.json"
    worklog.write_text(json.dumps([BEGIN, {"op": "FILE_READ", "path": "a.txt"}, END]))
    ran = cli("run", worklog)
    assert "began empty, and the trail has FILE_READ; give it a directory with -w DIR" in ran.out
    told = cli("run", worklog, "--json")
    assert (told.json["trail"], told.json["failing"][0]["index"]) == (str(worklog), 1)
    assert told.json["failing"][0]["opcode"] == "FILE_READ"
    assert "the workspace began empty" in told.err


def test_a_dry_run_needs_no_container_and_says_so(cli: Callable[..., Ran]) -> None:
    ran = cli("run", EXAMPLES / "feature" / "worklog.json", "--dry-run", "--json")
    assert ran.code == ExitCode.OK, ran.err
    assert ran.json["status"] == "dry-run"
    assert ran.json["runtime"] is None


def test_several_trails_are_one_object_each_and_the_gravest_decides(
    cli: Callable[..., Ran], tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps([BEGIN, {"op": "COMMENT", "comment": "hello"}, END]))
    bad.write_text(json.dumps([BEGIN, {"op": "FILE_READ", "paht": "x"}, END]))
    ran = cli("run", good, bad, good, "-j", "2", "--json")
    told = [json.loads(line) for line in ran.out.splitlines()]
    assert ran.code == ExitCode.BAD_INPUT
    assert sorted(item["exit_code"] for item in told) == [0, 0, 2]
    assert all(item.keys() >= KEYS for item in told)
    assert "bad.json: entry 2, line 1: " in ran.err
    assert left_behind(ran.pid) == []


def bad_inputs(folder: Path) -> Iterator[tuple[str, list[object], int]]:
    good = folder / "good.json"
    good.write_text(json.dumps([BEGIN, END]))
    for name, content in (
        ("no-trail.flux", b"\x7fELF"),
        ("empty.flux", b""),
        ("truncated.flux", b"\xa0\x01\x02"),
        (
            "misspelt.json",
            json.dumps([BEGIN, {"op": "FILE_WRITE", "path": "a", "contnet": "b"}, END]).encode(),
        ),
    ):
        (folder / name).write_bytes(content)
        yield name, [folder / name], ExitCode.BAD_INPUT
    (folder / "policy.yaml").write_text("policy: 1\nname: mine\nopcodse: [NOP]\n")
    yield "policy.yaml:3", [good, "-p", folder / "policy.yaml"], ExitCode.BAD_INPUT
    yield "no-such-workspace", [good, "-w", folder / "no-such-workspace"], ExitCode.BAD_INPUT
    yield "no-such-image", [good, "--image", "no-such-image:1"], ExitCode.SANDBOX_FAILED


def test_every_bad_input_is_one_sentence_with_its_exit_code_and_leaves_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for words, argv, code in bad_inputs(tmp_path):
        ran = inside(home, "run", *argv)
        assert (ran.code, ran.out) == (code, ""), (words, ran.err)
        errors = [line for line in ran.err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, ran.err
        assert words in errors[0]
        assert "Traceback" not in ran.err
        assert left_behind(ran.pid) == []
        runs = home / "tenants" / "default" / "runs"
        assert not runs.exists() or list(runs.iterdir()) == [], words


def test_a_runtime_that_docker_does_not_know_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "good.json").write_text(json.dumps([BEGIN, END]))
    ran = inside(tmp_path / "home", "run", tmp_path / "good.json", "--runtime", "no-such-runtime")
    assert ran.code == ExitCode.BAD_INPUT
    assert "no-such-runtime" in ran.out + ran.err
    assert left_behind(ran.pid) == []


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """A workspace whose only test does not end by itself, and the trail that runs it."""
    workspace = tmp_path / "slow"
    (workspace / "tests").mkdir(parents=True)
    (workspace / "tests" / "test_slow.py").write_text(
        "import time\n\ndef test_slow():\n    time.sleep(300)\n"
    )
    (tmp_path / "slow.json").write_text(json.dumps([BEGIN, {"op": "TEST_RUN", "path": "tests"}, END]))
    return tmp_path


def running(home: Path, slow: Path, *more: object) -> tuple[subprocess.Popen[str], Path]:
    """A run that has reached its test, and its record."""
    process = started(home, "run", slow / "slow.json", "-w", slow / "slow", "--json", *more)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for journal in home.glob("tenants/default/runs/2*/dispatched.jsonl"):
            if journal.stat().st_size:
                return process, journal.parent
        if process.poll() is not None:
            break
        time.sleep(0.05)
    out, err = process.communicate(timeout=30)
    raise AssertionError(f"the run did not begin: {out}{err}")


def test_an_interruption_calls_off_the_trails_that_still_wait(tmp_path: Path, slow: Path) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        process, _ = running(tmp_path / "home", slow, *[slow / "slow.json"] * 5, "-j", 2)
    finally:
        signal.signal(signal.SIGTERM, before)
    process.send_signal(signal.SIGTERM)
    ran = ended(process)
    assert ran.code == ExitCode.INTERRUPTED, ran.err
    assert left_behind(ran.pid) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_closes_the_record_and_removes_the_container(
    tmp_path: Path, slow: Path, number: signal.Signals
) -> None:
    before = signal.signal(
        number, signal.SIG_DFL
    )  # tests that run in the background ignore it, and so would it
    try:
        process, record = running(tmp_path / "home", slow)
    finally:
        signal.signal(number, before)
    process.send_signal(number)
    ran = ended(process)
    assert ran.code == ExitCode.INTERRUPTED, ran.err
    assert ran.json["status"] == "interrupted"
    assert json.loads((record / "run.json").read_text())["state"] == "interrupted"
    assert left_behind(ran.pid) == []
    assert "Traceback" not in ran.err


def test_a_killed_program_leaves_no_container_and_a_readable_record(tmp_path: Path, slow: Path) -> None:
    home = tmp_path / "home"
    process, _ = running(home, slow)
    process.kill()
    ended(process)
    deadline = time.monotonic() + PATIENCE_S
    while left_behind(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left_behind(process.pid) == []
    shown = inside(home, "show", "last")
    assert shown.code == ExitCode.OK
    assert shown.out.startswith("INTERRUPTED")
    assert inside(home, "log", "last", "-f").code == ExitCode.OK


def test_clean_and_doctor_and_image_list_agree_with_docker(cli: Callable[..., Ran]) -> None:
    assert isinstance(cli("clean", "--dry-run", "--json").json, list)
    images = cli("image", "list", "--json").json
    assert sum(image["current"] for image in images) == 1
    told = cli("doctor", "--json")
    assert told.code == ExitCode.OK, told.out
    assert {check["name"] for check in told.json["checks"]} >= {
        "docker",
        "cgroups",
        "image",
        "runtime runc",
        "state",
    }

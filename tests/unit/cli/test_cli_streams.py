"""The standard streams, the locale and the place a program is started from, in every state they can be in."""

import io
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox_runner.cli import main
from sandbox_runner.record import RunRecord, list_runs
from sandbox_runner.runner.home import Home

BEGIN = {"op": "TRAIL_BEGIN", "agent": "ann", "trail_id": "t", "ts": 1}
WELL = [BEGIN, {"op": "FILE_WRITE", "path": "a.txt", "content": "ä…"}, {"op": "TRAIL_END"}]
REFUSED = [BEGIN, {"op": "FILE_WRITE", "path": "../a.txt", "content": "x"}, {"op": "TRAIL_END"}]
FULL = "error: the answer could not be written to stdout: No space left on device\n"
PROGRAM = [sys.executable, "-m", "sandbox_runner.cli"]
STATES = ("file", "closed", "full", "no reader")


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SANDBOX_RUNNER_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for name, worklog in (("well.json", WELL), ("refused.json", REFUSED)):
        (tmp_path / name).write_text(json.dumps(worklog))
    return tmp_path


@contextmanager
def target(state: str, kept: Path) -> Iterator[int | None]:
    """A descriptor in that state; None for closed."""
    if state == "closed":
        yield None
        return
    if state == "no reader":
        reader, descriptor = os.pipe()
        os.close(reader)
    else:
        descriptor = os.open(kept if state == "file" else "/dev/full", os.O_RDWR | os.O_CREAT)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def started(*argv: str, stdin: str = "file", stdout: str = "file", stderr: str = "file") -> Ended:
    """The program in a fork of this process, its streams made as Python makes them at its start."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in ("in", "out", "err", "fault")]
        for path in paths:
            path.touch()
        with (
            target(stdin, paths[0]) as source,
            target(stdout, paths[1]) as out,
            target(stderr, paths[2]) as err,
        ):
            pid = os.fork()
            if pid == 0:
                _become(argv, (source, out, err), paths[3])
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert paths[3].read_text() == ""
        return Ended(code, paths[1].read_text("utf-8", "backslashreplace"), paths[2].read_text("utf-8"))


def _become(argv: tuple[str, ...], wanted: tuple[int | None, ...], fault: Path) -> None:
    code = 99
    try:
        for number, descriptor in enumerate(wanted):
            os.close(number) if descriptor is None else os.dup2(descriptor, number)
        sys.stdin, sys.stdout, sys.stderr = (
            None if descriptor is None else io.TextIOWrapper(io.FileIO(number, mode, closefd=False), "utf-8")
            for number, (descriptor, mode) in enumerate(zip(wanted, "rww", strict=True))
        )
        sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
        code = main(list(argv))
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()  # as the interpreter does at its end
    except BaseException:  # noqa: BLE001 - told to the parent
        fault.write_text(traceback.format_exc())
    finally:
        os._exit(code)


def records() -> list[RunRecord]:
    found = list_runs(Home().runs())
    assert all(isinstance(record, RunRecord) and record.result for record in found)
    return found


@pytest.mark.parametrize("stdout", STATES)
@pytest.mark.parametrize("stderr", STATES)
def test_a_run_is_sealed_and_its_exit_code_told_whatever_its_streams_are(stdout: str, stderr: str) -> None:
    """Nobody hears of a run that ended well: not where that was wished, else a code of its own."""
    unheard = {"file": 0, "closed": 0, "full": 2, "no reader": 141}
    for number, (trail, code, json_too) in enumerate(
        (("well.json", 0, ()), ("well.json", 0, ("--json",)), ("refused.json", 3, ("--json",))), 1
    ):
        argv = ("run", trail, "--dry-run" if code == 0 else "--no-fail-fast", *json_too)
        ended = started(*argv, stdin="closed", stdout=stdout, stderr=stderr)
        lost = 2 if json_too and stdout == "closed" else unheard[stdout]
        assert ended.code == (code or lost), argv
        assert "Traceback" not in ended.err
        if stderr == "file" and stdout == "full" and code == 0:
            assert FULL in ended.err
        if stdout == "file" and json_too:
            assert json.loads(ended.out)["exit_code"] == code
        assert len(records()) == number
        assert code in {record.result.exit_code for record in records()}


COMMANDS = (
    "--help",
    "--version",
    "run --help",
    "run",
    "policy list",
    "policy show default",
    "policy explain FILE_WRITE ../x",
    "check well.json",
    "check refused.json --json",
    "runs",
    "runs --json",
    "show last",
    "log last",
    "log last --json",
    "log last -f",
    "verify last",
    "report last -o -",
    "keys show",
    "keys new --json",
    "snapshot list --json",
    "snapshot diff last",
    "trail show well.json",
    "trail compile well.json -o -",
    "trail compile - -o -",
    "trail verify -",
    "nosuch",
)


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("streams") / "home"


@pytest.mark.parametrize("words", COMMANDS)
def test_no_command_breaks_whatever_its_streams_are(
    words: str, shared_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SANDBOX_RUNNER_HOME", str(shared_home))
    if not shared_home.exists():
        assert started("run", "refused.json").code == 3
    usual = started(*words.split()).code
    assert usual in {0, 2, 3}
    data = "--json" in words or words.endswith("-o -")
    for stdin, stdout, stderr in (
        ("closed", "closed", "closed"),
        ("file", "closed", "file"),
        ("file", "full", "file"),
        ("file", "no reader", "no reader"),
        ("file", "file", "full"),
    ):
        ended = started(*words.split(), stdin=stdin, stdout=stdout, stderr=stderr)
        assert "Traceback" not in ended.err
        assert "unexpected" not in ended.err
        if stdout == "closed":
            assert ended.code == (usual or (2 if data else 0))
        else:
            assert ended.code in {usual, {"file": usual, "full": usual or 2, "no reader": 141}[stdout]}


def test_the_last_of_many_runs_within_a_second_is_the_one_that_began_last() -> None:
    runs = Home().runs()
    for _ in range(25):
        before = set(runs.iterdir())
        assert started("run", "well.json", "--dry-run", "--no-sign").code == 0
        (made,) = set(runs.iterdir()) - before
        assert json.loads(started("show", "last", "--json").out)["run"]["run_id"] == made.name


def test_a_verdict_outweighs_that_nobody_could_be_told() -> None:
    started("run", "well.json", "--dry-run", "--no-sign")
    for stdout in STATES:
        assert started("verify", "last", stdout=stdout).code in {5} | (
            {141} if stdout == "no reader" else set()
        )
        assert started("check", "refused.json", "--json", stdout=stdout).code in {3, 141}


def test_a_reader_that_goes_away_ends_no_other_run() -> None:
    ended = started(
        "run", "well.json", "refused.json", "well.json", "--dry-run", "--json", stdout="no reader"
    )
    assert ended.code == 3
    assert len(records()) == 3


def test_a_descriptor_that_was_closed_is_not_given_to_a_file_of_the_record() -> None:
    """Otherwise whatever writes to a standard stream would write into it."""
    code = """
import os, sys
from sandbox_runner.cli import main
from sandbox_runner.record import directory
opened = []
class Directory(directory.RunDirectory):
    def recorder(self, *given, **named):
        os.write(1, b"stray"); os.write(2, b"stray")
        return super().recorder(*given, **named)
from sandbox_runner.runner import run
run.RunDirectory = Directory
code = main(["run", "well.json", "--dry-run"])
code = code or main(["verify", "last"])
os._exit(code)
"""
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-', sys.executable, "-c", code], check=False
    )
    assert done.returncode == 0
    assert all(b"stray" not in path.read_bytes() for path in Path("home").rglob("*") if path.is_file())


ENVIRONMENTS = (
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "latin-1:strict", "COLUMNS": "1", "LINES": "1"},
    {"COLUMNS": "0", "TERM": "dumb"},
    {"COLUMNS": "-5", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"},
)


@pytest.mark.long
@pytest.mark.parametrize("environ", ENVIRONMENTS, ids=" ".join)
def test_no_locale_and_no_width_breaks_a_command(environ: dict[str, str]) -> None:
    name = os.fsdecode(b"t\xff\xc3\xa4\x1b.json")
    Path(name).write_text(json.dumps(WELL))
    argv = ["run", os.fsencode(name), "--dry-run", "--label", os.fsencode("ä\udcff=\udcff…")]
    for words, code in (
        (argv, 0),
        (["show", "last"], 0),
        (["trail", "show", os.fsencode(name)], 0),
        (["-h"], 0),
    ):
        done = subprocess.run(
            [*PROGRAM, *words], env={**os.environ, **environ}, capture_output=True, check=False
        )
        assert done.returncode == code, done.stderr
        assert b"Traceback" not in done.stderr
        assert not {0x1B, 0xFF} & set(done.stdout + done.stderr)
    (record,) = records()
    assert record.info.trail.source is not None
    assert record.info.trail.source.isprintable()


def test_a_name_that_is_not_utf8_is_data_in_every_command(place: Path) -> None:
    name = os.fsdecode(b"w\xff.json")
    Path(name).write_text(json.dumps(WELL))
    missing = os.fsdecode(b"no\xff\x9b")
    for words, code in (
        (("run", name, "--dry-run", "-o", missing), 0),
        (("check", name), 0),
        (("check", name, "--json"), 0),
        (("trail", "compile", name), 0),
        (("trail", "verify", os.fsdecode(b"w\xff.flux"), "--json"), 0),
        (("run", missing + "x", "--json"), 2),
        (("show", missing + "x"), 2),
        (("snapshot", "show", missing), 2),
        (("snapshot", "import", missing + "x"), 2),
        (("policy", "show", missing), 2),
        (("run", name, "-w", missing + "y"), 2),
        (("run", name, "--label", f"{missing}={missing}", "--dry-run"), 0),
        (("run", name, "--principal", missing, "--dry-run"), 2),
        (("--tenant", missing, "runs"), 2),
        ((missing,), 2),
    ):
        ended = started(*words)
        assert ended.code == code, (words, ended.err)
        assert "unexpected" not in ended.err
        (ended.out + ended.err).encode()


def test_without_a_home_directory_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("~nobody-here/state", "~nobody-here"):
        monkeypatch.setenv("SANDBOX_RUNNER_HOME", value)
        ended = started("runs")
        assert (ended.code, ended.out) == (2, "")
        assert "there is no home directory" in ended.err
        assert "SANDBOX_RUNNER_HOME" in ended.err
    monkeypatch.setenv("SANDBOX_RUNNER_HOME", "")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda _uid: (_ for _ in ()).throw(KeyError(_uid)))
    ended = started("runs")
    assert (ended.code, ended.out) == (2, "")
    assert "there is no home directory" in ended.err


def test_a_current_directory_that_is_gone_is_no_fault_of_the_sandbox(place: Path) -> None:
    (place / "gone").mkdir()
    os.chdir(place / "gone")
    (place / "gone").rmdir()
    try:
        absolute = str(place / "well.json")
        assert started("run", absolute, "--dry-run").code == 0
        assert started("show", "last").code == 0
        for words in (
            ("--home", "state", "runs"),
            ("run", "well.json"),
            ("report", "last", "-o", "page.html"),
            ("--config", "c.yaml", "runs"),
            ("show", "./x"),
            ("trail", "compile", absolute, "-o", "x.flux"),
            ("snapshot", "restore", "x", "y"),
        ):
            ended = started(*words)
            assert ended.code == 2, (words, ended.err)
            assert "Traceback" not in ended.err
    finally:
        os.chdir(place)

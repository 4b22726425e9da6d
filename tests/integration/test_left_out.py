"""A run says what its base leaves out and why: on the screen, in JSON, in the record, in ``show``."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.docker

# Root reads everything by CAP_DAC_OVERRIDE (1) and CAP_DAC_READ_SEARCH (2), without them as any user does.
# A program starts with what stands in the bounding set (24 is PR_CAPBSET_DROP) or in the inheritable one.
AS_A_USER = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
failed = libc.prctl(24, 1, 0, 0, 0) or libc.prctl(24, 2, 0, 0, 0) or libc.capget(header, sets)
sets[2] &= ~0b110
if failed or libc.capset(header, sets):
    sys.exit(os.strerror(ctypes.get_errno()))
os.execv(sys.executable, [sys.executable, "-m", *sys.argv[1:]])
"""
PROGRAM = [sys.executable, "-c", AS_A_USER]
WORKLOG = [
    {"op": "TRAIL_BEGIN", "agent": "ann", "trail_id": "t", "ts": 1_753_000_000},
    {"op": "FILE_WRITE", "path": "note.txt", "content": "n\n"},
    {"op": "TRAIL_END", "status": 0},
]
LEFT_OUT = [
    {"reason": "fifo", "count": 1, "first": ["pipe"]},
    {"reason": "unreadable", "count": 1, "first": ["secret"]},
    {"reason": "named by an exclude pattern", "count": 4, "first": ["0.log", "1.log", "2.log"]},
    {"reason": "named by a .gitignore", "count": 1, "first": ["build"]},
]
WORDS = [
    "1 fifo: pipe",
    "1 unreadable: secret",
    "4 named by an exclude pattern: 0.log, 1.log, 2.log and 1 more",
    "1 named by a .gitignore: build",
]


class Told:
    """The program and a directory of which much is left out."""

    def __init__(self, tmp_path: Path) -> None:
        self.home, self.work, self.trail = tmp_path / "home", tmp_path / "work", tmp_path / "trail.json"
        (self.work / "build").mkdir(parents=True)
        (self.work / "build" / "out").write_text("out")
        (self.work / ".gitignore").write_text("build/\n")
        for number in range(4):
            (self.work / f"{number}.log").write_text("log")
        (self.work / "secret").write_text("secret")
        (self.work / "secret").chmod(0)
        os.mkfifo(self.work / "pipe")
        self.trail.write_text(json.dumps(WORKLOG))

    def __call__(self, *argv: object, code: int = 0) -> str:
        environ = {**os.environ, "SANDBOX_RUNNER_HOME": str(self.home), "SANDBOX_RUNNER_RUNTIME": "runc"}
        words = [*PROGRAM, "sandbox_runner.cli", *map(str, argv)]
        ran = subprocess.run(words, capture_output=True, text=True, timeout=120, env=environ, check=False)
        assert ran.returncode == code, ran.stderr
        return ran.stdout + ran.stderr

    def run(self, *argv: object) -> str:
        return self("run", self.trail, *argv)

    def json(self, *argv: object) -> Any:
        return json.loads(self.run(*argv, "--json").partition("\n")[0])


@pytest.fixture
def told(tmp_path: Path) -> Told:
    if os.geteuid() != 0:
        pytest.skip("only root can give up what lets it read everything")
    return Told(tmp_path)


def test_a_run_on_a_copy_and_one_on_its_base_say_what_is_left_out(told: Told) -> None:
    out = told.run("-w", told.work, "--exclude", "*.log", "--gitignore")
    shown = told("show", "last")
    for words in WORDS:
        assert words in out
        assert words in shown
    (record,) = (path.parent for path in told.home.rglob("run.json"))
    document = json.loads((record / "run.json").read_bytes())
    assert document["left_out"] == LEFT_OUT

    before = sorted(path.name for path in told.work.iterdir())
    assert "note.txt" in told("snapshot", "apply", "last", told.work)
    assert sorted(path.name for path in told.work.iterdir()) == sorted([*before, "note.txt"])

    again = told.json("--from", document["base_snapshot"])
    assert again["left_out"] == LEFT_OUT

    assert "VERIFIED" in told("verify", record)
    assert "VERIFIED" in told("verify", "last")
    document["left_out"].pop()
    (record / "run.json").write_text(json.dumps(document))
    failed = told("verify", record, code=5)
    assert "FAILED  attestation" in failed
    assert "run.json says that 0 were left out of the base, named by a .gitignore" in failed


def test_a_run_in_the_directory_itself_says_what_its_base_leaves_out(told: Told) -> None:
    for path in (told.work, *told.work.rglob("*")):
        os.chown(path, 1234, 1234)
    out = told.json("-w", told.work, "--bind", "--exclude", "*.log", "--gitignore")
    assert out["left_out"] == LEFT_OUT
    assert "VERIFIED" in told("verify", "last", "--unsigned")
    assert "A  note.txt" in (changes := told("snapshot", "diff", "last", "--names"))
    assert "A  0.log" not in changes  # it was there all along
    assert "not compared, one side left it out: 0.log" in changes

import os
import sys
import time
from pathlib import Path

import pytest

from sandbox_runner.world.native_process import run_native


def run(code, *, deadline_s=20.0, output_limit=1 << 16, stdin=b""):
    return run_native(
        (sys.executable, "-I", "-S", "-c", code),
        cwd="/",
        environment={"PATH": os.defpath},
        deadline_s=deadline_s,
        output_limit=output_limit,
        stdin=stdin,
    )


def test_both_outputs_and_the_exit_code_come_back():
    ended = run("import sys; print(sys.stdin.read()); print('no', file=sys.stderr); sys.exit(3)", stdin=b"in")
    assert (ended.exit_code, ended.stdout, ended.stderr, ended.truncated) == (3, b"in\n", b"no\n", False)


def test_a_flood_is_cut_and_the_program_runs_on_to_its_end():
    ended = run(
        "import sys; [sys.stdout.write('x' * 65536) for _ in range(200)]; sys.exit(5)", output_limit=1000
    )
    assert (ended.exit_code, len(ended.stdout), ended.truncated) == (5, 1000, True)


def test_output_of_exactly_the_limit_is_not_cut():
    ended = run("print('x' * 999)", output_limit=1000)
    assert (len(ended.stdout), ended.truncated) == (1000, False)


@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "while True: print('x' * 9999)",
        "import os; os.close(1); os.close(2)\nwhile True: pass",
    ],
)
def test_the_deadline_ends_a_program_that_does_not(code):
    assert run(code, deadline_s=0.5).exit_code is None


@pytest.mark.parametrize(
    ("ending", "deadline_s"), [("", 60), ("while True: pass", 5)], ids=["by itself", "by the deadline"]
)
def test_a_child_is_ended_with_the_program_that_started_it_and_delays_nothing(ending, deadline_s):
    start_child = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid, flush=True)\n"
    ended = run(start_child + ending, deadline_s=deadline_s)
    assert ended.exit_code == (None if ending else 0)
    deadline = time.monotonic() + 60
    while _lives(int(ended.stdout)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _lives(int(ended.stdout))


def _lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_program_that_is_not_there_is_an_error():
    with pytest.raises(FileNotFoundError):
        run_native(("absent-program",), cwd="/", environment={}, deadline_s=1, output_limit=1)

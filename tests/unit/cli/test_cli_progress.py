"""How runs get on, as people see it; and which of several exit codes decides."""

from types import SimpleNamespace

import pytest

from sandbox_runner.cli.progress import _Doing, _Lines, _Running, watching
from sandbox_runner.cli.run import gravest
from sandbox_runner.runner.progress import Phase, Progress
from sandbox_runner.world import Status

A, B = "20260101T000000Z-aaaaaaaaaaaa", "20260101T000000Z-bbbbbbbbbbbb"


def steps(run_id: str, total: int) -> list[Progress]:
    return [
        Progress(Phase.STEP, f"NOP {step}", step=step, total=total, run_id=run_id)
        for step in range(1, total + 1)
    ]


def test_without_a_terminal_each_station_and_each_tenth_is_a_plain_line(
    capsys: pytest.CaptureFixture,
) -> None:
    with watching(1) as tell:
        tell(Progress(Phase.ADMITTED, "work\x1b[31m.json\nfake", total=1000, run_id=A))
        for event in steps(A, 1000):
            tell(event)
        tell(Progress(Phase.CLOSED, "/record", run_id=A))
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[0] == r"admitted   work\x1b[31m.json\nfake"
    assert len(lines) == 1 + 10 + 1
    assert lines[10] == "step       901/1000 .. 1000/1000  100 done"


def test_plain_lines_say_which_steps_they_leave_out_and_what_came_of_them(capsys) -> None:
    with watching(1) as tell:
        for step in range(1, 41):
            status = Status.FAILED if step == 3 else Status.OK
            tell(Progress(Phase.STEP, "NOP", step=step, total=40, status=status, run_id=A))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "step       1/40 .. 4/40  3 ok, 1 failed"
    assert lines[-1] == "step       37/40 .. 40/40  4 ok"


def test_several_runs_are_told_apart_by_number_and_name(capsys: pytest.CaptureFixture) -> None:
    with watching(7) as tell:
        for run_id, trail in ((A, "one.json"), (B, "t\x1b.json"), (A, "one.json")):
            tell(Progress(Phase.SANDBOX, "runc", run_id=run_id, trail=trail))
    assert [line.partition("  ")[0] for line in capsys.readouterr().err.splitlines()] == [
        "1/7 one.json",
        r"2/7 t\x1b.json",
        "1/7 one.json",
    ]


def test_a_plain_log_tells_of_a_step_that_takes_long_while_it_runs(capsys, monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    lines = _Lines(1)
    lines.tell(Progress(Phase.RUNNING, "TEST_RUN tests/", step=5, total=9, run_id=A, limit_s=120.0))
    for now[0] in (5.0, 10.5, 12.0, 31.0, 61.0, 90.0, 121.0):
        lines.look_at_clock(_once())
    lines.tell(Progress(Phase.STEP, "fine", step=5, total=9, run_id=A))
    now[0] = 1000.0
    lines.look_at_clock(_once())
    said = [line for line in capsys.readouterr().err.splitlines() if "running" in line]
    assert said == [
        f"running    5/9  TEST_RUN tests/: {seconds} s of 120 s" for seconds in ("10", "31", "61", "121")
    ]


def _once():
    """Something that says at the second question that it is over."""
    answers = iter((False, True))
    return lambda _seconds: next(answers)


def test_on_a_terminal_the_step_that_runs_is_shown_with_its_time(monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr("sandbox_runner.cli.progress.time.monotonic", lambda: now[0])
    running = _Running.of(Progress(Phase.RUNNING, "TEST_RUN tests/", step=5, total=9, limit_s=120.0))
    task = SimpleNamespace(fields={"doing": running})
    assert str(_Doing(20).render(task)) == "TEST_RUN tests/"
    now[0] = 34.2
    assert str(_Doing(20).render(task)) == "TEST_RUN tests/  34 s of 120 s"


def test_on_a_terminal_there_is_one_bar_per_running_trail_and_a_total(monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with watching(2) as tell:
        bars = tell.__self__
        for run_id in (A, B):
            trail = "a.json" if run_id == A else "\x1b[2J"
            tell(Progress(Phase.STEP, "evil \x1b[2J", step=1, total=4, run_id=run_id, trail=trail))
        named = [task.description for task in bars._display.tasks]
        assert named == ["all runs", "1/2 a.json", r"2/2 \x1b[2J"]
        tell(Progress(Phase.CLOSED, "/record", run_id=A))
        assert [task.description for task in bars._display.tasks] == ["all runs", r"2/2 \x1b[2J"]
        assert bars._display.tasks[0].completed == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([], 0),
        ([0, 0], 0),
        ([0, 1], 1),
        ([1, 3], 3),
        ([3, 2], 2),
        ([2, 4], 4),
        ([4, 130, 0], 130),
        ([1, 3, 2, 4], 4),
    ],
)
def test_of_several_runs_the_gravest_exit_code_decides(codes: list[int], code: int) -> None:
    assert gravest(codes) == code

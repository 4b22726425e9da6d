"""How runs get on, as people see it; and which of several exit codes decides."""

import pytest

from sandbox_runner.cli.progress import watching
from sandbox_runner.cli.run import gravest
from sandbox_runner.runner.progress import Phase, Progress

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
    assert lines[10] == "step       NOP 1000 (1000/1000)"


def test_several_runs_are_told_apart_by_their_id(capsys: pytest.CaptureFixture) -> None:
    with watching(2) as tell:
        for run_id in (A, B):
            tell(Progress(Phase.SANDBOX, "runc", run_id=run_id))
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == [A, B]


def test_on_a_terminal_there_is_one_bar_per_running_trail_and_a_total(monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with watching(2) as tell:
        bars = tell.__self__
        for run_id in (A, B):
            tell(Progress(Phase.STEP, "evil \x1b[2J", step=1, total=4, run_id=run_id))
        assert [task.description for task in bars._display.tasks] == ["all runs", A[-12:], B[-12:]]
        assert all("\x1b" not in task.fields["said"] for task in bars._display.tasks)
        tell(Progress(Phase.CLOSED, "/record", run_id=A))
        assert [task.description for task in bars._display.tasks] == ["all runs", B[-12:]]
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

"""One step in full, and why a step failed: what its programs printed, safe on a terminal."""

import pytest

from sandbox_runner.cli.printed import tail_of
from sandbox_runner.errors import ExitCode
from sandbox_runner.record import RunStatus
from sandbox_runner.record.outputs import KeptOutput
from sandbox_runner.world.call import Outcome, Printed, Status

RUN = "20260104T000000Z-eeee"
NOISE = b"collected 2 items\n" + b"noise\n" * 9000 + b"E  assert 1 == 3\xff\x1b[2J\n\xe2\x80\xaeFAILED t.py\n"


@pytest.fixture
def failed_run(begin_run, calls) -> str:
    """Steps 2 to 4 of 5, the last of them a test that failed aloud."""
    (_, _, (call, outcome)) = calls
    printed = Printed(NOISE, len(NOISE), len(NOISE))
    told = Outcome(outcome.status, outcome.text, {"passed": 1, "failed": 1}, 1_500_000, {}, printed)
    begin_run(RUN, (*calls[:2], (call, told))).seal()
    return RUN


def test_a_failed_test_says_why_where_its_run_is_shown(cli, failed_run: str) -> None:
    out = cli("show", failed_run).out
    assert "step 4, TEST_RUN tests, printed at its end:" in out
    assert "| E  assert 1 == 3\ufffd\\x1b[2J" in out
    assert r"| \u202eFAILED t.py" in out
    assert f"all of it: sandbox-runner log {failed_run} 4" in out
    assert out.count("| noise") == 18
    assert "| … 53,910 bytes before this" in out, "how much stands before it"
    assert all(line.isprintable() for line in out.splitlines())


def test_what_matters_comes_first_and_digests_last(cli, failed_run: str) -> None:
    lines = cli("show", failed_run).out.splitlines()
    where = [next(at for at, line in enumerate(lines) if word in line) for word in ("FAILED", "| E", "agent")]
    digests = [at for at, line in enumerate(lines) if len(line.split()[-1:] and line.split()[-1]) == 64]
    assert where == sorted(where)
    assert min(digests) > where[-1]
    assert len(digests) == max(digests) - min(digests) + 1


def test_a_step_is_shown_in_full(cli, failed_run: str) -> None:
    out = cli("log", failed_run, 4).out
    assert out.startswith("FAILED  step 4 of 5  TEST_RUN\n")
    assert "test_path  tests" in out
    assert "1.5 ms" in out or "2 ms" in out
    assert out.count("| noise") == 9000
    assert out.endswith("  | E  assert 1 == 3\\xff\\x1b[2J\n  | \\u202eFAILED t.py\n")


def test_a_refused_step_tells_its_rule(cli, failed_run: str) -> None:
    out = cli("log", failed_run, 3).out
    assert "REFUSED  step 3 of 5  FILE_WRITE" in out
    assert "paths.normal" in out
    assert all(line.isprintable() for line in out.splitlines())


def test_the_bytes_of_a_step_are_had_raw(cli, failed_run: str, tmp_path) -> None:
    target = tmp_path / "out"
    assert cli("log", failed_run, 4, "-o", target).code == ExitCode.OK
    assert target.read_bytes() == NOISE
    assert target.stat().st_mode & 0o777 == 0o600
    assert cli("log", failed_run, 4, "--json").json["outputs"][0]["bytes"] == len(NOISE)


def test_raw_bytes_do_not_reach_a_terminal(cli, failed_run: str, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    ran = cli("log", failed_run, 4, "--raw")
    assert (ran.code, ran.out) == (ExitCode.BAD_INPUT, "")
    assert "-o FILE" in ran.err


@pytest.mark.parametrize("step", [0, 6, 99, "-1"])
def test_a_step_that_is_not_there_is_a_sentence_with_the_range(cli, failed_run: str, step) -> None:
    ran = cli("log", failed_run, "--", step)
    assert (ran.code, ran.out) == (ExitCode.BAD_INPUT, "")
    assert f"the run has no step {step}; its trail has the steps 1 to 5" in ran.err


def test_a_step_that_was_not_reached_says_so(cli, failed_run: str) -> None:
    assert "NOT REACHED  step 5 of 5" in cli("log", failed_run, 5).out


@pytest.mark.parametrize(
    "words", [("--raw",), ("-o", "x"), (4, "-f"), (4, "-n", 3), (4, "--json", "--raw"), ("four",)]
)
def test_what_makes_no_sense_is_refused(cli, failed_run: str, words) -> None:
    assert cli("log", failed_run, *words).code == ExitCode.BAD_INPUT


def test_a_step_that_printed_nothing_has_no_bytes(cli, failed_run: str) -> None:
    ran = cli("log", failed_run, 2, "--raw")
    assert ran.code == ExitCode.BAD_INPUT
    assert "step 2 printed nothing" in ran.err


def test_what_nobody_kept_is_told_in_its_place(cli, begin_run, calls) -> None:
    printed = Printed(b"begin\nend\n", 10**9, 6)
    outcome = Outcome(Status.FAILED, "test_run: ERROR", {}, 0, {}, printed)
    begin_run(RUN, [(calls[2][0], outcome)]).seal(RunStatus.FAILED)
    assert "  | begin\n  | [... 999,999,990 bytes not kept ...]\n  | end\n" in cli("log", RUN, 4).out
    ran = cli("log", RUN, 4, "-o", "/dev/null")
    assert "999,999,990 bytes of 1,000,000,000 were not kept, after byte 6" in ran.err
    assert "| end" in cli("show", RUN).out


def test_a_damaged_line_hides_no_other_fact_of_the_run(cli, failed_run: str, runs) -> None:
    path = runs / failed_run / "calls.jsonl"
    path.write_bytes(path.read_bytes().replace(b"1 failed", b"0 failed"))
    ran = cli("show", failed_run)
    assert ran.code == ExitCode.OK
    assert "what failed steps printed cannot be shown: calls.jsonl line 3 was changed" in ran.out


@pytest.mark.parametrize("width", [None, 30, 80])
def test_a_tail_is_bounded_in_lines_width_and_bytes(width) -> None:
    lines = tail_of(KeptOutput(b"x" * 5_000_000 + b"\n" + b"\x00" * 5_000_000), width=width)
    assert len(lines) <= 21
    assert all(len(line) <= (width or 160) for line in lines)
    assert tail_of(KeptOutput(b"one\ntwo\n\n\n")) == ["one", "two"]
    assert tail_of(KeptOutput(b"")) == []

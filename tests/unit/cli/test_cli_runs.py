"""Looking at past runs: which one is meant, its summary, its log."""

import threading
import time

import pytest

from sandbox_runner.cli.steps import subject
from sandbox_runner.errors import ExitCode
from sandbox_runner.record import RunStatus
from sandbox_runner.world.call import Outcome, Status

RUN = "20260102T000000Z-bbbb"


@pytest.fixture
def three_runs(begin_run) -> None:
    for name in ("20260101T000000Z-aaaa", RUN, "20260102T000001Z-cccc"):
        begin_run(name).seal()


@pytest.mark.parametrize("reference", ["last", "20260102T000001Z-cccc", "20260102T000001"])
def test_a_run_is_found_by_id_beginning_or_last(cli, three_runs, reference: str) -> None:
    assert cli("show", reference, "--json").json["run"]["run_id"] == "20260102T000001Z-cccc"


def test_a_run_is_found_by_its_directory(cli, three_runs, runs, monkeypatch) -> None:
    assert cli("show", runs / RUN, "--json").json["run"]["run_id"] == RUN
    monkeypatch.chdir(runs)
    assert cli("--home", "elsewhere", "show", RUN, "--json").json["run"]["run_id"] == RUN


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("2026010", "3 runs begin with '2026010'"),
        ("20260102T000001Z-ccxc", "did you mean '20260102T000001Z-cccc'?"),
        ("lsat", "did you mean 'last'?"),
        ("", "there is no run ''"),
        ("../../etc", "there is no run record at ../../etc"),
        ("nothing\x1b", r"there is no run 'nothing\x1b'"),
    ],
)
def test_a_run_that_is_not_there_is_one_sentence(cli, three_runs, reference: str, words: str) -> None:
    for command in ("show", "log"):
        ran = cli(command, reference)
        assert (ran.code, ran.out) == (ExitCode.BAD_INPUT, "")
        assert words in ran.err.splitlines()[0]


def test_last_without_any_run_says_how_to_make_one(cli) -> None:
    ran = cli("show", "last")
    assert ran.code == ExitCode.BAD_INPUT
    assert "there is no run yet" in ran.err


def test_another_tenants_run_is_not_found(cli, sealed_run: str) -> None:
    ran = cli("show", sealed_run, "--tenant", "other")
    assert ran.code == ExitCode.BAD_INPUT
    assert "there is no run" in ran.err


def test_show_tells_status_steps_troubles_digests_and_the_record(cli, sealed_run: str, runs) -> None:
    ran = cli("show", sealed_run)
    assert ran.code == ExitCode.OK
    assert "FAILED" in ran.out
    assert "5: 3 ok, 1 failed, 1 refused" in ran.out
    assert "[paths.normal]" in ran.out
    assert "test_run: ERROR 1 failed" in ran.out
    assert "ab" * 32 in ran.out
    assert str(runs / sealed_run) in ran.out
    assert "\x1b" not in ran.out, "strangers' escapes stay visible, and nobody asked for colours"
    assert r"/etc/\x1b[31mpasswd\n" in ran.out


@pytest.mark.parametrize(
    ("privileges", "words"),
    [
        ({"withheld": ["no git: \x1b[2J", "no search"]}, r"no git: \x1b[2J; no search"),
        ({"withheld": 7}, ""),
        ([], ""),
    ],
)
def test_show_tells_what_was_withheld_whoever_wrote_the_record(
    cli, write_record, runs, privileges, words: str
) -> None:
    record = write_record(runs, options={"privileges": privileges})
    ran = cli("show", record)
    assert ran.code == ExitCode.OK
    assert words in ran.out
    assert ("withheld" in ran.out) is bool(words)


def test_show_of_an_unsealed_run_says_that_it_was_interrupted(cli, begin_run) -> None:
    begin_run(RUN).abandon()
    ran = cli("show", "last")
    assert ran.code == ExitCode.OK
    assert "INTERRUPTED" in ran.out


def test_a_damaged_record_is_a_failed_verification(cli, sealed_run: str, runs) -> None:
    path = runs / sealed_run / "result.json"
    path.write_bytes(path.read_bytes()[:-20])
    ran = cli("show", sealed_run)
    assert (ran.code, ran.out) == (ExitCode.NOT_VERIFIED, "")
    assert "result.json" in ran.err


def test_the_log_has_a_line_for_each_call_with_status_and_subject(cli, sealed_run: str) -> None:
    lines = cli("log", sealed_run).out.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["2", "ok", "FILE_READ"],
        ["3", "refused", "FILE_WRITE"],
        ["4", "failed", "TEST_RUN"],
    ]
    assert "src/a.py" in lines[0]
    assert all(line.isprintable() for line in lines)


def test_the_log_as_json_is_the_lines_content(cli, sealed_run: str) -> None:
    lines = cli("log", sealed_run, "--json").json_lines
    assert [line["fact"]["status"] for line in lines] == ["ok", "refused", "failed"]
    assert all(line.keys() == {"fact", "meta", "digest"} for line in lines)


def test_the_log_can_be_cut_to_its_end(cli, sealed_run: str) -> None:
    assert len(cli("log", sealed_run, "-n", 1).out.splitlines()) == 1
    assert "TEST_RUN" in cli("log", sealed_run, "-f", "--tail", 1).out


def test_a_changed_line_ends_the_log_as_a_failed_verification(cli, sealed_run: str, runs) -> None:
    path = runs / sealed_run / "calls.jsonl"
    path.write_bytes(path.read_bytes().replace(b"file_read: 12", b"file_read: 13"))
    for flags in ([], ["-f"]):
        ran = cli("log", sealed_run, *flags)
        assert ran.code == ExitCode.NOT_VERIFIED
        assert "calls.jsonl line 1" in ran.err


def test_following_shows_the_calls_that_come_until_the_run_is_over(cli, begin_run, calls) -> None:
    draft = begin_run(RUN, calls[:1])

    def go_on() -> None:
        time.sleep(0.3)
        for call, outcome in calls[1:]:
            draft.call(call, outcome)
        draft.seal()

    writer = threading.Thread(target=go_on)
    writer.start()
    try:
        ran = cli("log", "last", "-f", "--json")
    finally:
        writer.join()
    assert [line["fact"]["step"] for line in ran.json_lines] == [1, 2, 3]


def test_following_a_run_whose_owner_died_ends(cli, begin_run) -> None:
    begin_run(RUN).abandon()
    assert len(cli("log", "last", "-f").out.splitlines()) == 3


def test_the_table_of_runs_has_the_newest_first(cli, three_runs) -> None:
    lines = cli("runs").out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "RUN",
        "20260102T000001Z-cccc",
        RUN,
        "20260101T000000Z-aaaa",
    ]
    assert all(line.isprintable() for line in lines)


def test_the_table_says_how_many_older_runs_it_leaves_out(cli, three_runs) -> None:
    ran = cli("runs", "-n", 1)
    assert len(ran.out.splitlines()) == 2
    assert "2 older runs" in ran.err
    assert len(cli("runs", "-n", 1, "--all", "--json").json_lines) == 3


def test_a_damaged_run_stands_in_the_table_as_damaged(cli, three_runs, runs) -> None:
    (runs / RUN / "run.json").write_text("{}")
    ran = cli("runs")
    assert ran.code == ExitCode.OK
    assert "damaged" in ran.out
    assert [line["status"] for line in cli("runs", "--json").json_lines] == ["failed", "damaged", "failed"]


def test_no_runs_are_an_empty_table_and_a_word_on_stderr(cli) -> None:
    ran = cli("runs")
    assert (ran.code, ran.out) == (ExitCode.OK, "")
    assert "there is no run yet" in ran.err
    assert cli("runs", "--json").out == ""


@pytest.mark.parametrize(
    ("opcode", "arguments", "name"),
    [
        ("GIT_COMMIT", {"repo": "0", "message": "Fix it"}, "Fix it"),
        ("GIT_PUSH", {"repo": "0"}, "0"),
        ("LEVEL_UP", {"agent": "ann", "level": 3}, "ann"),
        ("FILE_WRITE", {"path": {"head": "long", "bytes": 900, "sha256": "x"}, "content": "y"}, "long…"),
        ("NOP", {}, ""),
        ("UNKNOWN", {"x": "y"}, "y"),
    ],
)
def test_a_step_is_named_by_the_operand_that_tells_it_from_others(
    opcode: str, arguments: dict, name: str
) -> None:
    assert subject(opcode, arguments) == name


def test_of_many_troubles_a_dozen_are_named_and_the_rest_counted(cli, begin_run) -> None:
    draft = begin_run(RUN, ())
    violations = tuple(
        {"step": step, "opcode": "FILE_READ", "rule": "opcodes", "message": "no"} for step in range(40)
    )
    draft.seal(RunStatus.REFUSED, violations=violations)
    out = cli("show", "last").out
    assert out.count("[opcodes]") == 12 - 2, "the two failed and refused events come first"
    assert "and 28 more steps" in out


def test_an_outcome_without_status_look_is_harmless(cli, begin_run, calls) -> None:
    draft = begin_run(RUN, [(calls[0][0], Outcome(Status.SKIPPED, "file_read: skipped"))])
    draft.abandon()
    assert "skipped" in cli("log", "last").out

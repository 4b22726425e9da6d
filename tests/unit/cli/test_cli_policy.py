"""Policies on the command line: listed, shown, explained, tried on past runs; and admission."""

import json
from pathlib import Path

import pytest

from sandbox_runner.errors import ExitCode
from sandbox_runner.policy import SHIPPED, Policy

BEGIN = {"op": "TRAIL_BEGIN", "agent": "ann", "trail_id": "t", "ts": 1_753_000_000}
END = {"op": "TRAIL_END", "status": 0}
HOSTILE = Path("tests/data/examples/hostile/worklog.json")
NEEDS = {
    "opcodes",
    "reads",
    "writes",
    "searches",
    "tests",
    "repositories",
    "pushes",
    "bottles",
    "spells",
    "rooms",
    "capabilities",
    "write_bytes",
}


def test_the_shipped_policies_are_listed(cli) -> None:
    out = cli("policy", "list").out
    assert all(name in out for name in SHIPPED)
    assert [item["name"] for item in cli("policy", "list", "--json").json] == list(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_policy_as_shown_is_a_file_that_means_the_same(cli, name: str, tmp_path: Path) -> None:
    path = tmp_path / "shown.yaml"
    path.write_text(cli("policy", "show", name).out)
    assert Policy.load(path).sha256 == Policy.load(name).sha256
    assert cli("policy", "show", name, "--json").json["sha256"] == Policy.load(name).sha256


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["FILE_WRITE", "src/a.py", "-p", "strict"], ExitCode.OK, "allowed by paths.write"),
        (["file_write", "src/a.py", "-p", "read-only"], ExitCode.REFUSED, "refused by opcodes"),
        (["FILE_WRITE", "../etc/passwd", "-p", "default"], ExitCode.REFUSED, "refused by paths.form"),
        (["FILE_READ", ".git/config", "-p", "default"], ExitCode.REFUSED, "refused by paths.git"),
        (["GIT_PUSH", "0", "-p", "strict"], ExitCode.REFUSED, "refused by"),
    ],
)
def test_explain_names_the_rule_that_decides(cli, argv: list[str], code: int, words: str) -> None:
    ran = cli("policy", "explain", *argv)
    assert ran.code == code
    assert words in ran.out
    told = cli("policy", "explain", *argv, "--json").json
    assert told["allowed"] is (code == ExitCode.OK)
    assert told["rule"] in ran.out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["FILE_WRIET", "a"], "'FILE_WRIET' is no operation; did you mean 'FILE_WRITE'?"),
        (["FILE_READ", "a", "b"], "FILE_READ with these operands cannot be judged"),
        (["TEST_RUN", "tests", "many"], "TEST_RUN with these operands cannot be judged"),
        ([], "takes an operation with its operands, or --runs DIR"),
        (["FILE_READ", "a", "--runs", "."], "takes an operation with its operands, or --runs DIR"),
        (["FILE_READ", "a", "-p", "strcit"], "did you mean"),
    ],
)
def test_what_cannot_be_explained_is_one_sentence(cli, argv: list[str], words: str) -> None:
    ran = cli("policy", "explain", *argv)
    assert (ran.code, ran.out) == (ExitCode.BAD_INPUT, "")
    assert words in ran.err


def test_the_policy_can_come_from_a_variable(cli, monkeypatch) -> None:
    monkeypatch.setenv("SANDBOX_RUNNER_POLICY", "read-only")
    assert cli("policy", "explain", "FILE_WRITE", "src/a.py").code == ExitCode.REFUSED
    assert cli("policy", "explain", "FILE_WRITE", "src/a.py", "-p", "strict").code == ExitCode.OK


def test_check_names_every_violation_of_the_hostile_example_at_once(cli) -> None:
    ran = cli("check", HOSTILE, "-p", "default", "--json")
    assert ran.code == ExitCode.REFUSED
    verdict = ran.json
    assert verdict["admitted"] is False
    assert [item["step"] for item in verdict["violations"]] == [2, 3, 4]
    assert all(item.keys() >= {"step", "opcode", "rule", "message"} for item in verdict["violations"])
    assert verdict["needs"].keys() >= NEEDS
    assert {"trail_sha256", "policy", "policy_sha256"} <= verdict.keys()
    human = cli("check", HOSTILE, "-p", "default")
    assert human.code == ExitCode.REFUSED
    assert human.out.startswith("REFUSED  worklog.json by default")
    assert human.out.count("[paths.") == 3


def test_check_admits_what_the_policy_allows_and_tells_what_it_needs(cli, tmp_path: Path) -> None:
    path = tmp_path / "w.json"
    path.write_text(
        json.dumps([BEGIN, {"op": "FILE_WRITE", "path": "src/\x1ba.py", "content": "x" * 2048}, END])
    )
    ran = cli("check", path, "-p", "unsafe-open")
    path.write_text(json.dumps([BEGIN, {"op": "FILE_WRITE", "path": "src/a.py", "content": "x" * 2048}, END]))
    ran = cli("check", path, "-p", "strict")
    assert ran.code == ExitCode.OK
    assert ran.out.startswith("ADMITTED")
    assert "1 FILE_WRITE" in ran.out
    assert "2.0 KiB" in ran.out
    assert all(line.isprintable() for line in ran.out.splitlines())


def test_an_open_policy_warns_and_stdout_stays_json(cli, tmp_path: Path) -> None:
    ran = cli("check", HOSTILE, "-p", "unsafe-open", "--json")
    assert isinstance(ran.json, dict)
    assert "unsafe" in ran.err


@pytest.mark.parametrize(
    ("trail", "policy", "words"),
    [
        ("missing.json", "strict", "missing.json"),
        (HOSTILE, "missing.yaml", "missing.yaml"),
        (HOSTILE, "strcit", "did you mean"),
        (Path("tests"), "strict", "directory"),
    ],
)
def test_bad_input_for_check_is_exit_2(cli, trail: Path, policy: str, words: str) -> None:
    ran = cli("check", trail, "-p", policy, "--json")
    assert (ran.code, ran.out) == (ExitCode.BAD_INPUT, "")
    assert words in ran.err


def test_a_policy_with_an_unknown_key_names_its_line(cli, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("policy: 1\nname: mine\nopcode: [NOP]\n")
    ran = cli("check", HOSTILE, "-p", path)
    assert (ran.code, ran.out) == (ExitCode.BAD_INPUT, "")
    assert "p.yaml:3" in ran.err
    assert "opcodes" in ran.err


def test_explain_runs_says_what_a_policy_would_have_refused(cli, trail_run, runs: Path) -> None:
    ran = cli("policy", "explain", "--runs", runs, "-p", "read-only", "--json")
    assert ran.code == ExitCode.REFUSED
    assert ran.json["run_id"] == trail_run
    assert [item["opcode"] for item in ran.json["violations"]] == ["FILE_WRITE"]
    assert cli("policy", "explain", "--runs", runs, "-p", "strict").code == ExitCode.OK


def test_explain_runs_of_no_directory_is_bad_input(cli, tmp_path: Path) -> None:
    ran = cli("policy", "explain", "--runs", tmp_path / "none", "-p", "strict")
    assert ran.code == ExitCode.BAD_INPUT
    assert "there is no directory" in ran.err


def test_explain_runs_leaves_out_what_cannot_be_read_and_says_so(cli, sealed_run: str, runs: Path) -> None:
    ran = cli("policy", "explain", "--runs", runs, "-p", "strict")
    assert ran.code == ExitCode.OK
    assert f"left out: {sealed_run}" in ran.err

"""The program as a whole: help, version, usage errors, lazy loading, shared options."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sandbox_runner.cli import app
from sandbox_runner.cli.commands import COMMANDS
from sandbox_runner.errors import ExitCode

CODE = "import sys, json; from sandbox_runner.cli import main; main({!r}); "
LOADED = CODE + "print(json.dumps(sorted(sys.modules)))"


def modules_after(*argv: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(list(argv))],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("argv", [["--version"], ["--help"]])
def test_what_needs_no_command_loads_none(argv: list[str]) -> None:
    loaded = modules_after(*argv)
    assert not loaded & {"docker", "pydantic", "rich", "yaml", "cryptography", "structlog"}
    assert not {
        name
        for name in loaded
        if name.startswith("sandbox_runner.") and name.split(".")[1] not in {"cli", "errors", "visible"}
    }


def test_showing_a_trail_does_not_load_docker(tmp_path: Path) -> None:
    worklog = tmp_path / "w.json"
    worklog.write_text('[{"op": "TRAIL_BEGIN", "agent": "a", "trail_id": "t", "ts": 1}, {"op": "TRAIL_END"}]')
    assert "docker" not in modules_after("trail", "show", str(worklog))


def test_the_version_is_one_line(cli) -> None:
    ran = cli("--version")
    assert ran.code == ExitCode.OK
    assert ran.out.startswith("sandbox-runner ")
    assert ran.out.count("\n") == 1


def test_the_help_names_every_command_and_every_exit_code(cli) -> None:
    ran = cli("--help")
    assert ran.code == ExitCode.OK
    for name, entry in COMMANDS.items():
        assert f"  {name} " in ran.out
        assert entry.summary in ran.out
    for code in ExitCode:
        assert f"{code.value}" in ran.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_and_takes_the_shared_options(cli, name: str) -> None:
    ran = cli(name, "--help")
    assert ran.code == ExitCode.OK, ran.err
    assert ran.out.startswith(f"Usage: sandbox-runner {name}")


@pytest.mark.parametrize("name", ["trail", "policy", "snapshot", "keys", "image"])
def test_a_group_without_a_command_shows_its_help_and_is_a_usage_error(cli, name: str) -> None:
    ran = cli(name)
    assert (ran.code, ran.out) == (ExitCode.BAD_INPUT, "")
    assert "Commands:" in ran.err


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["rnu"], "sandbox-runner has no command 'rnu'; did you mean 'run'?"),
        (["trail", "shwo"], "sandbox-runner trail has no command 'shwo'; did you mean 'show'?"),
        (["--hoem", "x"], "sandbox-runner has no option '--hoem'; did you mean '--home'?"),
        (
            ["run", "t", "--polcy", "x"],
            "sandbox-runner run has no option '--polcy'; did you mean '--policy'?",
        ),
        (["run", "-z"], "sandbox-runner run has no option '-z'"),
        (["run"], "sandbox-runner run: TRAIL is missing"),
        (["check"], "sandbox-runner check: TRAIL is missing"),
        (["run", "t", "-j", "x"], "sandbox-runner run: --jobs/-j:"),
        (["run", "t", "--policy"], "sandbox-runner: option '--policy' requires an argument"),
        (["show", "a", "b"], "sandbox-runner show: got unexpected extra argument(s) (b)"),
        (["evil\x1b[2J\n"], r"sandbox-runner has no command 'evil\x1b[2J\n'"),
    ],
)
def test_a_usage_error_is_one_sentence_that_names_the_nearest(cli, argv: list[str], sentence: str) -> None:
    ran = cli(*argv)
    assert (ran.code, ran.out) == (ExitCode.BAD_INPUT, "")
    first, *rest = ran.err.splitlines()
    assert first.startswith(f"error: {sentence}")
    assert [line.partition(":")[0] for line in rest] == ["hint"]


def test_shared_options_stand_before_or_behind_the_command(cli, tmp_path: Path) -> None:
    broken = tmp_path / "s.yaml"
    broken.write_text("polcy: strict\n")
    for argv in (["--config", broken, "runs"], ["runs", "--config", broken]):
        ran = cli(*argv)
        assert ran.code == ExitCode.BAD_INPUT
        assert "s.yaml:1: there is no setting 'polcy'" in ran.err


def test_of_two_equal_options_the_one_behind_the_command_counts(cli, tmp_path: Path) -> None:
    cli("--home", tmp_path / "one", "runs", "--home", tmp_path / "two")
    assert (tmp_path / "two").is_dir()
    assert not (tmp_path / "one").exists()


def test_the_typer_object_has_the_same_boundary() -> None:
    result = CliRunner().invoke(app, ["rnu"])
    assert result.exit_code == ExitCode.BAD_INPUT
    assert result.stdout == ""
    assert "did you mean 'run'?" in result.stderr


def test_debug_shows_where_an_error_comes_from(cli) -> None:
    assert "Traceback" in cli("--debug", "rnu").err
    assert "Traceback" not in cli("rnu").err

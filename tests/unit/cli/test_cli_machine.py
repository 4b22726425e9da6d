"""Keys, doctor, image and clean, as far as they go without Docker."""

import gc
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox_runner.errors import ExitCode

EXAMPLE = "tests/data/examples/bugfix/worklog.json"
NOWHERE = "unix:///nowhere/docker.sock"

# docker-py leaves the socket of a connection that failed to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture
def no_docker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DOCKER_HOST", NOWHERE)
    yield
    gc.collect()


@pytest.mark.parametrize(
    "argv",
    [["image", "list"], ["image", "build"], ["clean"], ["clean", "--dry-run"], ["image", "list", "--json"]],
)
def test_without_docker_a_command_is_one_sentence_with_a_way_out(cli, no_docker, argv: list[str]) -> None:
    ran = cli(*argv)
    assert (ran.code, ran.out) == (ExitCode.SANDBOX_FAILED, "")
    first, second = ran.err.splitlines()
    assert first.startswith("error: Docker cannot be reached")
    assert second.startswith("hint: start Docker")


def test_a_run_without_docker_is_exit_4_and_leaves_no_record(cli, no_docker, runs: Path) -> None:
    ran = cli("run", EXAMPLE, "--json")
    assert ran.code == ExitCode.SANDBOX_FAILED
    assert ran.json["status"] == "error"
    assert ran.json["exit_code"] == 4
    assert "Docker cannot be reached" in ran.err
    assert not runs.exists() or list(runs.iterdir()) == []


def test_doctor_without_docker_tells_the_way_out(cli, no_docker) -> None:
    ran = cli("doctor")
    assert ran.code == ExitCode.SANDBOX_FAILED
    assert "BAD   docker" in ran.out
    assert "way out: start Docker" in ran.out
    told = cli("doctor", "--json").json
    assert told["ok"] is False
    assert {check["name"] for check in told["checks"]} == {"host", "state", "docker"}


def test_doctor_notices_a_state_directory_that_cannot_be_used(cli, no_docker, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told = cli("doctor", "--json", "--home", tmp_path / "file").json
    state = next(check for check in told["checks"] if check["name"] == "state")
    assert state["health"] == "bad"
    assert "SANDBOX_RUNNER_HOME" in state["hint"]


def test_the_key_is_made_once_and_shown_as_pem(cli, home: Path) -> None:
    first = cli("keys", "show")
    assert first.out.startswith("-----BEGIN PUBLIC KEY-----")
    assert cli("keys", "show").out == first.out
    private = home / "keys" / "signing.pem"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert private.read_text().splitlines()[1] not in first.out + first.err


def test_a_new_key_replaces_the_old_and_keeps_trusting_it(cli) -> None:
    old = cli("keys", "show", "--json").json["id"]
    new = cli("keys", "new", "--json").json["id"]
    told = cli("keys", "show", "--json").json
    assert told["id"] == new != old
    assert sorted(told["trusted"]) == sorted([old, new])


def test_a_colleagues_key_can_be_trusted(cli, tmp_path: Path) -> None:
    theirs = cli("keys", "show", "--home", tmp_path / "theirs")
    path = tmp_path / "colleague.pub"
    path.write_text(theirs.out)
    assert cli("keys", "trust", path).code == ExitCode.OK
    assert len(cli("keys", "show", "--json").json["trusted"]) == 2


def test_what_is_no_public_key_is_not_trusted(cli, tmp_path: Path) -> None:
    path = tmp_path / "k"
    path.write_text("junk")
    for name in (path, tmp_path / "none"):
        ran = cli("keys", "trust", name)
        assert (ran.code, ran.out) == (ExitCode.BAD_INPUT, "")


@pytest.mark.parametrize(
    ("mode", "content", "words"),
    [
        (0o644, "x", "can be read by others"),
        (
            0o600,
            "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n",
            "holds no Ed25519 private key",
        ),
        (None, "", "cannot be read"),
    ],
)
def test_a_signing_key_that_cannot_be_used_is_named_and_not_quoted(
    cli, tmp_path, mode, content, words
) -> None:
    path = tmp_path / "key.pem"
    if mode is not None:
        path.write_text(content)
        path.chmod(mode)
    ran = cli("run", EXAMPLE, "--key", path)
    assert (ran.code, ran.out) == (ExitCode.BAD_INPUT, "")
    assert words in ran.err
    assert "c2VjcmV0" not in ran.err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["-w", ".", "--from", "abcd"], "not both"),
        (["--bind"], "needs the directory to work in"),
        (["--label", "novalue"], "takes NAME=VALUE"),
        (["-p", "strcit"], "did you mean"),
        (["-w", "no/such/dir"], "no/such/dir"),
        (["--from", "deadbeef"], "deadbeef"),
        (["--tenant", "../x"], "tenant"),
    ],
)
def test_bad_input_for_run_is_one_sentence_and_leaves_nothing(cli, no_docker, runs, argv, words) -> None:
    ran = cli("run", EXAMPLE, *argv)
    assert (ran.code, ran.out) == (ExitCode.BAD_INPUT, "")
    assert words in ran.err
    assert len(ran.err.splitlines()) <= 3
    assert not runs.exists() or list(runs.iterdir()) == []


def test_a_reader_that_goes_away_ends_the_program_quietly(tmp_path: Path) -> None:
    comments = [{"op": "COMMENT", "comment": f"number {number}"} for number in range(20_000)]
    begin = {"op": "TRAIL_BEGIN", "agent": "ann", "trail_id": "t", "ts": 1}
    worklog = tmp_path / "long.json"
    worklog.write_text(json.dumps([begin, *comments, {"op": "TRAIL_END"}]))
    argv = [sys.executable, "-m", "sandbox_runner.cli", "trail", "show", str(worklog)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 128 + signal.SIGPIPE


def test_a_full_disk_under_stdout_is_one_sentence() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            [sys.executable, "-m", "sandbox_runner.cli", "policy", "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == ExitCode.BAD_INPUT
    assert done.stderr.startswith(
        "error: the answer could not be written to stdout: No space left on device\nhint: "
    )


def test_no_color_and_pipes_have_no_escapes_and_a_terminal_has() -> None:
    code = "import pty, sys; sys.exit(pty.spawn([sys.executable, '-m', 'sandbox_runner.cli', 'rnu']) >> 8)"
    plain = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm"}
    for environ, coloured in (
        (plain, True),
        ({**plain, "NO_COLOR": "1"}, False),
        ({**plain, "TERM": "dumb"}, False),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, env=environ, check=False, timeout=60
        )
        assert done.returncode == ExitCode.BAD_INPUT
        assert (b"\x1b[31" in done.stdout) is coloured

"""Every command with each of its arguments wrong in every way: a sentence and an exit code, no traceback.

The commands and what they take are read from the program itself, so that a new one is swept by itself.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from sandbox_runner.cli.app import app
from sandbox_runner.errors import DockerError, ExitCode

from .test_cli_streams import WELL, started

CODES = {*ExitCode, 141}
SANE = {
    **dict.fromkeys(("TRAIL", "WORKLOG"), "well.json"),
    "RUN": "last",
    "SNAPSHOT": "none",
    "A": "none",
    "B": "none",
    "POLICY": "default",
    "OPCODE": "FILE_READ",
    "DIR": "new",
    "FILE": "new.out",
    "SOURCE": "empty",
    "PUB": "empty",
    "OPERAND": "a.txt",
    "N": "1",
}
"""What is good enough for the other arguments while one is wrong, by the name that the help shows."""
WRONG = (
    *("missing", "folder", "binary", "empty", "latin1", "unreadable", "loop", "well.json/x", "/dev/full"),
    *("-", "", " ", "-1", "0", "9" * 30, "nan", "../..", "x\udcff", "\u202ex", "a" * 5000, "=", "*[!"),
)


def leaves(command: Any, words: tuple[str, ...], context: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "list_commands"):
        yield words, command
        return
    for name in command.list_commands(context):
        yield from leaves(command.get_command(context, name), (*words, name), context)


_ROOT = get_command(app)
COMMANDS = dict(leaves(_ROOT, (), _ROOT.make_context("sandbox-runner", [], resilient_parsing=True)))
SHARED = {"--config", "--home", "--tenant", "--debug"}


def arguments(command: Any, wrong: Any = None, value: str = "") -> list[str]:
    """The words behind a command: what it must have, and one parameter with this value."""
    words, options = [], []
    for param in command.params:
        is_option = param.param_type_name == "option"
        given = value if param is wrong else SANE.get(param.metavar or "", "x")
        if is_option and (param is wrong or param.required):
            options += [f"{param.opts[0]}={given}"]
        elif not is_option and (param is wrong or param.required):
            words.append(given)
    dry = ["--dry-run"] if any("--dry-run" in param.opts for param in command.params) else []
    return [*options, *dry, "--", *words]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SANDBOX_RUNNER_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    Path("well.json").write_text(json.dumps(WELL))
    Path("folder").mkdir()
    Path("binary").write_bytes(os.urandom(300))
    Path("empty").touch()
    Path("latin1").write_bytes('[{"op": "é"}]\npolicy: é'.encode("latin-1"))
    Path("unreadable").write_text("x")
    Path("unreadable").chmod(0)
    Path("loop").symlink_to("loop")

    def absent(*_given: object, **_named: object) -> None:
        raise DockerError("there is no Docker in this test")

    monkeypatch.setattr("sandbox_runner.sandbox.engine.Engine.connect", absent)

    def late(*_given: object) -> None:
        raise TimeoutError("a command takes longer than two minutes for all that is wrong")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(120)
    yield tmp_path
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.long
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_whatever_is_wrong_with_an_argument_is_a_sentence_and_an_exit_code(words: tuple[str, ...]) -> None:
    command = COMMANDS[words]
    assert started("run", "well.json", "--dry-run").code == 0
    for param in command.params:
        if getattr(param, "is_flag", False) or (SHARED.intersection(param.opts) and words != ("runs",)):
            continue
        for value in WRONG:
            ran = started(*words, *arguments(command, param, value), stdin="closed")
            told = f"{words} {param.opts} {value[:20]!a}: {ran.code} {ran.err}"
            assert ran.code in CODES, told
            assert "Traceback" not in ran.err + ran.out, told
            assert "unexpected" not in ran.err, told
            if ran.code == ExitCode.BAD_INPUT:
                assert re.search(r"^error: .*\w", ran.err, re.MULTILINE), told


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_command_minds_what_its_streams_are(words: tuple[str, ...]) -> None:
    assert started("run", "well.json", "--dry-run").code == 0
    line = (*words, *arguments(COMMANDS[words]))
    usual = started(*line).code
    assert usual in CODES
    for stdin, stdout, stderr in (
        ("closed", "closed", "closed"),
        ("file", "full", "file"),
        ("file", "no reader", "no reader"),
        ("file", "file", "full"),
    ):
        ended = started(*line, stdin=stdin, stdout=stdout, stderr=stderr)
        assert ended.code in {usual, 2, 141} if usual in {0, 2} else {usual, 141}, (line, stdout, ended)
        assert "Traceback" not in ended.err
        assert "unexpected" not in ended.err

"""Trails on the command line: compiled, listed, verified, joined, converted."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox_runner.errors import ExitCode
from sandbox_runner.replay import TrailExecutor
from sandbox_runner.world import MockWorld

BEGIN = {"op": "TRAIL_BEGIN", "agent": "ann", "trail_id": "t", "ts": 1_753_000_000}
END = {"op": "TRAIL_END", "status": 0}
EVIL = 'src/"a"\n\x1b[2J\u202etxt.py'
EXAMPLES = sorted(Path("tests/data/examples").glob("*/worklog.json*"))


@pytest.fixture
def worklog(tmp_path: Path) -> Path:
    path = tmp_path / "work.json"
    path.write_text(json.dumps([BEGIN, {"op": "FILE_READ", "path": EVIL}, END]))
    return path


@pytest.fixture
def trail(cli, worklog: Path) -> Path:
    assert cli("trail", "compile", worklog).code == ExitCode.OK
    return worklog.with_suffix(".flux")


def test_compile_writes_beside_the_worklog_and_says_what(cli, worklog: Path) -> None:
    ran = cli("trail", "compile", worklog)
    path = worklog.with_suffix(".flux")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert ran.out == f"{path}: version 1, 3 steps, {path.stat().st_size} B, sha256 {digest}\n"
    assert ran.err == ""


def test_compile_can_force_a_version_and_name_the_output(cli, worklog: Path, tmp_path: Path) -> None:
    for version in ("1", "2"):
        facts = cli("trail", "compile", worklog, "--format", version, "-o", tmp_path / "x", "--json").json
        assert facts["version"] == int(version)
        assert facts["sha256"] == hashlib.sha256((tmp_path / "x").read_bytes()).hexdigest()


def test_a_trail_can_go_through_pipes(worklog: Path) -> None:
    argv = [sys.executable, "-m", "sandbox_runner.cli", "trail", "compile", "-", "-o", "-"]
    done = subprocess.run(argv, input=worklog.read_bytes(), capture_output=True, check=True, timeout=60)
    assert done.stdout[0] == 0xA0
    assert b"version 1, 3 steps" in done.stderr


def test_a_failed_compile_leaves_no_file(cli, tmp_path: Path) -> None:
    path = tmp_path / "w.json"
    path.write_text(json.dumps([BEGIN, {"op": "FILE_READ", "paht": "x"}, END]))
    ran = cli("trail", "compile", path)
    assert (ran.code, ran.out) == (ExitCode.BAD_INPUT, "")
    assert ran.err.startswith(f"error: {path}: entry 2, line 1: ")
    assert list(tmp_path.iterdir()) == [path]


def test_a_target_that_cannot_be_written_is_one_sentence_and_nothing_is_left(cli, worklog: Path) -> None:
    ran = cli("trail", "compile", worklog, "-o", "/proc/none/x")
    assert ran.code == ExitCode.BAD_INPUT
    assert ran.err.startswith("error: /proc/none/x cannot be written")


@pytest.mark.parametrize("form", ["text", "hex", "verbose", "compact"])
def test_no_listing_can_act_on_a_terminal(cli, trail: Path, form: str) -> None:
    out = cli("trail", "show", trail, "--format", form).out
    assert all(line.isprintable() for line in out.splitlines())
    assert "FILE_READ" in out


def test_a_worklog_is_shown_as_the_trail_it_makes(cli, worklog: Path, trail: Path) -> None:
    assert cli("trail", "show", worklog).out == cli("trail", "show", trail).out


def test_a_worklog_with_a_byte_order_mark_is_a_worklog(cli, worklog: Path) -> None:
    plain = cli("trail", "show", worklog).out
    worklog.write_bytes(b"\xef\xbb\xbf" + worklog.read_bytes())
    assert cli("trail", "show", worklog).out == plain


def test_a_trail_as_json_has_its_steps_with_resolved_arguments(cli, trail: Path) -> None:
    shown = cli("trail", "show", trail, "--json").json
    assert shown["sha256"] == hashlib.sha256(trail.read_bytes()).hexdigest()
    assert shown["total_steps"] == 3
    assert shown["steps"][1]["opcode"] == "FILE_READ"
    assert shown["steps"][1]["arguments"] == {"path": EVIL}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\x00junk", "0x00"),
        (b"\xa0\x01", "cut off"),
        (b"[1]", "entry 1, line 1: "),
        (b'{"op":', "entry 1, line 1: "),
    ],
)
@pytest.mark.parametrize("command", ["show", "convert", "concat"])
def test_what_is_no_trail_is_one_sentence(
    cli, tmp_path: Path, command: str, content: bytes, words: str
) -> None:
    path = tmp_path / "bad"
    path.write_bytes(content)
    argv = {
        "show": [path],
        "convert": [path, "-o", tmp_path / "o"],
        "concat": [path, path, "-o", tmp_path / "o"],
    }
    ran = cli("trail", command, *argv[command])
    assert (ran.code, ran.out) == (ExitCode.BAD_INPUT, "")
    assert ran.err.startswith("error: ")
    assert len(ran.err.splitlines()) <= 2
    if command == "show":
        assert words in ran.err
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("command", ["show", "verify", "compile", "convert"])
def test_a_missing_file_and_a_directory_are_named(cli, tmp_path: Path, command: str) -> None:
    for name in ("missing", "."):
        ran = cli(
            "trail", command, tmp_path / name, *(["-o", tmp_path / "o"] if command == "convert" else [])
        )
        assert ran.code == ExitCode.BAD_INPUT
        assert str(tmp_path / name) in ran.err


def test_a_sound_trail_verifies_and_a_damaged_one_does_not(cli, trail: Path) -> None:
    assert cli("trail", "verify", trail).code == ExitCode.OK
    trail.write_bytes(trail.read_bytes().replace(b"src/", b"etc/"))
    ran = cli("trail", "verify", trail, "--json")
    assert ran.code == ExitCode.NOT_VERIFIED
    assert ran.json["ok"] is False
    assert ran.json["findings"]
    human = cli("trail", "verify", trail)
    assert human.out.startswith("FAILED")
    assert all(line.isprintable() for line in human.out.splitlines())


def test_three_trails_that_prove_each_other_are_a_chain(cli, trail: Path, tmp_path: Path) -> None:
    links = [trail]
    for number in (1, 2):
        result = TrailExecutor(MockWorld(), links[-1].read_bytes()).execute()
        links.append(tmp_path / f"meta{number}.flux")
        links[-1].write_bytes(result.execution_trail)
    assert cli("trail", "verify", "--chain", *links).code == ExitCode.OK
    ran = cli("trail", "verify", "--chain", links[0], links[2], links[1], "--json")
    assert ran.code == ExitCode.NOT_VERIFIED
    assert [line["ok"] for line in ran.json_lines if "link" in line] == [False, False]


def test_a_chain_of_one_is_bad_input(cli, trail: Path) -> None:
    assert cli("trail", "verify", "--chain", trail).code == ExitCode.BAD_INPUT


def test_joined_trails_have_the_steps_of_all(cli, trail: Path, tmp_path: Path) -> None:
    ran = cli("trail", "concat", trail, trail, "-o", tmp_path / "both.flux", "--json")
    assert ran.code == ExitCode.OK
    shown = cli("trail", "show", tmp_path / "both.flux", "--json").json
    assert [step["opcode"] for step in shown["steps"]].count("FILE_READ") == 2


def test_joining_and_converting_need_an_output(cli, trail: Path) -> None:
    for argv in (["concat", trail, trail], ["concat", trail, "-o", "x"], ["convert", trail]):
        ran = cli("trail", *argv)
        assert ran.code == ExitCode.BAD_INPUT
        assert "-o FILE" in ran.err


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.parent.name)
def test_every_example_survives_conversion_there_and_back(cli, example: Path, tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in ("a.flux", "b.flux", "c.flux"))
    assert cli("trail", "compile", example, "-o", first).code == ExitCode.OK
    assert cli("trail", "verify", first).code == ExitCode.OK
    version = cli("trail", "show", first, "--json").json["version"]
    assert cli("trail", "convert", first, "--to", "2", "-o", second).code == ExitCode.OK
    assert cli("trail", "convert", second, "--to", version, "-o", third).code == ExitCode.OK
    assert first.read_bytes() == third.read_bytes()


def test_what_a_trail_has_no_room_for_is_kept_beside_it_and_shown_with_it(cli, tmp_path: Path) -> None:
    worklog, notes, trail = (tmp_path / name for name in ("w.json", "w.notes", "w.flux"))
    step = {"op": "FILE_READ", "path": "a", "desc": "why\x1b[2J", "ts": 1_753_000_007}
    worklog.write_text(json.dumps([BEGIN, step, END]))
    assert cli("trail", "compile", worklog, "--notes", notes).code == ExitCode.OK
    assert "; why\\u001b[2J" in cli("trail", "show", trail, "--notes", notes).out
    assert "timestamp: 1753000007" in cli("trail", "show", trail, "-f", "verbose", "--notes", notes).out
    steps = cli("trail", "show", trail, "--notes", notes, "--json").json["steps"]
    assert [step.get("notes") for step in steps] == [None, {"desc": "why\x1b[2J", "ts": 1_753_000_007}, None]


def test_notes_of_another_trail_and_notes_that_are_none_are_refused(cli, trail: Path, tmp_path: Path) -> None:
    other, notes = tmp_path / "o.json", tmp_path / "o.notes"
    other.write_text(json.dumps([BEGIN, {"op": "NOP", "desc": "x"}, END]))
    assert cli("trail", "compile", other, "--notes", notes).code == ExitCode.OK
    for file, words in ((notes, "another trail"), (trail, "no notes"), (tmp_path / "none", "the notes")):
        ran = cli("trail", "show", trail, "--notes", file)
        assert (ran.code, ran.out) == (ExitCode.BAD_INPUT, "")
        assert words in ran.err


def test_notes_never_take_the_trails_place_and_none_make_no_file(cli, worklog: Path, tmp_path: Path) -> None:
    ran = cli("trail", "compile", worklog, "-o", tmp_path / "x", "--notes", tmp_path / "x")
    assert ran.code == ExitCode.BAD_INPUT
    ran = cli("trail", "compile", worklog, "-o", tmp_path / "x", "--notes", tmp_path / "y")
    assert ran.code == ExitCode.OK
    assert "no notes" in ran.err
    assert {path.name for path in tmp_path.iterdir()} == {worklog.name, "x"}

"""git, pytest and search of the native world."""

import shutil
import subprocess

import pytest

from sandbox_runner.trail import METHODS
from sandbox_runner.world import Call, FileWorld, Status
from sandbox_runner.world.native_tools import NativeLimits


def perform(world, method, **arguments):
    return world.perform(Call(METHODS[method].opcode, method, arguments))


def git(directory, *arguments):
    return subprocess.run(
        ["git", "-C", directory, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def base(tmp_path):
    directory = tmp_path / "base"
    directory.mkdir()
    return directory


@pytest.fixture
def repository(base):
    git(base, "init", "-q")
    (base / "f").write_text("1")
    return base


# -- git --------------------------------------------------------------------------------------------------


def test_a_commit_stages_everything_and_tells_its_id(repository):
    outcome = perform(FileWorld(repository, principal="Ada"), "git_commit", repo="0", message="first")
    assert outcome.text == "git_commit: first"
    assert outcome.details == {"commit": git(repository, "rev-parse", "HEAD")}
    assert git(repository, "log", "-1", "--format=%an %s") == "Ada first"
    assert git(repository, "status", "--porcelain") == ""


@pytest.mark.parametrize("message", ["--amend", "-m x", "# no comment", "two\n\nparagraphs"])
def test_a_message_is_data_whatever_it_looks_like(repository, message):
    assert FileWorld(repository).git_commit("0", message) == f"git_commit: {message}"
    assert git(repository, "log", "-1", "--format=%B") == message


def test_nothing_to_commit_and_an_empty_message_are_told_apart(repository):  # D70
    world = FileWorld(repository)
    world.git_commit("0", "first")
    again = perform(world, "git_commit", repo="0", message="again")
    assert again.text == "git_commit: ERROR nothing to commit"
    assert again.details == {"reason": "empty"}
    assert world.git_commit("0", " \n") == "git_commit: ERROR empty message"


def test_a_repository_goes_by_its_number_or_its_configured_directory(repository):  # D17
    (repository / "sub").mkdir()
    git(repository / "sub", "init", "-q")
    (repository / "sub" / "g").write_text("1")
    world = FileWorld(repository, repositories={"0": ".", "7": "sub"})
    assert world.git_commit("7", "inner") == "git_commit: inner"
    assert git(repository / "sub", "log", "-1", "--format=%s") == "inner"
    for unknown in ("1", "..", "../..", "/", "--help"):
        assert world.git_commit(unknown, "m") == f"git_commit: ERROR unknown repository: {unknown}"
        assert world.git_push(unknown) == f"git_push: ERROR unknown repository: {unknown}"


def test_a_missing_directory_is_not_called_a_missing_git(base):  # D81
    world = FileWorld(base, repositories={"0": "absent"})
    assert world.git_commit("0", "m") == "git_commit: ERROR no such directory: absent"
    assert world.git_push("0") == "git_push: ERROR no such directory: absent"


def test_a_missing_git_is_called_so(repository, monkeypatch, tmp_path):  # D81
    monkeypatch.setenv("PATH", str(tmp_path))
    assert FileWorld(repository).git_commit("0", "m") == "git_commit: ERROR git not found"


def test_a_commit_never_lands_in_a_repository_above_the_base(base):
    git(base.parent, "init", "-q")
    (base / "f").write_text("1")
    outcome = FileWorld(base).git_commit("0", "m")
    assert outcome.startswith("git_commit: ERROR not a git repository")
    assert subprocess.run(["git", "-C", base.parent, "log"], check=False, capture_output=True).returncode != 0


@pytest.mark.parametrize("setting", ["hook", "fsmonitor", "global"])
def test_a_commit_runs_no_program_that_a_configuration_names(
    repository, setting, tmp_path, monkeypatch
):  # D71
    proof = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {proof}\n")
    program.chmod(0o755)
    if setting == "hook":
        for hook in ("pre-commit", "commit-msg", "post-commit", "prepare-commit-msg"):
            (repository / ".git" / "hooks" / hook).symlink_to(program)
    elif setting == "fsmonitor":
        git(repository, "config", "core.fsmonitor", str(program))
    else:
        home = tmp_path / "home"
        home.mkdir()
        (home / "attributes").write_text("* filter=evil\n")
        (home / ".gitconfig").write_text(
            f'[core]\nattributesFile = {home}/attributes\n[filter "evil"]\nclean = {program}\n'
        )
        monkeypatch.setenv("HOME", str(home))
    assert FileWorld(repository).git_commit("0", "m") == "git_commit: m"
    assert not proof.exists()


def test_a_trail_cannot_write_what_git_would_run(repository):  # D71
    world = FileWorld(repository)
    assert world.file_write(".git/config", "[core]\nfsmonitor = touch /tmp/ran").startswith(
        "file_write: ERROR"
    )
    assert world.git_commit("0", "m") == "git_commit: m"


def test_a_push_goes_where_the_repository_says(repository, tmp_path):
    remote = tmp_path / "remote.git"
    git(tmp_path, "init", "-q", "--bare", str(remote))
    git(repository, "remote", "add", "origin", str(remote))
    git(repository, "config", "push.autoSetupRemote", "true")
    world = FileWorld(repository)
    world.git_commit("0", "first")
    first, second = (perform(world, "git_push", repo="0") for _ in range(2))
    assert (first.text, first.details) == ("git_push: 0", {"up_to_date": False})
    assert (second.text, second.details) == ("git_push: 0", {"up_to_date": True})
    assert git(remote, "log", "-1", "--format=%s", "--all") == "first"


def test_a_failed_push_tells_why_without_a_path_of_the_machine(repository, tmp_path):  # D76
    git(repository, "remote", "add", "origin", str(tmp_path / "absent.git"))
    git(repository, "config", "push.autoSetupRemote", "true")
    world = FileWorld(repository)
    world.git_commit("0", "first")
    text = world.git_push("0")
    assert text.startswith("git_push: ERROR ")
    assert "does not appear to be a git repository" in text
    assert str(tmp_path) not in text


# -- tests ------------------------------------------------------------------------------------------------


@pytest.fixture
def tests(base):
    (base / "test_ok.py").write_text("def test_a():\n    pass\ndef test_b():\n    pass\n")
    (base / "test_bad.py").write_text("def test_a():\n    assert 0\n")
    (base / "test_none.py").write_text("")
    return FileWorld(base)


AMBIGUOUS = "a name in the file part of the test target ends with ':', so '::' has two meanings"


@pytest.mark.parametrize(
    ("path", "expected", "text"),
    [
        ("test_ok.py", 0, "test_run: test_ok.py (exit=0)"),
        ("test_ok.py", 2, "test_run: test_ok.py (exit=0)"),
        ("test_ok.py::test_a", 1, "test_run: test_ok.py::test_a (exit=0)"),
        ("test_ok.py", 99, "test_run: ERROR test_ok.py (exit=0, passed=2, failed=0, expected=99)"),
        ("test_bad.py", 1, "test_run: ERROR test_bad.py (exit=1, passed=0, failed=1, expected=1)"),
        ("test_none.py", 0, "test_run: ERROR test_none.py (exit=5, passed=0, failed=0, expected=0)"),
        ("absent.py", 0, "test_run: ERROR absent.py (exit=4, passed=0, failed=0, expected=0)"),
        ("-h", 0, "test_run: ERROR -h (exit=4, passed=0, failed=0, expected=0)"),
        ("../x", 0, "test_run: ERROR path outside workspace: ../x"),
        ("./x/..//test_ok.py::test_a", 1, "test_run: ./x/..//test_ok.py::test_a (exit=0)"),
        ("@test_ok.py", 0, "test_run: ERROR @test_ok.py (exit=4, passed=0, failed=0, expected=0)"),
        ("test_ok.py:/::test_a", 0, f"test_run: ERROR {AMBIGUOUS}"),
    ],
)
def test_a_test_run_succeeds_if_tests_ran_passed_and_were_as_many_as_expected(
    tests, path, expected, text
):  # D41, D72
    outcome = perform(tests, "test_run", test_path=path, expected=expected)
    assert outcome.text == text
    assert outcome.status is (Status.FAILED if "ERROR" in text else Status.OK)


def test_tests_run_in_the_workspace_with_a_clean_environment(base, monkeypatch):  # D72
    monkeypatch.setenv("SECRET_TOKEN", "x")
    (base / "test_here.py").write_text(
        "import os\ndef test_here():\n"
        f"    assert os.getcwd() == {str(base.resolve())!r}\n    assert 'SECRET_TOKEN' not in os.environ\n"
    )
    assert FileWorld(base).test_run("test_here.py", 1) == "test_run: test_here.py (exit=0)"
    assert not list(base.rglob("__pycache__"))


def test_a_test_that_hangs_is_ended_at_its_deadline(base):
    (base / "test_slow.py").write_text("import time\ndef test_slow():\n    time.sleep(600)\n")
    world = FileWorld(base, limits=NativeLimits(test_s=1))
    assert world.test_run("test_slow.py", 0) == "test_run: ERROR timeout after 1s: test_slow.py"


# -- search -----------------------------------------------------------------------------------------------


@pytest.fixture
def searcher(base, monkeypatch, tmp_path):
    """A world on a machine that has only grep; tests/tools/ripgrep holds one with ripgrep against it."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "grep").symlink_to(shutil.which("grep"))
    monkeypatch.setenv("PATH", str(tools))
    for name, text in {"a.py": "needle\n", "b.py": "needle needle\n", "c.txt": "hay -e --files\n"}.items():
        (base / name).write_text(text)
    (base / ".git").mkdir()
    (base / ".git" / "needle").write_text("needle")
    return FileWorld(base)


@pytest.mark.parametrize(
    ("pattern", "files"),
    [
        ("needle", ["a.py", "b.py"]),
        ("absent", []),
        ("ne+dle", ["a.py", "b.py"]),
        ("^hay", ["c.txt"]),
        ("-e", ["c.txt"]),
        ("--files", ["c.txt"]),
        ("--version", []),
        ("--pre=/bin/true", []),
    ],
)
def test_a_search_finds_files_and_takes_every_pattern_as_data(searcher, pattern, files):  # D73
    outcome = perform(searcher, "search_code", pattern=pattern)
    assert outcome.text == f"search_code: '{pattern}' → {len(files)} matches (grep fallback)"
    assert outcome.details == {"files": files, "count": len(files), "truncated": False}


@pytest.mark.parametrize(
    ("pattern", "reason"), [("[", "Unmatched ["), ("(", "Unmatched ("), ("a\0b", "holds a NUL byte")]
)
def test_an_invalid_pattern_is_an_error_that_says_why_and_not_no_match(searcher, pattern, reason):  # D74
    text = searcher.search_code(pattern)
    assert text.startswith(f"search_code: ERROR invalid pattern: {reason}") or "regular expression" in text

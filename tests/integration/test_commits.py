"""Whole runs that commit: what they changed, measured against what the work began with, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox_runner.policy import Policy
from sandbox_runner.record import RunRecord
from sandbox_runner.runner import Home
from sandbox_runner.runner.again import replay_record
from sandbox_runner.runner.runner import Runner
from sandbox_runner.sandbox import ContainerWorld, Sandbox, SandboxSpec
from sandbox_runner.trail import compile_worklog
from sandbox_runner.trail.operations import METHODS
from sandbox_runner.world import Call, Outcome
from tests.unit.guest.test_git_commit import git

pytestmark = pytest.mark.docker

BEGIN = {"op": "TRAIL_BEGIN", "agent": "ada", "trail_id": "t", "ts": 1_753_000_000}
END = {"op": "TRAIL_END", "status": 0}
COMMIT = {"op": "GIT_COMMIT", "repo": 0, "message": "m"}


def trail(*steps: dict[str, Any]) -> bytes:
    return compile_worklog([BEGIN, *steps, END])


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A user's repository: a filter, a file that is tracked though ignored, an edit that is not committed."""
    work = tmp_path / "work"
    (work / "build").mkdir(parents=True)
    git(work, "init", "-q")
    git(work, "config", "filter.rot.clean", "tr a-z n-za-m")
    git(work, "config", "filter.rot.smudge", "tr a-z n-za-m")
    texts = {
        ".gitattributes": "*.key filter=rot\n",
        ".gitignore": "build/\n",
        "a.txt": "1\n",
        "build/recipe": "keep\n",
        "mine.txt": "1\n",
        "s.key": "top secret\n",
    }
    for name, text in texts.items():
        (work / name).write_text(text)
    git(work, "add", "-fA")
    git(work, "commit", "-qm", "one")
    (work / "mine.txt").write_text("2\n")
    return work


@pytest.fixture
def runner(tmp_path: Path, engine: object, image: object) -> Runner:
    return Runner(policy=Policy.load("default"), home=Home(tmp_path / "home"), runtime="runc", sign=False)


def left_by(runner: Runner, record: RunRecord, place: Path) -> Callable[..., str]:
    """Git in what a run left behind."""
    assert record.result is not None
    assert record.result.snapshot is not None
    runner.home.store().restore(record.result.snapshot, place)
    return lambda *arguments: git(place, *arguments).strip()


def test_a_run_commits_its_changes_and_no_secret_no_left_out_file_and_no_edit_of_the_users(
    runner: Runner, work: Path, tmp_path: Path
) -> None:
    edit = {"op": "FILE_EDIT", "path": "a.txt", "old": "1", "new": "2"}
    record = runner.run(trail(edit, COMMIT, {"op": "GIT_PUSH", "repo": 0}), workspace=work, gitignore=True)
    show = left_by(runner, record, tmp_path / "left")
    assert show("show", "--format=", "--name-status", "HEAD") == "M\ta.txt"
    assert "top secret" not in show("show", "HEAD:s.key")
    assert show("show", "HEAD:build/recipe") == "keep"
    (bundle,) = record.path.rglob("*.bundle")
    git(tmp_path, "clone", "-q", str(bundle), "clone", "-b", "main")
    assert git(tmp_path / "clone", "cat-file", "blob", "HEAD:s.key") != "top secret\n"
    assert git(tmp_path / "clone", "cat-file", "blob", "HEAD:mine.txt") == "1\n"


def test_a_run_commits_what_the_runs_changed_that_its_base_came_from(
    runner: Runner, work: Path, tmp_path: Path
) -> None:
    first = runner.run(trail({"op": "FILE_WRITE", "path": "new.txt", "content": "n\n"}), workspace=work)
    assert first.result is not None
    second = runner.run(trail(COMMIT), base=first.result.snapshot)
    show = left_by(runner, second, tmp_path / "second")
    assert show("show", "--format=", "--name-status", "HEAD") == "A\tnew.txt"
    assert second.info.options["origin"] == first.info.base_snapshot
    assert second.result is not None
    third = runner.run(
        trail({"op": "FILE_WRITE", "path": "more.txt", "content": "n\n"}, COMMIT), base=second.result.snapshot
    )
    show = left_by(runner, third, tmp_path / "third")
    assert show("show", "--format=", "--name-status", "HEAD") == "A\tmore.txt"
    assert show("status", "--porcelain", "mine.txt") == "M mine.txt"
    checks, divergence = replay_record(second.path, home=runner.home)
    assert (divergence, [check.ok for check in checks]) == (None, [True])


@pytest.mark.parametrize("left_out", [".gitattributes", "index", "info", "main"])
def test_a_run_makes_no_commit_where_the_copy_lacks_what_shapes_it(
    runner: Runner, work: Path, left_out: str
) -> None:
    write = {"op": "FILE_WRITE", "path": "new.key", "content": "secret\n"}
    (work / ".git/info/attributes").write_bytes((work / ".gitattributes").read_bytes())
    first = runner.run(trail(write), workspace=work, exclude=(left_out,))
    assert first.result is not None
    for record in (
        runner.run(trail(write, COMMIT), workspace=work, exclude=(left_out,)),
        runner.run(trail(COMMIT), base=first.result.snapshot),
    ):
        *_, refused = (line.fact for line in record.calls())
        assert refused["status"] == "failed"
        assert "left out of the copy" in refused["outcome"]


def test_in_a_shared_directory_what_was_there_is_the_users_though_no_copy_has_it(
    runner: Runner, work: Path
) -> None:
    for path in (work, *work.rglob("*")):
        os.chown(path, os.getuid() or 1234, -1)
    (work / "loose.txt").write_text("mine\n")
    write = {"op": "FILE_WRITE", "path": "note.txt", "content": "n\n"}
    runner.run(trail(write, COMMIT), workspace=work, bind=True, exclude=("loose.txt",))
    inside = ("-c", f"safe.directory={work}")
    assert git(work, *inside, "show", "--format=", "--name-status", "HEAD") == "A\tnote.txt\n"


def test_a_world_that_was_filled_without_a_runner_knows_as_much(engine: object, work: Path) -> None:
    def do(method: str, **arguments: Any) -> Outcome:
        return world.perform(Call(METHODS[method].opcode, method, arguments))

    with ContainerWorld.start(work, spec=SandboxSpec(runtime="runc")) as world:
        do("file_write", path="note.txt", content="n\n")
        assert do("git_commit", repo="0", message="m").details["changed"] == ["A note.txt"]
        assert isinstance(world.sandbox, Sandbox)

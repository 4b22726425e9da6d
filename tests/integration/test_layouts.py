"""Whole runs in linked working trees: commit and push work, and nothing of the user's repository changes."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox_runner.policy import Policy
from sandbox_runner.runner import Home
from sandbox_runner.runner.again import replay_record
from sandbox_runner.runner.runner import Runner
from sandbox_runner.trail import compile_worklog
from tests.plain_git import git
from tests.unit.runner.test_layouts import WORKING, detached

pytestmark = pytest.mark.docker

BEGIN = {"op": "TRAIL_BEGIN", "agent": "ada", "trail_id": "t", "ts": 1_753_000_000}
STEPS = [
    {"op": "FILE_WRITE", "path": "new.txt", "content": "new\r\n"},
    {"op": "FILE_EDIT", "path": "a.txt", "old": "a", "new": "b"},
    {"op": "GIT_COMMIT", "repo": 0, "message": "m"},
]
PUSH = {"op": "GIT_PUSH", "repo": 0}


def state(*places: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for place in places
        for path in sorted(place.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def runner(tmp_path: Path, engine: object, image: object) -> Runner:
    return Runner(policy=Policy.load("default"), home=Home(tmp_path / "home"), runtime="runc", sign=False)


@pytest.mark.parametrize("layout", WORKING, ids=lambda layout: layout.__name__)
def test_a_commit_in_a_linked_working_tree_is_gits_own(
    layout: Callable[[Path], Path], runner: Runner, tmp_path: Path
) -> None:
    tree = layout(tmp_path / "user")
    steps = STEPS if layout is detached else [*STEPS, PUSH]
    before = state(tmp_path / "user")
    record = runner.run(compile_worklog([BEGIN, *steps, {"op": "TRAIL_END", "status": 0}]), workspace=tree)
    assert record.result is not None
    assert record.result.status == "success", record.result.events
    assert record.result.snapshot is not None
    assert state(tmp_path / "user") == before

    left = tmp_path / "left"
    runner.home.store().restore(record.result.snapshot, left)
    git(left, "fsck", "--strict")
    parent = git(tree, "rev-parse", "HEAD")
    assert git(left, "rev-parse", "HEAD^") == parent
    for bundle in record.path.rglob("*.bundle"):
        assert git(left, "rev-parse", "HEAD").strip() in git(left, "bundle", "list-heads", str(bundle))
    assert len(list(record.path.rglob("*.bundle"))) == len(steps) - len(STEPS)
    shown = git(left, "rev-parse", "HEAD^{tree}"), git(left, "status", "--porcelain")

    shutil.copyfile(left / "a.txt", tree / "a.txt")  # git's own commit of the same paths
    shutil.copyfile(left / "new.txt", tree / "new.txt")
    git(tree, "add", "a.txt", "new.txt")
    git(tree, "commit", "-qm", "m", "--", "a.txt", "new.txt")
    assert (git(tree, "rev-parse", "HEAD^{tree}"), git(tree, "status", "--porcelain")) == shown
    shutil.rmtree(tmp_path / "user")
    checks, divergence = replay_record(record.path, home=runner.home)
    assert divergence is None
    assert [check.name for check in checks if not check.ok] == []

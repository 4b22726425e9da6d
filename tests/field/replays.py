"""Replaying a history with the product, and holding the result against git's."""

from __future__ import annotations

import hashlib
import json
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from sandbox_runner import Runner
from sandbox_runner.record import RunRecord
from sandbox_runner.runner.home import Home
from tests.field.git import git, text
from tests.field.histories import History, every_file
from tests.field.policies import wide

__all__ = ["Replay", "replay"]


_MOST_SHOWN = 10


@dataclass(slots=True)
class Replay:
    """What came of a history.

    Attributes:
        name: the history's.
        commits: how many there were, and ``equal``, how many have git's own tree.
        steps: how many by operation.
        files: how many files are in the tree at the end, all compared.
        left_out: what no step can write.
        problems: everything that is not as git has it.
    """

    name: str
    commits: int = 0
    equal: int = 0
    steps: dict[str, int] = field(default_factory=dict)
    files: int = 0
    left_out: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def replay(history: History, home: Home, *, runtime: str) -> Replay:
    """Replay a history in one container and compare: trees of commits, files by digest, git's status."""
    found = Replay(history.name, commits=len(history.commits), left_out=history.left_out)
    if not history.commits:
        return found
    entries = []
    for commit in history.commits:
        entries += [*commit.entries, {"op": "GIT_COMMIT", "repo": 0, "message": commit.title}]
    for entry in entries:
        found.steps[entry["op"]] = found.steps.get(entry["op"], 0) + 1
    begin = {"op": "TRAIL_BEGIN", "agent": "field", "trail_id": "field", "ts": 1_700_000_000}
    worklog = json.dumps([begin, *entries, {"op": "TRAIL_END", "status": 0}]).encode()
    runner = Runner(policy=wide(), home=home, runtime=runtime)
    record = runner.run(worklog, workspace=history.workspace)
    found.problems += _failures(record)
    if record.result is None or record.result.snapshot is None:
        found.problems.append("the run left no snapshot")
        return found
    with tempfile.TemporaryDirectory(prefix="field-") as folder:
        restored = Path(folder, "restored")
        home.store(runner.tenant).restore(record.result.snapshot, restored)
        _compare(history, restored, found)
    return found


def _failures(record: RunRecord) -> list[str]:
    """The steps that did not go well."""
    bad = [line for line in record.calls() if line.status.value not in {"ok", "skipped"}]
    told = [f"step {line.step}: {line.outcome}" for line in bad[:_MOST_SHOWN]]
    if not told and (record.result is None or record.result.exit_code != 0):
        told.append(f"the run ended as {record.state.value} and says of no step why")
    return told


def _compare(history: History, restored: Path, found: Replay) -> None:
    made = text(restored, "log", "--reverse", "--format=%T", f"{history.base}..HEAD").split()
    for number, commit in enumerate(history.commits):
        tree = made[number] if number < len(made) else "no commit"
        if tree == commit.tree:
            found.equal += 1
        else:
            found.problems.append(f"{commit.title!a}: the commit's tree is {tree}, git's is {commit.tree}")
    if len(made) > len(history.commits):
        found.problems.append(f"there are {len(made)} commits, git made {len(history.commits)}")
    ours, theirs = _digests(restored), _digests(history.oracle)
    found.files = len(theirs)
    for path in sorted(ours.keys() | theirs.keys()):
        if ours.get(path) != theirs.get(path):
            found.problems.append(f"{path!a}: is {ours.get(path)}, git has {theirs.get(path)}")
    status = git(restored, "status", "--porcelain").decode(errors="backslashreplace").splitlines()
    found.problems += [f"git status afterwards: {line!a}" for line in status]
    git(restored, "fsck", "--strict", "--no-dangling")


def _digests(root: Path) -> dict[str, str]:
    """What is at every path: kind, executable bit and SHA-256."""
    found = {}
    for path in every_file(root):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            what = f"link to {path.readlink()}"
        else:
            bit = "executable " if mode & 0o100 else ""
            what = bit + hashlib.sha256(path.read_bytes()).hexdigest()
        found[str(path.relative_to(root))] = what
    return found

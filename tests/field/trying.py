"""What is done with one package, and with one repository."""

from __future__ import annotations

import tempfile
from pathlib import Path

from sandbox_runner.errors import SandboxRunnerError
from sandbox_runner.runner.home import Home
from tests.field.git import GitError
from tests.field.histories import of_commit, of_head, of_tree, recent_commits
from tests.field.packages import Package
from tests.field.page import Finding
from tests.field.replays import replay
from tests.field.sources import FetchError, fetch
from tests.field.suites import compare_suite

__all__ = ["COMMITS", "try_package", "try_repository"]

COMMITS = 5
"""Made-up commits of a package."""


def try_package(package: Package, home: Home, *, runtime: str) -> Finding:
    """Replay made-up commits of a release, and run its tests both ways."""
    found = Finding(package.name, package.version)
    with tempfile.TemporaryDirectory(prefix="field-") as folder:
        place = Path(folder)
        try:
            tree = fetch(package, place)
            history = of_tree(tree, place, name=package.name, commits=COMMITS)
            found.replays.append(replay(history, home, runtime=runtime))
            requirements = None
            if package.requirements:
                requirements = place / "requirements.txt"
                requirements.write_text("\n".join(package.requirements) + "\n")
            found.suite = compare_suite(
                tree,
                package.tests,
                home,
                requirements=requirements,
                differences=package.differences,
                runtime=runtime,
            )
        except (FetchError, GitError, SandboxRunnerError) as error:
            found.problems.append(f"{type(error).__name__}: {error}")
    return found


def try_repository(
    repository: Path, commits: int, home: Home, *, requirements: Path | None, tests: str | None, runtime: str
) -> Finding:
    """Replay the last commits of a repository, each on its parent; run its tests both ways if asked to."""
    found = Finding(repository.name)
    with tempfile.TemporaryDirectory(prefix="field-") as folder:
        place = Path(folder)
        try:
            for number, commit in enumerate(recent_commits(repository, commits)):
                history = of_commit(repository, commit, place / str(number))
                found.replays.append(replay(history, home, runtime=runtime))
            if tests is not None:
                tree = of_head(repository, place / "head")
                found.suite = compare_suite(tree, tests, home, requirements=requirements, runtime=runtime)
        except (GitError, SandboxRunnerError) as error:
            found.problems.append(f"{type(error).__name__}: {error}")
    if not found.replays and not found.problems:
        found.problems.append("HEAD has no commit with one parent")
    return found

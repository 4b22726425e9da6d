"""git, pytest and ripgrep as processes of this machine, for ``FileWorld``: no sandbox, but data stays data.

What a trail writes can become neither an option nor configuration of these programs: texts travel on standard
input, after ``-e`` or with a path in front; hooks, file system monitors, signing, and the user's and the
system's configuration are off. Reasons never hold a path of the machine.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox_runner.guest.outcome import StepError, invalid_pattern
from sandbox_runner.guest.paths import split_target
from sandbox_runner.world.beneath import steps_of
from sandbox_runner.world.native_process import Finished, run_native

__all__ = ["NativeLimits", "NativeTools", "StepFailedError"]

_GIT = (
    "git",
    "-c", "core.hooksPath=/dev/null",
    "-c", "core.fsmonitor=false",
    "-c", "commit.gpgSign=false",
    "-c", "push.gpgSign=false",
    "-c", "core.abbrev=40",
    "-c", "gc.auto=0",
    "-c", "maintenance.auto=false",
)  # fmt: skip
_PYTEST = ("-m", "pytest", "-q", "--tb=no", "--color=no", "-rN", "-p", "no:cacheprovider")
_COMMIT_ID = re.compile(r"^\[.*?([0-9a-f]{40,64})\]", re.MULTILINE)
_COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped|xfailed|xpassed)\b")
_ABSOLUTE_PATH = re.compile(r"(?<![\w.:/])/[^\s'\":,)]+")
_SHOWN_FILES = 1000  # how many matching files the details list
_TAIL = 4096  # characters of output kept in the outcome


class StepFailedError(Exception):
    """A step failed; the text is the reason, ``details`` and ``meta`` are those of its outcome."""

    def __init__(
        self, reason: str, details: Mapping[str, Any] | None = None, meta: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(reason)
        self.details = dict(details or {})
        self.meta = dict(meta or {})


@dataclass(frozen=True, slots=True)
class NativeLimits:
    """Bounds of a ``FileWorld``: seconds and bytes.

    Attributes:
        file_bytes: the largest file that is read or edited.
        output_bytes: how much of a program's output is kept; the rest is read and dropped.
        commit_s, push_s, test_s, search_s: deadlines of one call.
    """

    file_bytes: int = 16 << 20
    output_bytes: int = 1 << 20
    commit_s: float = 30.0
    push_s: float = 60.0
    test_s: float = 120.0
    search_s: float = 30.0


class NativeTools:
    """Runs the programs in one directory.

    Args:
        base: absolute path of the directory, links resolved.
        limits: deadlines and output limits.
        principal: author of commits.
        repositories: directories below ``base`` by the name a trail calls them.
    """

    def __init__(
        self, base: Path, limits: NativeLimits, *, principal: str, repositories: Mapping[str, str]
    ) -> None:
        self._base = base
        self._limits = limits
        self._repositories = dict(repositories)
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": os.environ.get("HOME", "/"),
            "LC_ALL": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        name = principal.strip() or "executor"
        self._git_environment = self._environment | {
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
            # Without it a directory that is no repository would commit into one that lies above the base.
            "GIT_CEILING_DIRECTORIES": str(base.parent),
            "GIT_AUTHOR_NAME": name,
            "GIT_AUTHOR_EMAIL": "executor@localhost",
            "GIT_COMMITTER_NAME": name,
            "GIT_COMMITTER_EMAIL": "executor@localhost",
        }

    def commit(self, repo: str, message: str, leave_out: Sequence[str]) -> dict[str, Any]:
        """Stage everything but the paths ``leave_out`` (relative to the base) and commit.

        A sandbox takes what the run changed. Here nobody knows what was there before: it is the user's own
        directory and git, and everything that differs is staged.
        """
        directory = self._repository(repo)
        if not message.strip():
            raise StepFailedError("empty message", {"reason": "empty message"})
        pathspecs = b".\0" + b"".join(
            b":(exclude,literal)" + os.path.relpath(self._base / path, directory).encode() + b"\0"
            for path in leave_out
            if (self._base / path).is_relative_to(directory)
        )
        deadline = self._limits.commit_s
        add = ("add", "--all", "--pathspec-from-file=-", "--pathspec-file-nul")
        self._git(directory, add, deadline, pathspecs)
        commit = ("commit", "--no-verify", "--cleanup=whitespace", "--file=-")
        ended = self._git(directory, commit, deadline, message.encode(), accept=(0, 1))
        if ended.exit_code == 0:
            found = _COMMIT_ID.search(ended.stdout.decode(errors="replace"))
            return {"commit": found[1] if found else None}
        if self._git(directory, ("diff", "--cached", "--quiet"), deadline, accept=(0, 1)).exit_code == 0:
            raise StepFailedError("nothing to commit", {"reason": "empty"})
        raise StepFailedError(_git_reason(ended))

    def push(self, repo: str) -> dict[str, Any]:
        """Push the current branch to where the repository's own configuration says."""
        ended = self._git(self._repository(repo), ("push", "--no-verify", "--porcelain"), self._limits.push_s)
        return {"up_to_date": b"[up to date]" in ended.stdout}

    def test(self, path: str, expected: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Run pytest on one path; return what it reported, and its output."""
        try:
            file, node = split_target(path)
        except StepError as error:
            raise StepFailedError(error.reason) from None
        target = "/".join([".", *steps_of(file)]) + node  # "./" in front: never an option
        argv = (sys.executable, *_PYTEST, target)
        ended = self._run(argv, self._base, self._environment, self._limits.test_s)
        if ended.exit_code is None:
            raise StepFailedError(f"timeout after {self._limits.test_s:g}s: {path}")
        output = ended.stdout.decode(errors="replace")
        if ended.exit_code == 1 and b"No module named pytest" in ended.stderr:
            raise StepFailedError("pytest not found")
        counts = _counts(output)
        executed = counts["passed"] + counts["failed"] + counts["xfailed"]
        details = {**counts, "exit_code": ended.exit_code}
        meta = {"output": output[-_TAIL:]}
        if ended.exit_code != 0 or not executed or expected not in {0, executed}:
            told = f"passed={counts['passed']}, failed={counts['failed']}, expected={expected}"
            raise StepFailedError(f"{path} (exit={ended.exit_code}, {told})", details, meta)
        return details, meta

    def search(self, pattern: str, leave_out: frozenset[str]) -> tuple[dict[str, Any], str]:
        """Find the files that match; return the details and what is to be said about the program."""
        note = ""
        argv: tuple[str, ...] = (
            "rg",
            "--no-config",
            "--no-messages",  # those are about files; what is left is about the pattern
            "--files-with-matches",
            "--null",
            "-e",
            pattern,
            "--",
            ".",
        )
        if shutil.which("rg", path=self._environment["PATH"]) is None:
            note = " (grep fallback)"
            argv = ("grep", "-rlIZEs", "--exclude-dir=.git", "-e", pattern, "--", ".")
        if "\0" in pattern:
            raise StepFailedError(invalid_pattern("holds a NUL byte"))
        ended = self._run(argv, self._base, self._environment, self._limits.search_s)
        if ended.exit_code is None:
            raise StepFailedError(f"timeout after {self._limits.search_s:g}s")
        if ended.exit_code not in {0, 1}:
            complaint = ended.stderr.decode(errors="replace").removeprefix("grep: ")
            raise StepFailedError(invalid_pattern(complaint) if complaint.strip() else "search incomplete")
        names = (os.fsdecode(name).removeprefix("./") for name in ended.stdout.split(b"\0") if name)
        files = sorted(name for name in names if name not in leave_out)
        shown = [name.encode(errors="backslashreplace").decode() for name in files[:_SHOWN_FILES]]
        return {"files": shown, "count": len(files), "truncated": ended.truncated}, note

    def directory_of(self, repo: str) -> Path:
        """Where a repository would lie, known or not."""
        return self._base / self._repositories.get(repo, repo)

    def _repository(self, repo: str) -> Path:
        if repo not in self._repositories and repo not in self._repositories.values():
            raise StepFailedError(f"unknown repository: {repo}")
        directory = self.directory_of(repo)
        if not directory.is_dir():
            raise StepFailedError(f"no such directory: {self._repositories.get(repo, repo)}")
        return directory

    def _git(
        self,
        directory: Path,
        arguments: Sequence[str],
        deadline_s: float,
        stdin: bytes = b"",
        *,
        accept: tuple[int, ...] = (0,),
    ) -> Finished:
        try:
            ended = self._run((*_GIT, *arguments), directory, self._git_environment, deadline_s, stdin)
        except FileNotFoundError:
            raise StepFailedError("git not found") from None
        if ended.exit_code is None:
            raise StepFailedError(f"timeout after {deadline_s:g}s")
        if ended.exit_code not in accept:
            raise StepFailedError(_git_reason(ended))
        return ended

    def _run(
        self,
        argv: Sequence[str],
        cwd: Path,
        environment: Mapping[str, str],
        deadline_s: float,
        stdin: bytes = b"",
    ) -> Finished:
        return run_native(
            argv,
            cwd=cwd,
            environment=environment,
            deadline_s=deadline_s,
            output_limit=self._limits.output_bytes,
            stdin=stdin,
        )


def _git_reason(ended: Finished) -> str:
    """The first complaint of git, on whichever output it made it, with paths of the machine taken out."""
    lines = (ended.stderr + b"\n" + ended.stdout).decode(errors="replace").splitlines()
    complaints = [line for line in lines if line.startswith(("fatal: ", "error: "))] or lines
    text = next((line.strip() for line in complaints if line.strip()), f"git exited with {ended.exit_code}")
    return _ABSOLUTE_PATH.sub("<path>", text.removeprefix("fatal: ").removeprefix("error: "))


def _counts(output: str) -> dict[str, int]:
    """Read pytest's summary line: ``3 passed, 1 failed, 2 skipped in 0.05s``."""
    counts = {"passed": 0, "failed": 0, "skipped": 0, "xfailed": 0}
    names = {"error": "failed", "errors": "failed", "xpassed": "passed"}
    for line in reversed(output.splitlines()):
        found = _COUNT.findall(line)
        if found and " in " in line:
            for number, name in found:
                counts[names.get(name, name)] += int(number)
            break
    return counts

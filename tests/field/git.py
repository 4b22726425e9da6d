"""Git as the oracle: run with nothing of this machine's configuration, and at one fixed time."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

__all__ = ["GitError", "git", "text"]

_LONGEST_S = 300.0
_ENVIRONMENT = {
    "GIT_AUTHOR_DATE": "@1700000000 +0000",
    "GIT_AUTHOR_EMAIL": "oracle@field.invalid",
    "GIT_AUTHOR_NAME": "oracle",
    "GIT_COMMITTER_DATE": "@1700000000 +0000",
    "GIT_COMMITTER_EMAIL": "oracle@field.invalid",
    "GIT_COMMITTER_NAME": "oracle",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C.UTF-8",
    "PATH": os.environ["PATH"],
}


class GitError(Exception):
    """Git said no; its reason, and what was asked."""


def git(
    place: Path,
    *arguments: str,
    stdin: bytes = b"",
    index: Path | None = None,
    may_fail: tuple[int, ...] = (),
) -> bytes:
    """What git writes when it is run in a directory.

    Args:
        place: the directory.
        arguments: the command.
        stdin: what it reads.
        index: an index of its own, instead of the repository's.
        may_fail: exit codes that are an answer.

    Raises:
        GitError: it ended with another code than 0 and these, or did not end.
    """
    environment = {**_ENVIRONMENT, **({} if index is None else {"GIT_INDEX_FILE": str(index)})}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=place,
            env=environment,
            input=stdin,
            capture_output=True,
            check=False,
            timeout=_LONGEST_S,
        )
    except subprocess.TimeoutExpired as error:
        raise GitError(f"git {arguments[0]} in {place} took more than {_LONGEST_S:g} s") from error
    if done.returncode and done.returncode not in may_fail:
        said = done.stderr.decode(errors="replace").strip()
        raise GitError(f"git {arguments[0]} in {place}: {said or f'exit {done.returncode}'}")
    return done.stdout


def text(place: Path, *arguments: str) -> str:
    """The same as one stripped text."""
    return os.fsdecode(git(place, *arguments)).strip()

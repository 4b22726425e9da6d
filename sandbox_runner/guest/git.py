"""git_commit: everything staged and committed by four processes, the same commit id every time."""

from __future__ import annotations

from sandbox_runner.guest.outcome import Outcome, StepError, listing
from sandbox_runner.guest.repository import Repository

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox_runner.guest.context import Guest

__all__ = ["git_commit"]

_MESSAGE_LIMIT = 1 << 15
_PATHS_LIMIT = 16 << 20
_NOTHING = {
    40: "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    64: "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
}  # the empty tree, which git knows without having it


def git_commit(guest: Guest, repo: str, message: str) -> Outcome:
    """Stage everything and commit it: author is the principal, time is the run's clock.

    A directory without a repository gets one first (unless ``git.init`` is off): a trail is replayed on a
    copy of the files it worked on, and such a copy often comes without its history.
    """
    try:
        text = message.encode()
    except UnicodeEncodeError:
        raise StepError("message is not UTF-8 text") from None
    if not message.strip():
        raise StepError("empty message")
    if b"\0" in text:
        raise StepError("message holds a NUL byte")
    if len(text) > _MESSAGE_LIMIT:
        raise StepError(f"message of {len(text)} bytes is over the limit of {_MESSAGE_LIMIT}")
    with Repository(guest, repo, create=guest.config.git.init) as repository:
        _stage(repository)
        changed = _changed(repository, repository.before)
        if not changed:
            raise StepError("nothing to commit", {"reason": "empty"})
        _must(
            repository.git(
                ["commit", "--quiet", "--no-verify", "--no-status", "--cleanup=whitespace", "--file=-"],
                stdin=text,
            )
        )
        commit = repository.publish()
    details = {
        "branch": repository.branch,
        "changed": listing(changed),
        "changed_count": len(changed),
        "commit": commit,
        "initialised": repository.created,
        "parent": repository.before,
    }
    return Outcome("git_commit: " + message, details)


def _must(result: tuple[object, bytes, str]) -> bytes:
    ended, output, complaint = result
    code = getattr(ended, "code", None)
    if code != 0:
        raise StepError(complaint or f"git ended with exit={code}")
    return output


def _stage(repository: Repository) -> None:
    """What ``git add --all`` does, by plumbing.

    That command runs ``git status`` in every nested repository, and *its* configuration is believed there.
    """
    listed = _must(
        repository.git(
            ["ls-files", "-z", "--deleted", "--modified", "--others", "--exclude-standard"],
            limit=_PATHS_LIMIT,
        )
    )
    paths = dict.fromkeys(name.rstrip(b"/") for name in listed.split(b"\0")[:-1])
    if paths:
        update = ["update-index", "--add", "--remove", "--replace", "-z", "--stdin"]
        _must(repository.git(update, stdin=b"".join(path + b"\0" for path in paths)))


def _changed(repository: Repository, before: str | None) -> list[bytes]:
    """What is staged: git's status letter, a blank, and the path."""
    base = before or _NOTHING[repository.name_length]
    output = _must(
        repository.git(["diff-index", "--cached", "--name-status", "--no-renames", "-z", base, "--"])
    )
    fields = output.split(b"\0")[:-1]
    return [fields[at] + b" " + fields[at + 1] for at in range(0, len(fields) - 1, 2)]

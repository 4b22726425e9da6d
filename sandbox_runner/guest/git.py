"""git_commit: what this run changed, committed; the same commit id every time."""

from __future__ import annotations

from sandbox_runner.guest.git_stage import stage
from sandbox_runner.guest.outcome import Outcome, StepError, listing
from sandbox_runner.guest.repository import Repository

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox_runner.guest.context import Guest

__all__ = ["git_commit"]

_MESSAGE_LIMIT = 1 << 15


def git_commit(guest: Guest, repo: str, message: str) -> Outcome:
    """Commit what this run changed (see ``git_stage``): author is the principal, time is the run's clock.

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
        staged = stage(guest, repository)
        repository.must(
            ["commit", "--quiet", "--no-verify", "--no-status", "--cleanup=whitespace", "--file=-"],
            stdin=text,
            index=staged.index,
        )
        commit = repository.publish()
    details = {
        "branch": repository.branch,
        "changed": listing(staged.changed),
        "changed_count": len(staged.changed),
        "commit": commit,
        "initialised": repository.created,
        "parent": repository.before,
    }
    if staged.left:
        details["left_uncommitted"] = listing(staged.left)
        details["left_uncommitted_count"] = len(staged.left)
    return Outcome("git_commit: " + message, details)

"""git_push into quarantine: what a remote would have received, kept where foreign code cannot rewrite it.

There is no remote in a sandbox, and a bare repository beside the workspace would belong to the sandbox uid,
like everything git writes. So the quarantine is this process's memory: the references as pushed, and for
each a bundle (git's own format for a repository in a file) that the host can verify, clone and forward.
"""

from __future__ import annotations

from sandbox_runner.guest.digest import sha256_hex
from sandbox_runner.guest.outcome import Outcome, StepError, refusal
from sandbox_runner.guest.repository import Repository, failure
from sandbox_runner.guest.wire import BODY_LIMIT, PUSHES_BYTES, PUSHES_LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandbox_runner.guest.context import Guest

__all__ = ["Bundle", "git_push"]


class Bundle:
    """The latest push of one branch of one repository."""

    __slots__ = ("commit", "data", "ref", "repository", "sha256")

    def __init__(self, repository: str, ref: str, commit: str, data: bytes) -> None:
        self.repository = repository
        self.ref = ref
        self.commit = commit
        self.data = data
        self.sha256 = sha256_hex(data)


def git_push(guest: Guest, repo: str) -> Outcome:
    """Push the current branch of a repository into quarantine; as a remote it takes no rewritten history."""
    if guest.config.push == "deny":
        raise refusal("push is denied")
    with Repository(guest, repo, create=False) as repository:
        ref, commit = repository.branch, repository.before
        if commit is None:
            raise StepError("nothing is committed yet: " + repo)
        if ref is None:
            raise StepError("HEAD names no branch: " + repo)
        key = (repo, ref)
        known = guest.bundles.get(key)
        if known is not None and known.commit == commit:
            return Outcome("git_push: " + repo, {"refs": {ref: [commit, commit]}, "up_to_date": True})
        if known is not None:
            _must_extend(repository, known.commit, commit, ref)
        bundle = Bundle(repo, ref, commit, _pack(repository, ref, commit))
    held = sum(len(other.data) for place, other in guest.bundles.items() if place != key)
    if held + len(bundle.data) > PUSHES_BYTES:
        raise StepError(f"the quarantine is full at {PUSHES_BYTES} bytes")
    if known is None and len(guest.bundles) >= PUSHES_LIMIT:
        raise StepError(f"the quarantine is full at {PUSHES_LIMIT} branches")
    guest.bundles[key] = bundle
    return Outcome(
        "git_push: " + repo,
        {
            "refs": {ref: [known.commit if known else None, commit]},
            "up_to_date": False,
            "meta": {"bundle_bytes": len(bundle.data), "bundle_sha256": bundle.sha256},
        },
    )


def _must_extend(repository: Repository, old: str, new: str, ref: str) -> None:
    ended, _output, complaint = repository.git(["merge-base", "--is-ancestor", old, new])
    if ended.code == 1:
        raise StepError(f"rejected: {ref} is no fast-forward", {"refs": {ref: [old, new]}})
    if ended.code != 0:
        raise failure(ended, complaint)


def _pack(repository: Repository, ref: str, commit: str) -> bytes:
    """The branch with its whole history, so that a clone needs nothing else."""
    data = repository.must(["bundle", "create", "--quiet", "-", ref], limit=BODY_LIMIT)
    if f"\n{commit} {ref}\n".encode() not in data[: len(commit) + len(ref) + 200]:
        raise StepError("git bundled something else than " + ref)
    return data

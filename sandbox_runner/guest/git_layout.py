"""What a ``.git`` must be for git to be run over it.

The guest looks before each call, and the host before anything runs, with this same code. It only reads,
relative to open directories, without following a link, each file with a limit.
"""

from __future__ import annotations

import os

from sandbox_runner.guest import git_files
from sandbox_runner.guest.git_settings import Settings
from sandbox_runner.guest.outcome import StepError

__all__ = [
    "BORROWED",
    "FILE_LIMIT",
    "PACKED_LIMIT",
    "UNFINISHED",
    "Layout",
    "at",
    "must_be_at_rest",
    "read_head",
]

FILE_LIMIT = 1 << 20
PACKED_LIMIT = 16 << 20
_KEPT = b"config.sandbox-kept"
_LOCK = b"index.lock"
_WRITTEN = (b"COMMIT_EDITMSG", b"logs/HEAD", b"index")
_NO_FILES = b"ref: refs/heads/.invalid"
BORROWED = b"objects/info/alternates"

UNFINISHED = (
    (b"MERGE_HEAD", "a merge"),
    (b"CHERRY_PICK_HEAD", "a cherry-pick"),
    (b"REVERT_HEAD", "a revert"),
    (b"rebase-merge", "a rebase"),
    (b"rebase-apply", "a rebase or git am"),
    (b"sequencer", "a cherry-pick or revert of several commits"),
)
"""What git keeps at the top of a ``.git`` while something of the user's is under way there."""


class Layout:
    """What was found in a ``.git``.

    Args:
        git: it, open; of a linked working tree the directory of its own.
        name: what a sentence calls the repository.
        common: where references, objects and settings are, open; ``None`` for ``git`` itself.
        config: the settings, where they are others than in the file.

    Attributes:
        names: what is at its top.
        head: the text of HEAD.
        ref: the branch that HEAD names, ``None`` where it names a commit.
        before: the commit that it is at, ``None`` where there is none yet.
        settings: what its own configuration says of commits.

    Raises:
        StepError: it is of a kind that is not supported.
    """

    __slots__ = ("before", "head", "names", "ref", "settings")

    def __init__(self, git: int, name: str, common: int | None = None, config: bytes | None = None) -> None:
        self.names = {os.fsencode(found) for found in os.listdir(git)}
        if common is None:
            common = git
            if b"commondir" in self.names:  # references and objects would come from elsewhere
                raise StepError("unsupported repository: .git is a linked working tree: " + name)
        if _KEPT in self.names:  # a version that put its own in this place died meanwhile
            raise StepError(
                "unsupported repository: .git/config.sandbox-kept is its configuration as it was, "
                "left by a call that died; rename it to .git/config"
            )
        self.head = read_head(git, name)
        if self.head.strip() == _NO_FILES:
            raise StepError("unsupported repository: references are kept in a reftable: " + name)
        self.ref = git_files.branch_of(self.head)
        self.before = at(self.head, self.ref, common)
        if self.ref is None and self.before is None:
            raise StepError("not a git repository: " + name)
        self.settings = Settings()
        self._take_settings(git, common, config)
        for path in _WRITTEN:
            if path.partition(b"/")[0] in self.names:
                git_files.must_be_file(git, path)
        if self.ref is not None:
            git_files.must_be_file(common, b"logs/" + self.ref)
        if git_files.read(common, BORROWED, FILE_LIMIT):
            raise StepError("unsupported repository: it borrows objects from another: " + name)

    def _take_settings(self, git: int, common: int, config: bytes | None) -> None:
        if config is None:
            config = git_files.read(common, b"config", FILE_LIMIT) or b""
        self.settings.take(config, "config")
        if self.settings.per_worktree:
            self.settings.take(git_files.read(git, b"config.worktree", FILE_LIMIT) or b"", "config.worktree")


def must_be_at_rest(names: set[bytes]) -> None:
    """See that nothing of the user's is under way that a commit would conclude or disturb.

    Args:
        names: what is at the top of the ``.git``.

    Raises:
        StepError: something is.
    """
    for name, what in UNFINISHED:
        if name in names:
            raise StepError(
                f"{what} is unfinished here (.git/{name.decode()}); conclude or abort it, then commit"
            )
    if _LOCK in names:
        raise StepError("file exists: .git/index.lock; another git is at work, or died")


def read_head(git: int, name: str) -> bytes:
    """The text of HEAD.

    Raises:
        StepError: there is none.
    """
    try:
        head = git_files.read(git, b"HEAD", 4096)
    except StepError as error:
        raise StepError(f"not a git repository: {name} ({error.reason})") from None
    if head is None:
        raise StepError("not a git repository: " + name)
    return head


def at(head: bytes, ref: bytes | None, common: int) -> str | None:
    """The commit that HEAD is at.

    Raises:
        StepError: what keeps its branch is of another kind.
    """
    if ref is None:
        return git_files.object_name(head)
    found = git_files.loose(common, ref)
    text = git_files.read(common, b"packed-refs", PACKED_LIMIT)
    return found if text is None else found or git_files.packed(text, ref)

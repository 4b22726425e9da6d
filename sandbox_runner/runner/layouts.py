"""Whether git can work on a workspace as it lies there: seen before anything runs.

What the guest would refuse at the first commit is a fact of the workspace and not the trail's fault. So the
host looks with the guest's own code (``guest.git_layout``), never with git, and says so first.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sandbox_runner.errors import WorkspaceError
from sandbox_runner.guest.git_layout import Layout, must_be_at_rest
from sandbox_runner.guest.outcome import StepError
from sandbox_runner.guest.paths import close_parent, normal, open_directory
from sandbox_runner.policy import Admission, Policy, Privileges, guest_config
from sandbox_runner.runner.plan import Wishes
from sandbox_runner.snapshot import DirectorySource, LayoutError, Linked

__all__ = ["Need", "check_layouts", "needs_of", "source_of"]

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_BORROWS = "it borrows objects"
_OWN_OBJECTS = (
    "Copy the objects into it: git repack -a -d && rm $(git rev-parse --git-path objects/info/alternates)"
)
_FETCH = (
    "Leave the push out; or git fetch --refetch --no-filter, then unset remote.NAME.promisor and "
    "remote.NAME.partialCloneFilter."
)
_CLONE = "Run on a clone of it (git clone FROM TO), or leave the commits out of the trail."


@dataclass(frozen=True, slots=True)
class Need:
    """What a trail does with one repository.

    Attributes:
        directory: where it is, below the workspace.
        commits: whether anything is committed.
        pushes: whether it is pushed.
    """

    directory: str
    commits: bool = True
    pushes: bool = False


def needs_of(policy: Policy, admission: Admission, privileges: Privileges) -> dict[str, Need]:
    """The repositories that a trail commits to or pushes from, by the names that it gives them."""
    if not privileges.git:
        return {}
    manifest = admission.manifest
    known: Mapping[str, str] = guest_config(policy, principal="", privileges=privileges)["repositories"]
    return {
        name: Need(
            known[name],
            commits="GIT_COMMIT" in manifest.opcodes,
            pushes=privileges.push and name in manifest.pushes,
        )
        for name in manifest.repositories
        if name in known
    }


def check_layouts(wishes: Wishes, needs: Mapping[str, Need]) -> None:
    """See that git can work in these directories of the workspace.

    A directory that is missing, or that is no repository yet, is left to the steps.

    Args:
        wishes: of the run.
        needs: what its trail does with them, by name.

    Raises:
        WorkspaceError: it cannot; says where, why and what to do.
    """
    if wishes.workspace is None or not needs:
        return
    root = os.open(wishes.workspace, _OPEN)
    try:
        source = DirectorySource(wishes.workspace, exclude=wishes.exclude, gitignore=wishes.gitignore)
        for name, need in needs.items():
            below = b"/".join([*normal(need.directory), b".git"])
            if wishes.bind or not source.leaves_out(root, below):
                _check(root, name, need, bind=wishes.bind)
    finally:
        os.close(root)


def source_of(wishes: Wishes, workspace: Path) -> tuple[DirectorySource, Linked | None]:
    """The workspace as it is captured, and what is to be closed after that.

    The repository of a linked working tree comes along where git can work on it; otherwise its ``.git`` stays
    the file that it is.
    """
    linked = _linked(workspace)
    source = DirectorySource(workspace, exclude=wishes.exclude, gitignore=wishes.gitignore, linked=linked)
    return source, linked


def _linked(workspace: Path) -> Linked | None:
    try:
        root = os.open(workspace, _OPEN)
    except OSError:
        return None  # whoever captures it says so
    try:
        if stat.S_ISDIR(os.stat(".git", dir_fd=root, follow_symlinks=False).st_mode):
            return None
        linked = Linked(root)
    except (OSError, LayoutError):
        return None
    finally:
        os.close(root)
    try:
        Layout(linked.git, "0", linked.common, linked.config())
    except (OSError, StepError):
        linked.close()
        return None
    return linked


def _check(root: int, name: str, need: Need, *, bind: bool) -> None:
    directory = need.directory
    try:
        tree = open_directory(root, normal(directory), directory)
    except StepError:
        return  # it may come to be
    try:
        if stat.S_ISDIR(os.stat(".git", dir_fd=tree, follow_symlinks=False).st_mode):
            _look(tree, name, need)
        else:
            _look_linked(tree, name, need, inner=tree != root, bind=bind)
    except FileNotFoundError:
        _must_not_be_bare(tree, directory)
    except LayoutError as error:
        raise _unusable(directory, str(error), error.hint) from None
    except StepError as error:
        raise _unusable(directory, error.reason, _hint(error.reason)) from None
    except OSError as error:
        raise _unusable(directory, error.strerror or str(error), _CLONE) from None
    finally:
        close_parent(root, tree)


def _look_linked(tree: int, name: str, need: Need, *, inner: bool, bind: bool) -> None:
    with Linked(tree) as linked:
        if inner:
            raise LayoutError("it is a linked working tree below the workspace", "Make it the workspace.")
        if bind:
            raise LayoutError(
                "it is a linked working tree, whose repository the sandbox does not see",
                "Leave --bind out: a copy gets a repository of its own.",
            )
        _look_at(Layout(linked.git, name, linked.common, linked.config()), need)


def _look(tree: int, name: str, need: Need) -> None:
    git = os.open(".git", _OPEN | os.O_NOFOLLOW, dir_fd=tree)
    try:
        _look_at(Layout(git, name), need)
    finally:
        os.close(git)


def _look_at(found: Layout, need: Need) -> None:
    if need.commits:
        must_be_at_rest(found.names)
        if found.settings.withheld:
            raise StepError(f"a commit would not be git's own: {found.settings.withheld[0]}")
    if need.pushes and found.ref is None:
        raise LayoutError("HEAD names no branch that could be pushed", "Make one: git switch -c NAME")
    if need.pushes and found.settings.partial:
        raise LayoutError("it is a partial clone, which has not all that a push holds", _FETCH)


def _must_not_be_bare(tree: int, directory: str) -> None:
    """A repository without a working tree would get another one inside."""
    with suppress(FileNotFoundError):
        kinds = [
            os.stat(name, dir_fd=tree, follow_symlinks=False).st_mode for name in ("HEAD", "objects", "refs")
        ]
        if stat.S_ISREG(kinds[0]) and all(map(stat.S_ISDIR, kinds[1:])):
            raise _unusable(directory, "it is a bare repository, without a working tree", _CLONE)


def _hint(reason: str) -> str:
    return _OWN_OBJECTS if _BORROWS in reason else _CLONE


def _unusable(directory: str, reason: str, hint: str) -> WorkspaceError:
    where = "the workspace" if directory in {".", ""} else f"{directory} in the workspace"
    return WorkspaceError(f"git cannot work in {where}: {reason}; nothing was run", hint=hint)

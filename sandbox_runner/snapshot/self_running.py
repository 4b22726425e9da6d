"""What of a stranger's tree becomes a command on the host: where git finds a repository, and what tools run.

*Git directories.* Git looks for a repository in every directory it is called in and in those above: for a
``.git``, which is one or names one, and for the directory itself, which is one where it holds ``HEAD`` beside
``objects`` and ``refs``, or beside a ``commondir`` that says where these are. Its ``config`` may name
programs (``core.fsmonitor``, ``core.sshCommand``, filters), and ``git status`` runs them. So what counts is
what a directory will hold, by whatever hand: a tree can bring the one name that was missing. And where the
user has ``objects`` and ``refs`` side by side already, a ``commondir`` of the user's may lead there, wherever
that is: then ``config`` is git's without a ``HEAD``. Names are compared as the most forgiving file system
does.

*Other tools* run some files as soon as a directory is entered or opened. Their names are known, so they are
named to the user and not withheld.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Final

from sandbox_runner.guest.tree_records import DIRECTORY
from sandbox_runner.policy.paths import folded
from sandbox_runner.snapshot.manifest import Entry

__all__ = ["SIGNS", "GitDirectories", "git_directories", "runs_by_itself"]

SIGNS: Final = (b"HEAD", b"objects", b"refs", b"commondir", b"config")
"""The names by which git knows a repository's directory, and the one that makes it run programs."""

_FOLDED_SIGNS: Final = frozenset(folded(name.decode()) for name in SIGNS)
_DOT_GIT: Final = re.compile(r"\.git|git~[0-9]+")
_BY_NAME: Final = {
    "a shell or its helper": (
        ".envrc .env .autoenv .autoenv.zsh .mise.toml mise.toml .bashrc .bash_profile .bash_login"
        " .bash_logout .profile .zshrc .zshenv .zprofile .zlogin .kshrc .cshrc .tcshrc .inputrc"
    ),
    "an editor": (
        ".vimrc .gvimrc .nvimrc .exrc .nvim.lua .lvimrc .vim .dir-locals.el .dir-locals-2.el .vscode"
        " .idea .fleet .zed .devcontainer devcontainer.json .devcontainer.json"
    ),
    "git": (
        ".gitattributes .gitmodules .gitconfig .githooks .husky .pre-commit-config.yaml"
        " .pre-commit-hooks.yaml lefthook.yml .lefthook.yml .lefthook"
    ),
    "a debugger": ".gdbinit .lldbinit .pdbrc .pdbrc.py",
    "python": "sitecustomize.py usercustomize.py",
    "a build tool": (
        ".npmrc .yarnrc .yarnrc.yml .yarn .pnpmfile.cjs .bazelrc .cargo .mvn .gradle .direnv .bundle"
        " .pypirc .babelrc.js .eslintrc.js .prettierrc.js"
    ),
    "an agent": ".claude .cursor .mcp.json .aider.conf.yml .gemini .codex",
    "a pipeline, once it is pushed": (
        ".github .gitlab-ci.yml .circleci .travis.yml .drone.yml azure-pipelines.yml jenkinsfile"
    ),
}
_BY_ENDING: Final = {
    ".code-workspace": "an editor",
    ".sublime-project": "an editor",
    ".pth": "python",
    ".desktop": "a desktop",
}
_HOOKS: Final = re.compile(
    r"(pre|post|prepare|proc)-[a-z]+(-[a-z]+){0,2}|applypatch-msg|commit-msg|update|push-to-checkout"
    r"|reference-transaction|sendemail-validate|fsmonitor-watchman"
)
_TOOLS: Final = {name: tool for tool, names in _BY_NAME.items() for name in names.split()}


def runs_by_itself(path: bytes) -> str | None:
    """Who runs, or is steered by, a file of this path without being asked; None where nobody is known to."""
    above = ""
    for part in path.split(b"/"):
        name = folded(_text(part))
        if above == "hooks" and _HOOKS.fullmatch(name):
            return "git"
        above = name
        if tool := _TOOLS.get(name) or _BY_ENDING.get(name[name.rfind(".") :]):
            return tool
    return None


class GitDirectories:
    """Tells which paths of a tree lie in what git takes for a repository's directory.

    Args:
        coming: the paths that a tree brings.
        there: which of ``SIGNS`` a directory holds already, given its path.
    """

    def __init__(self, coming: Iterable[bytes], there: Callable[[bytes], Iterable[bytes]]) -> None:
        self._signs: defaultdict[bytes, set[str]] = defaultdict(set)
        for path in coming:
            parent, _, name = path.rpartition(b"/")
            if (sign := folded(_text(name))) in _FOLDED_SIGNS:
                self._signs[_key(parent)].add(sign)
        self._there = there
        self._owners: dict[bytes, bytes | None] = {}

    def owner(self, path: bytes, *, directory: bool) -> bytes | None:
        """The outermost path that is git's own and holds this path or is it; the root is empty.

        ``directory`` says that this path is one, or is to be: then it may itself be a repository's.
        """
        if directory:
            return self._of_directory(path)
        parent, _, name = path.rpartition(b"/")
        outer = self._of_directory(parent)
        if outer is None and _DOT_GIT.fullmatch(folded(_text(name))):
            return path
        return outer

    def _of_directory(self, path: bytes) -> bytes | None:
        chain = []
        while path not in self._owners:
            chain.append(path)
            if not path:
                break
            path = path.rpartition(b"/")[0]
        for directory in reversed(chain):
            outer = self._owners[directory.rpartition(b"/")[0]] if directory else None
            own = directory if self._is_git(directory) else None
            self._owners[directory] = own if outer is None else outer
        return self._owners[chain[0] if chain else path]

    def _is_git(self, directory: bytes) -> bool:
        if _DOT_GIT.fullmatch(folded(_text(directory.rpartition(b"/")[2]))):
            return True
        held = {folded(name.decode()) for name in self._there(directory)}
        signs = held | (self._signs.get(_key(directory), set()) if self._signs else set())
        if "head" in signs and ({"objects", "refs"} <= signs or "commondir" in signs):
            return True
        return {"objects", "refs"} <= held and "config" in signs


def git_directories(entries: Iterable[Entry]) -> tuple[bytes, ...]:
    """What git takes for a repository in a tree, outermost paths in order; a ``.git`` file names one."""
    listed = [(entry.path, entry.kind) for entry in entries]
    found = GitDirectories((path for path, _ in listed), lambda _: ())
    owners = [found.owner(path, directory=kind == DIRECTORY) for path, kind in listed]
    return tuple(dict.fromkeys(owner for owner in owners if owner is not None))


def _key(path: bytes) -> bytes:
    """A directory's path as the most forgiving file system compares it."""
    return "/".join(map(folded, _text(path).split("/"))).encode("utf-8", "surrogateescape")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")

"""What would make a commit another one than git's own, and is refused in words before anything is staged.

A copy lacks what was left out of it, and a sandbox the user's filters and what lies beyond the repository.
Each of these refusals is a way in which that, or a setting of the repository's, would let plumbing commit
what ``git commit --only -- PATHS`` of the user's would not.
"""

from __future__ import annotations

import stat

from sandbox_runner.guest.git_nested import mode_at
from sandbox_runner.guest.outcome import StepError
from sandbox_runner.guest.repository import NEXT, SHAPING, Repository, failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sandbox_runner.guest.context import Guest
    from sandbox_runner.guest.origin import Origin

__all__ = ["NO_FILTER", "PATHS_LIMIT", "UNKNOWN", "Refusals", "joined", "shown"]

PATHS_LIMIT = 128 << 20
"""Bytes of all the paths that git is told or tells."""
UNKNOWN = (b"", b"H", b"")
"""Mode, tag and object of a path that is not in the index."""
NO_FILTER = (b"unspecified", b"unset")
_SHOWN = 300
_LEFT_OUT = "this commit would not be git's own: left out of the copy, and it may change what is committed: "


class Refusals:
    """The refusals of one staging; every method that begins with ``must`` raises ``StepError``.

    Args:
        guest: whose identity looks at the working tree.
        repository: what is committed to.
        origin: what the run began with.
        prefix: the repository's directory below the workspace, with a slash at its end.
        tracked: mode, tag and object of every path in the index or in the last commit.
        theirs: the status letters of what the user has staged.
    """

    def __init__(
        self,
        guest: Guest,
        repository: Repository,
        origin: Origin,
        *,
        prefix: bytes,
        tracked: Mapping[bytes, tuple[bytes, bytes, bytes]],
        theirs: Mapping[bytes, bytes],
    ) -> None:
        self._guest = guest
        self._repository = repository
        self._origin = origin
        self._prefix = prefix
        self._tracked = tracked
        self._theirs = theirs

    def must_equal_git(self, paths: Sequence[bytes]) -> None:
        """What is known of these paths and of the settings lets their commit be git's own."""
        settings = self._repository.settings
        if settings.withheld:
            raise StepError(f"this commit would not be git's own: {settings.withheld[0]}")
        for path in paths:
            if path not in self._tracked and settings.excludes:
                raise StepError(
                    "this commit would not be git's own: core.excludesFile names ignore rules that this run "
                    "does not see, and this path is not tracked yet: " + shown(path)
                )
            if self._tracked.get(path, UNKNOWN)[1] in b"Ss":
                raise StepError("outside of the sparse checkout: " + shown(path))
        self._must_see_rules(paths)
        self._must_know_attributes(paths)
        if settings.ignores_case:
            self._must_be_alone([path for path in paths if path not in self._tracked])

    def must_be_whole(self) -> None:
        """What was left out of the copy is not known, and may be what makes the commit what it is."""
        git = self._prefix + b".git"
        if self._origin.lacks(git):
            return  # this repository is another one than the user's
        for path in (*SHAPING, self._repository.ref or b"HEAD"):
            if self._origin.lacks(git + b"/" + path):
                raise StepError(_LEFT_OUT + ".git/" + shown(path))

    def _must_see_rules(self, paths: Sequence[bytes]) -> None:
        """The same of the files that say of each path whether and how it is committed."""
        if not self._origin.left_out:
            return
        places: dict[bytes, bool] = {}  # whether anything new is there
        for path in paths:
            at = len(path)
            while at >= 0:
                at = path.rfind(b"/", 0, at)
                place = path[: at + 1]
                places[place] = places.get(place, False) or path not in self._tracked
        for place, new in sorted(places.items()):
            for name in (b".gitattributes", b".gitignore")[: 1 + new]:
                if self._origin.lacks(self._prefix + place + name):
                    raise StepError(_LEFT_OUT + shown(place + name))

    def _must_be_alone(self, new: Sequence[bytes]) -> None:
        """Git takes a new path, or a directory on its way, for a known one of other case."""
        names: dict[bytes, bytes] = {}
        for path in self._tracked:
            for start in _starts(path):
                names[start.lower()] = start
        for path in new:
            for start in _starts(path):
                known = names.setdefault(start.lower(), start)
                if known != start:
                    raise StepError(
                        f"core.ignoreCase is on, and {shown(start)} differs from {shown(known)} by case alone"
                    )

    def must_be_wanted(self, paths: Sequence[bytes]) -> None:
        """Git adds nothing outside of a sparse checkout: it is asked what it would do, and does nothing.

        It is asked of files alone: of a repository it would run a command in there.
        """
        settings = self._repository.settings
        if not settings.sparse:
            return
        with self._guest.identity:
            new = [
                path
                for path in paths
                if path not in self._tracked and not stat.S_ISDIR(mode_at(self._repository.tree, path))
            ]
        if new:
            cone = "core.sparseCheckoutCone=" + str(settings.sparse_cone).lower()
            options = ["-c", "core.sparseCheckout=true", "-c", cone, "-c", "advice.updateSparsePath=false"]
            command = [*options, "add", "--dry-run", "--pathspec-from-file=-", "--pathspec-file-nul"]
            ended, _, complaint = self._repository.git(
                command, stdin=joined(new), limit=PATHS_LIMIT, index=NEXT
            )
            if ended.code != 0:
                told = complaint.partition("updated in the index:")[2].strip()
                if not told:
                    raise failure(ended, complaint)
                raise StepError("outside of the sparse checkout: " + shown(told.encode()))

    def _must_know_attributes(self, paths: Sequence[bytes]) -> None:
        """Attributes that are in an index alone hold, or do not, by the order in which git goes about it."""
        tree = self._repository.tree
        for path in dict.fromkeys((*self._theirs, *paths)):
            above, _, name = path.rpartition(b"/")
            if name != b".gitattributes":
                continue
            with self._guest.identity:
                there = stat.S_ISREG(mode_at(tree, path))
                others = (other for other in paths if other != path and _is_within(other, above))
                if there or not any(stat.S_ISREG(mode_at(tree, other)) for other in others):
                    continue
            if path in self._theirs:
                raise StepError(
                    "this commit would not be git's own: attributes are staged that no file has: "
                    + shown(path)
                )
            raise StepError(
                "this commit would not be git's own: attributes go together with a change of what they "
                "held for: " + shown(path)
            )

    def must_not_be_filtered(self, paths: Sequence[bytes], index: str) -> None:
        """No filter runs here, and what it would have kept out of the commit must not get in."""
        with self._guest.identity:
            files = [path for path in paths if stat.S_ISREG(mode_at(self._repository.tree, path))]
        for path, value in self.filters(files, index).items():
            if value not in NO_FILTER:
                raise StepError(
                    f"the filter {shown(value)} applies to {shown(path)}, and no filter runs here: "
                    "commit it yourself, or take the attribute away",
                    {"filter": shown(value), "path": shown(path)},
                )

    def filters(self, paths: Sequence[bytes], index: str) -> dict[bytes, bytes]:
        """The filter of every path."""
        if not paths:
            return {}
        said = self._repository.must(
            ["check-attr", "-z", "--stdin", "filter"], stdin=joined(paths), limit=PATHS_LIMIT, index=index
        )
        fields = said.split(b"\0")[:-1]
        return dict(zip(fields[::3], fields[2::3]))  # noqa: B905 - the guest's Python may lack strict=


def joined(paths: Iterable[bytes]) -> bytes:
    """Paths as git reads them from its stdin with ``-z``."""
    return b"".join(path + b"\0" for path in paths)


def shown(name: bytes) -> str:
    """A path in a sentence; of a long one its end."""
    text = name.decode("utf-8", "backslashreplace")
    return text if len(text) <= _SHOWN else "..." + text[-_SHOWN:]


def _starts(path: bytes) -> Iterable[bytes]:
    """A path and every directory on its way."""
    at = path.find(b"/")
    while at >= 0:
        yield path[:at]
        at = path.find(b"/", at + 1)
    yield path


def _is_within(path: bytes, directory: bytes) -> bool:
    return not directory or path.startswith(directory + b"/")

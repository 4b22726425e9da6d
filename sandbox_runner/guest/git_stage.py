"""What a commit takes: the paths that this run changed, found by content, and staged by git's own plumbing.

A run works on a copy of somebody's files, in which much may differ from the last commit that is none of the
run's doing: edits that the user has not committed, files that were left out of the copy, contents that a
filter of the user's would turn into something else. So the tree is compared with the one that the run's work
began with (``origin``): kind, executable bit and SHA-256 (``origin`` says which file need not be read again
for that). What a commit of the run's took before is the run's as well, also where it is now as it was in the
beginning. What differs is staged where git would stage it: a path that is tracked, or one that is not
ignored. What is gone is staged as deleted where it was there. In a repository that the run itself began, and
where the policy says ``git.stage: all``, everything that differs from the last commit is staged; what was
left out of the copy is left alone there too.

The commit is what ``git commit --only -- PATHS`` makes: the last commit's tree and these paths, while what
the user had staged stays staged. Whatever would make it another commit than git's own is refused in words
before anything is staged (``git_refusals``).
"""

from __future__ import annotations

import os
import stat
import time

from sandbox_runner.guest import git_files
from sandbox_runner.guest.digest import sha256
from sandbox_runner.guest.git_nested import mode_at, moved
from sandbox_runner.guest.git_refusals import NO_FILTER, PATHS_LIMIT, UNKNOWN, Refusals, joined, shown
from sandbox_runner.guest.origin import Origin, content_of
from sandbox_runner.guest.outcome import StepError
from sandbox_runner.guest.paths import PATH_LIMIT
from sandbox_runner.guest.repository import NEXT, OWN, THEIRS, Repository
from sandbox_runner.guest.tree_records import DIRECTORY, EXCLUDED, FILE, LINK, read_scan
from sandbox_runner.guest.tree_walk import Limits, walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sandbox_runner.guest.context import Guest

__all__ = ["Staged", "stage"]

_TICK_NS = 100_000_000  # far more than the steps in which a file's time of change goes
_ANCESTORS = 1_000_000
_LINKED = b"160000"  # the mode of another repository's commit
_MODULES = ("--ignore-submodules=dirty",)  # goes before what .gitmodules says of each
_NOTHING = {
    False: "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    True: "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
}  # the empty tree, which git knows without having it, by whether names are of SHA-256


class Staged:
    """What is staged, and in which index.

    Attributes:
        index: from which the commit is made.
        changed: git's status letter, a blank, and the path, of what differs from the last commit in it.
        left: the same of what the user had staged, edited and not tracked, none of it part of the commit.
    """

    __slots__ = ("changed", "index", "left")

    def __init__(self, index: str, changed: list[bytes], left: list[bytes]) -> None:
        self.index = index
        self.changed = changed
        self.left = left


def stage(guest: Guest, repository: Repository) -> Staged:
    """Stage what belongs to a commit; the repository's own index is not touched.

    Raises:
        StepError: nothing does; or no commit can be made that equals git's own.
    """
    return _Stage(guest, repository).run()


class _Stage:
    """The state of one staging.

    ``tracked`` has mode, tag and object of every path that is in the index, or only in the last commit;
    ``others`` are the untracked paths that are not ignored, one of a directory that is a repository with a
    slash at its end.
    """

    def __init__(self, guest: Guest, repository: Repository) -> None:
        self._guest = guest
        self._repository = repository
        self._origin: Origin = guest.origin or Origin()
        self._prefix = b"".join(part + b"/" for part in repository.below)
        self._begun = repository.created or not self._origin.kind(self._prefix + b".git")
        self._all = self._begun or guest.config.git.stage == "all"
        self._tracked: dict[bytes, tuple[bytes, bytes, bytes]] = {}
        self._others: list[bytes] = []
        self._theirs: dict[bytes, bytes] = {}  # what the user has staged: the status letter of each path
        self._refusals = Refusals(  # it sees these two as they are filled
            guest,
            repository,
            self._origin,
            prefix=self._prefix,
            tracked=self._tracked,
            theirs=self._theirs,
        )

    def run(self) -> Staged:
        repository = self._repository
        self._refusals.must_be_whole()
        repository.must_be_at_rest()
        repository.must_replace_nothing()
        self._list()
        paths = self._different() if self._all else self._changed()
        if not paths:
            raise _nothing()
        self._refusals.must_equal_git(paths)
        repository.begin()
        self._refusals.must_be_wanted(paths)
        index = NEXT
        if not self._all:
            index = OWN
            if repository.before is not None:
                repository.must(["read-tree", repository.before], index=OWN)
        self._refusals.must_not_be_filtered(paths, index)
        self._update(paths, index)
        changed = [letter + b" " + path for letter, path in self._statuses(index)]
        if not changed:
            raise _nothing()
        if index != NEXT:
            self._forget_files(paths)
            self._update(paths, NEXT)
        return Staged(index, changed, self._left(set(paths)))

    # -- what there is --------------------------------------------------------------------------------------

    def _list(self) -> None:
        listed = self._repository.must(
            ["ls-files", "-z", "-v", "--stage", "--cached", "--others", "--exclude-standard"],
            limit=PATHS_LIMIT,
        )
        for line in listed.split(b"\0")[:-1]:
            if line.startswith(b"? "):
                self._others.append(line[2:])
                continue
            head, _, path = line.partition(b"\t")
            tag, mode, name, stage_ = head.split(b" ")
            if stage_ != b"0":
                raise StepError("unmerged: " + shown(path) + "; resolve it and stage it, then commit")
            self._tracked[path] = (mode, tag, name)
        if not self._all:
            for letter, path in self._statuses(THEIRS):
                self._theirs[path] = letter
                self._tracked.setdefault(path, UNKNOWN)

    def _statuses(self, index: str) -> Iterable[tuple[bytes, bytes]]:
        """Where an index differs from the last commit: status letters and paths."""
        base = self._repository.before or _NOTHING[self._repository.settings.wide]
        output = self._repository.must(
            ["diff-index", "--cached", "--name-status", "--no-renames", *_MODULES, "-z", base, "--"],
            limit=PATHS_LIMIT,
            index=index,
        )
        fields = output.split(b"\0")[:-1]
        return zip(fields[::2], fields[1::2])  # noqa: B905 - the guest's Python may lack strict=

    def _different(self) -> list[bytes]:
        """Everything that differs from the index; of what is gone only what was there in the beginning."""
        listed = self._repository.must(
            ["ls-files", "-z", "--deleted", "--modified"], limit=PATHS_LIMIT
        ).split(b"\0")[:-1]
        with self._guest.identity:
            found = [
                path
                for path in dict.fromkeys(listed)
                if self._begun or self._was_there(path) or mode_at(self._repository.tree, path)
            ]
        return sorted([*found, *(path.rstrip(b"/") for path in self._others)])

    def _was_there(self, path: bytes) -> bool:
        """Whether what git tracks at a path was there in the beginning."""
        kinds = (DIRECTORY,) if self._tracked[path][0] == _LINKED else (FILE, LINK)
        return self._origin.kind(self._prefix + path) in kinds

    def _changed(self) -> list[bytes]:
        """Every path of which this run changed what git would commit."""
        others, committed = set(self._others), self._committed()
        alike = set()  # git does not list what it takes for a tracked path of other case
        if self._repository.settings.ignores_case:
            alike = {path.lower() for path in self._tracked}
        present, paths = set(), []
        for path, content in self._walk():
            present.add(path)
            changed = path in committed or self._origin.changed(self._prefix + path, content)
            if changed and (path in self._tracked or path in others or path.lower() in alike):
                paths.append(path)
        for path, (mode, *_) in self._tracked.items():
            if mode == _LINKED:
                if path not in present and self._moved(path):
                    paths.append(path)
            elif path not in present and (path in committed or self._was_there(path)):
                paths.append(path)
        paths += [path[:-1] for path in self._others if path.endswith(b"/") and self._moved(path[:-1])]
        return sorted(set(paths))

    def _committed(self) -> set[bytes]:
        """The paths in which the last commit differs from the one that the run's work began at.

        Where the branch was led away from that one, what is in the tree alone tells what the run changed.
        """
        now, began = self._repository.before, self._began_at()
        if now is None or began is None or began == now:
            return set()
        listed = self._repository.must(
            ["diff-tree", "-r", "--name-only", "--no-renames", "-z", began, now, "--"], limit=PATHS_LIMIT
        )
        return set(listed.split(b"\0")[:-1])

    def _began_at(self) -> str | None:
        """The commit that HEAD was at in the beginning, the empty tree for none, ``None`` where unknown.

        The origin has digests of the references alone, so it is looked for among the last commit's ancestors.
        """
        repository, references = self._repository, self._origin.references
        if repository.before is None:
            return None
        git = self._prefix + b".git/"
        loose = references.get(git + (repository.ref or b"HEAD"))
        tip = None
        if loose is None:
            packed, text = references.get(git + b"packed-refs"), repository.packed_references()
            if packed is not None:
                if packed[2:] != sha256.new(text).digest():
                    return None
                tip = git_files.packed(text, repository.ref or b"HEAD")
            if tip is None:  # unborn, unless this is another branch than in the beginning
                head = references.get(git + b"HEAD", b"")[2:]
                same = head == sha256.new(repository.head).digest()
                return _NOTHING[repository.settings.wide] if same else None
        for limit in (1, _ANCESTORS):  # mostly nothing was committed yet
            listed = repository.before.encode() + b"\n"
            if limit > 1:
                listed = repository.must(
                    ["rev-list", f"--max-count={limit}", repository.before], limit=PATHS_LIMIT
                )
            for line in listed.splitlines(keepends=True):
                name = line.decode().strip()
                if name == tip or (loose and sha256.new(line).digest() == loose[2:]):
                    return name
        return None

    def _walk(self) -> Iterable[tuple[bytes, bytes]]:
        """Path and content of every file and link of the working tree."""
        limits = Limits(
            max_entries=1_000_000,
            max_file_bytes=1 << 50,
            max_total_bytes=1 << 50,
            max_path_bytes=PATH_LIMIT,
            max_scan_bytes=1 << 30,
        )
        tree, began, found = self._repository.tree, time.time_ns(), {}
        with self._guest.identity:
            for record in walk(
                tree, limits, leave_out=lambda path, _: EXCLUDED * _is_git(path), known=self._known()
            ):
                if not self._repository.time_is_left():
                    raise StepError("timeout", {"exhausted": ["time"]})
                for entry in read_scan(record):
                    if entry.kind in {FILE, LINK}:
                        found[self._prefix + entry.path] = content_of(entry)
                        yield entry.path, found[self._prefix + entry.path]
        if not self._guest.config.shared:
            self._guest.settled = (began, found)

    def _known(self) -> Callable[[bytes, os.stat_result], bytes | None] | None:
        """What says the SHA-256 of a file that nobody changed since the guest knew its contents."""
        if self._guest.settled is None:
            return None
        settled_ns, contents = self._guest.settled
        prefix = self._prefix

        def digest(path: bytes, found: os.stat_result) -> bytes | None:
            content = contents.get(prefix + path)
            if content is None or content[0] != FILE or found.st_ctime_ns >= settled_ns - _TICK_NS:
                return None
            return content[2:]

        return digest

    def _moved(self, path: bytes) -> bool:
        return moved(self._guest, self._origin, self._repository.tree, self._prefix, path)

    # -- staging --------------------------------------------------------------------------------------------

    def _update(self, paths: Sequence[bytes], index: str) -> None:
        """What ``git add`` and ``git rm`` do, by plumbing.

        The commands run ``git status`` in every nested repository, and *its* configuration is believed there.
        """
        with self._guest.identity:
            replaced = {path for path in paths if self._is_replaced(path)}
        if replaced:
            self._feed(["--force-remove"], sorted(replaced), index)
        self._feed(
            ["--add", "--remove", "--replace"], [path for path in paths if path not in replaced], index
        )

    def _forget_files(self, paths: Sequence[bytes]) -> None:
        """Let ``NEXT`` know of no file's times, and assume nothing of any, so that git reads what these hold.

        Git writes an index anew without a look at what it is to assume unchanged. A change of the second
        before, of the same size, would then be no change by the times that the index has.
        """
        entries = ((path, *self._tracked.get(path, UNKNOWN)) for path in paths)
        lines = [
            b"%s %s 0\t%s" % (mode, name, path)
            for path, mode, tag, name in entries
            if name and tag not in b"Ss"
        ]
        if lines:
            self._repository.must(["update-index", "-z", "--index-info"], stdin=joined(lines), index=NEXT)

    def _is_replaced(self, path: bytes) -> bool:
        """Whether a path is gone because a directory took its place, or a link the place of its directory.

        The command has no answer to these.
        """
        tree = self._repository.tree
        if _is_beyond_link(tree, path):
            return True
        linked = self._tracked.get(path, (_LINKED,))[0] == _LINKED
        return not linked and stat.S_ISDIR(mode_at(tree, path)) and not mode_at(tree, path + b"/.git")

    def _feed(self, options: Sequence[str], paths: Sequence[bytes], index: str) -> None:
        command = ["update-index", "--verbose", *options, "-z", "--stdin"]
        said = self._repository.must(command, stdin=joined(paths), limit=PATHS_LIMIT, index=index)
        at, verb = 0, b"remove" if "--force-remove" in options else b"add"
        for path in paths:  # it leaves out in silence what it takes for no path of a repository
            line = b"%s '%s'\n" % (verb, path)
            if not said.startswith(line, at):
                raise StepError("git takes no such path: " + shown(path))
            at += len(line)

    def _left(self, taken: set[bytes]) -> list[bytes]:
        left = {path: letter for path, letter in self._theirs.items() if path not in taken}
        if not self._all:
            for path, letter in self._edited().items():
                if path not in taken:
                    left.setdefault(path, letter)
        left.update((path, b"?") for path in self._others if path.rstrip(b"/") not in taken)
        return [letter + b" " + path for path, letter in left.items()]

    def _edited(self) -> dict[bytes, bytes]:
        """What differs from the index after the commit, as far as no filter is in between: status letters.

        All files are read for it. Until something foreign runs, what the guest writes is the run's.
        """
        guest, name = self._guest, self._repository.name
        if name in guest.edited and not guest.config.shared:
            return guest.edited[name]
        listed = self._repository.must(
            ["ls-files", "-z", "-t", "--deleted", "--modified"], limit=PATHS_LIMIT, index=NEXT
        )
        found = {line[2:]: line[:1] for line in listed.split(b"\0")[:-1] if line.startswith(b"C ")}
        filters = self._refusals.filters(sorted(found), NEXT)
        edited = {path: b"M" for path in found if filters[path] in NO_FILTER}
        for line in listed.split(b"\0")[:-1]:  # what is gone is told twice
            if line.startswith(b"R "):
                edited.pop(line[2:], None)
                if not self._origin.lacks(self._prefix + line[2:]):
                    edited[line[2:]] = b"D"
        guest.edited[name] = dict(sorted(edited.items()))
        return guest.edited[name]


def _nothing() -> StepError:
    return StepError("nothing to commit", {"reason": "empty"})


def _is_git(path: bytes) -> bool:
    return path.rpartition(b"/")[2] == b".git"


def _is_beyond_link(tree: int, path: bytes) -> bool:
    """Whether a directory on the way to a path is a link."""
    at = path.find(b"/")
    while at >= 0:
        if stat.S_ISLNK(mode_at(tree, path[:at])):
            return True
        at = path.find(b"/", at + 1)
    return False

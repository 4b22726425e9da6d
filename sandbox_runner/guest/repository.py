"""A git repository of the workspace, made safe to run git in.

Git believes its repository: hooks, file-system monitors, clean filters, signing programs and more are named
by ``.git/config`` and would run; a reference may be a link, a branch a path that climbs, any file a pipe that
holds git for ever. Overriding what is dangerous one by one misses the next one, so git never sees the
``.git`` of the workspace but for two things in it: the objects, and the index, which it only reads.
Everything else stands in a repository of our own, made in memory for one call: *our* configuration with a
handful of harmless settings carried over, a HEAD and the one branch it names, copies of the few small files
that change what a commit is, and the indices that git writes. What came of it is carried back by this guest,
which follows no link and writes no reference that is not below ``refs/heads``: the new index under its lock,
and while that is held the branch under its own. So nothing of the workspace is ever out of its place,
whenever the call ends, and a call that fails leaves nothing behind but objects.

The objects, the index and the working tree are looked at before git opens them (``git_survey``). Attributes
name filters and drivers that nothing defines, so none runs. Nothing foreign is alive meanwhile, and git runs
as the sandbox uid, with a time that goes by how much there is to do.
"""

from __future__ import annotations

import os
import stat
import time

from sandbox_runner.guest import git_files, git_layout
from sandbox_runner.guest.git_layout import FILE_LIMIT, PACKED_LIMIT, Layout
from sandbox_runner.guest.git_settings import OURS, Settings
from sandbox_runner.guest.git_survey import survey
from sandbox_runner.guest.outcome import StepError, step_error
from sandbox_runner.guest.paths import close_parent, normal, open_directory
from sandbox_runner.guest.process import Ended, Program, run
from sandbox_runner.guest.scratch import remove_tree
from sandbox_runner.guest.sinks import HeadTail, Whole
from sandbox_runner.guest.tools import require_tool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from sandbox_runner.guest.context import Guest

__all__ = ["NEXT", "OWN", "SHAPING", "THEIRS", "Repository", "failure"]

THEIRS, NEXT, OWN = ".git/index", "next", "own"
"""Indices: the one of the repository, what takes its place after the commit, and one of our own."""

_CONFIG = b"config"
_REASON_LIMIT = 400
_SHARED_INDICES = 16
_BASE_S = 20.0
_ENTRY_S = 0.01
_BYTE_S = 0.25 / (1 << 20)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OWN = "repository.git"

# What changes what a commit is, copied for git.
_COPIED = (b"info/attributes", b"info/exclude", b"info/sparse-checkout", b"shallow")
_INDEX_LIMIT = 256 << 20

_REPLACED = b"refs/replace"
SHAPING = (
    *(b"HEAD", b"commondir", b"config", b"config.worktree", b"index", b"packed-refs"),
    *(*_COPIED, git_layout.BORROWED, _REPLACED),
    *(name for name, _ in git_layout.UNFINISHED),
)
"""What below a ``.git`` changes what a commit is, beside the branch."""


class Repository:
    """One repository of the run, open for git; leaving the context ends what was made for it.

    Args:
        guest: the sandbox.
        name: the repository's number or name in the run's configuration.
        create: whether a directory that is no repository becomes one.

    Attributes:
        ref: the branch that HEAD names, ``None`` where it names a commit.
        before: the commit that it is at, ``None`` where there is none yet.
        created: whether there was no repository before.
        below: the directory's components below the workspace.
        head: the text of its HEAD.
        settings: what its own configuration says of commits.
        tree: the directory, open.

    Raises:
        StepError: unknown, missing, or of a kind that is not supported.
    """

    __slots__ = (
        "_git",
        "_guest",
        "_index",
        "_names",
        "_own",
        "_scratch",
        "_until",
        "before",
        "below",
        "created",
        "head",
        "name",
        "ref",
        "settings",
        "tree",
    )

    def __init__(self, guest: Guest, name: str, *, create: bool) -> None:
        path = guest.config.repositories.get(name)
        if path is None:
            raise StepError("unknown repository: " + name)
        self._guest = guest
        self.name = name
        self.created = False
        self.ref: bytes | None = None
        self.before: str | None = None
        self.below = normal(path)
        self.head = b""
        self.settings = Settings()
        self._git = self._own = self._scratch = -1
        self._index: bytes | None = None  # the repository's, as it was
        self._names: set[bytes] = set()  # what is at the top of .git
        self._until = 0.0
        with guest.identity:
            self.tree = open_directory(guest.root, self.below, path)
            try:
                self._git = self._open(create=create)
            except BaseException:
                close_parent(guest.root, self.tree)
                raise

    def __enter__(self) -> Repository:  # noqa: PYI034 - typing.Self is not for 3.8
        try:
            with self._guest.identity:
                self._prepare()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def git(
        self, arguments: Sequence[str], *, stdin: bytes = b"", limit: int = 4 << 20, index: str = THEIRS
    ) -> tuple[Ended, bytes, str]:
        """Run git here: how it ended, what it wrote (at most ``limit`` bytes), and its complaint in one line.

        Args:
            arguments: the command and what belongs to it. One that writes no files of the working tree.
            stdin: what it reads.
            limit: of its output, in bytes.
            index: which index it uses; it may write ``NEXT`` and ``OWN``.

        Raises:
            StepError: the image has no git, time ran out, a signal ended it, or it wrote more than that.
        """
        own = self._guest.config.scratch[0] + "/" + _OWN
        output, complaint = Whole(limit), HeadTail(4096)
        # To git a commit is a matter of its index alone; it would look at every file of the tree for nothing.
        place = own + "/nothing" if arguments[0] == "commit" else "."
        program = Program(
            [require_tool("git"), "--no-pager", "--literal-pathspecs", *arguments],
            cwd=self.tree,
            sinks=[((1,), output), ((2,), complaint)],
            stdin=stdin,
            extra={
                "GIT_DIR": own,
                "GIT_INDEX_FILE": f"{self._within()}/{index}" if index == THEIRS else f"{own}/{index}",
                "GIT_OBJECT_DIRECTORY": self._within() + "/.git/objects",
                "GIT_OPTIONAL_LOCKS": "0",
                "GIT_WORK_TREE": place,
            },
        )
        known = self._guest.surveyed, self._guest.settled, self._guest.edited
        ended = run(self._guest, program, max(0.0, self._until - time.monotonic()))
        # Git makes files and directories in a ``.git``, no pipe or link where it looks, and no other file.
        self._guest.surveyed, self._guest.settled, self._guest.edited = known
        if ended.timed_out or ended.signal is not None:
            raise StepError(f"git {arguments[0]}: {ended.manner()}", {"exhausted": ended.exhausted})
        if output.cut:
            raise StepError(f"git {arguments[0]} wrote more than {limit} bytes", {"exhausted": ["output"]})
        return ended, bytes(output.data), complaint.text().replace(self._within() + "/", "")

    def must(
        self, arguments: Sequence[str], *, stdin: bytes = b"", limit: int = 4 << 20, index: str = THEIRS
    ) -> bytes:
        """The same, and it must end well: what it wrote.

        Raises:
            StepError: see ``git``; or it failed.
        """
        ended, output, complaint = self.git(arguments, stdin=stdin, limit=limit, index=index)
        if ended.code != 0:
            raise failure(ended, complaint)
        return output

    def must_be_at_rest(self) -> None:
        """See that nothing of the user's is under way here that a commit would conclude or disturb.

        Raises:
            StepError: something is.
        """
        git_layout.must_be_at_rest(self._names)

    def must_replace_nothing(self) -> None:
        """See that git would take every object for itself (``git replace``).

        Raises:
            StepError: it would take another for one.
        """
        with self._guest.identity:
            found = git_files.names(self._git, _REPLACED)
        if found or b" %s/" % _REPLACED in self.packed_references():
            raise StepError(
                "this commit would not be git's own: objects are replaced by others (refs/replace)"
            )

    def begin(self) -> None:
        """Make ``NEXT`` from the repository's index."""
        with self._guest.identity:
            self._index = git_files.read(self._git, b"index", _INDEX_LIMIT)
            if self._index is not None:
                git_files.write_new(self._own, NEXT.encode(), self._index)
                # Files as new as their index are looked at again by git: so the copy must be as old as it is.
                found = os.stat(b"index", dir_fd=self._git, follow_symlinks=False)
                os.utime(NEXT, ns=(found.st_mtime_ns, found.st_mtime_ns), dir_fd=self._own)

    def time_is_left(self) -> bool:
        """Whether this call may go on."""
        return time.monotonic() < self._until

    @property
    def branch(self) -> str | None:
        """The branch that HEAD names, as text."""
        return None if self.ref is None else self.ref.decode("utf-8", "backslashreplace")

    def publish(self) -> str:
        """Carry the commit that git made, and ``NEXT``, into the repository of the workspace; its name.

        Raises:
            StepError: git made none, or it cannot be carried over; then nothing was.
        """
        with self._guest.identity:
            place = self.ref or b"HEAD"
            commit = git_files.loose(self._own, place)
            if commit is None or commit == self.before:
                raise StepError("git made no commit")
            loose = git_files.must_be_file(self._git, _object_path(commit))
        if not loose:  # the very same commit is in a pack already
            self.must(["cat-file", "-e", commit])
        with self._guest.identity:
            index = git_files.read(self._own, NEXT.encode(), _INDEX_LIMIT)

            def move() -> None:
                if git_files.read(self._git, b"index", _INDEX_LIMIT) != self._index:
                    raise StepError("the index was changed by somebody else meanwhile")
                git_files.replace(self._git, place, commit.encode() + b"\n", self._record)

            if index is None:
                raise StepError("git wrote no index")
            git_files.replace(self._git, b"index", index, move)
            if self._at() != commit:
                raise StepError("the commit was made and HEAD is not at it")
        return commit

    def packed_references(self) -> bytes:
        """The text of ``packed-refs``, empty where there is none."""
        with self._guest.identity:
            return git_files.read(self._git, b"packed-refs", PACKED_LIMIT) or b""

    def _open(self, *, create: bool) -> int:
        try:
            mode = os.stat(".git", dir_fd=self.tree, follow_symlinks=False).st_mode
        except FileNotFoundError:
            if not create:
                raise StepError("not a git repository: " + self.name) from None
            self._initialise()
            mode = stat.S_IFDIR
        except OSError as error:
            raise step_error(error, ".git") from None
        if not stat.S_ISDIR(mode):
            raise StepError("unsupported repository: .git is no directory: " + self.name)
        try:
            return os.open(".git", _DIRECTORY, dir_fd=self.tree)
        except OSError as error:
            raise step_error(error, ".git") from None

    def _initialise(self) -> None:
        """What ``git init`` makes, without templates and without a process; all of it or nothing."""
        made = []
        try:
            for folder in (".git", ".git/objects", ".git/refs", ".git/refs/heads"):
                os.mkdir(folder, 0o755, dir_fd=self.tree)
                made.append(folder)
            git = os.open(".git", _DIRECTORY, dir_fd=self.tree)
            try:
                git_files.write_new(git, b"HEAD", b"ref: refs/heads/main\n")
                plain = b"[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n"
                git_files.write_new(git, _CONFIG, plain)
            finally:
                os.close(git)
        except (OSError, StepError) as error:
            if made:
                remove_tree(self.tree, ".git")
            raise error if isinstance(error, StepError) else step_error(error, ".git") from None
        self.created = True

    def _prepare(self) -> None:
        """Look at everything that git or this guest will open, and make the repository that git sees."""
        began = time.monotonic()
        found = Layout(self._git, self.name)
        self._names, self.head, self.settings = found.names, found.head, found.settings
        self.ref, self.before = found.ref, found.before
        entries = self._guest.surveyed.get(self.name)
        if entries is None or self._guest.config.shared:  # where the host's user may make anything meanwhile
            entries = self._guest.surveyed[self.name] = survey(self.tree, self._within())
        allowed = _allowed_s(self.tree, entries, shared=self._guest.config.shared)
        self._until = began + min(allowed, self._guest.config.limits.call_s)
        self._make_own()

    def _make_own(self) -> None:
        scratch = self._guest.config.scratch[0]
        try:
            self._scratch = os.open(scratch, _DIRECTORY)
            remove_tree(self._scratch, _OWN)
            os.mkdir(_OWN, 0o700, dir_fd=self._scratch)
            self._own = os.open(_OWN, _DIRECTORY, dir_fd=self._scratch)
            os.mkdir("refs", 0o700, dir_fd=self._own)
            os.mkdir("nothing", 0o700, dir_fd=self._own)
            for name in self._shared_indices():
                os.symlink(f"{self._within()}/.git/{name}", name, dir_fd=self._own)
        except OSError as error:
            raise step_error(error, scratch) from None
        git_files.write_new(self._own, _CONFIG, OURS + self.settings.carried)
        git_files.write_new(self._own, b"HEAD", self.head)
        if self.ref is not None and self.before is not None:
            git_files.write_new(self._own, self.ref, self.before.encode() + b"\n")
        for path in filter(self._may_have, _COPIED):
            text = git_files.read(self._git, path, FILE_LIMIT)
            if text is not None:
                git_files.write_new(self._own, path, text)

    def _shared_indices(self) -> list[str]:
        """The other halves of a split index."""
        found = sorted(name for name in self._names if name.startswith(b"sharedindex."))[:_SHARED_INDICES]
        for name in found:
            git_files.must_be_file(self._git, name)
        return [os.fsdecode(name) for name in found]

    def _may_have(self, path: bytes) -> bool:
        """Whether there can be something at a path below ``.git``, by what is at its top."""
        return path.partition(b"/")[0] in self._names

    def _within(self) -> str:
        return "/".join((self._guest.config.workspace, *map(os.fsdecode, self.below)))

    def _at(self) -> str | None:
        """The commit that HEAD is at now."""
        head = b"" if self.ref else git_layout.read_head(self._git, self.name)
        return git_layout.at(head, self.ref, self._git)

    def _record(self) -> None:
        """What git writes beside the reference itself, while nobody else may."""
        if self._at() != self.before:
            raise StepError("HEAD was moved by somebody else meanwhile")
        for path in {b"logs/HEAD", b"logs/" + (self.ref or b"HEAD")}:
            lines = git_files.read(self._own, path, FILE_LIMIT)
            if lines:
                git_files.append(self._git, path, lines)
        message = git_files.read(self._own, b"COMMIT_EDITMSG", FILE_LIMIT)
        git_files.remove(self._git, b"COMMIT_EDITMSG")
        git_files.write_new(self._git, b"COMMIT_EDITMSG", message or b"")

    def _close(self) -> None:
        with self._guest.identity:
            if self._own >= 0:
                os.close(self._own)
            if self._scratch >= 0:
                remove_tree(self._scratch, _OWN)
                os.close(self._scratch)
        os.close(self._git)
        close_parent(self._guest.root, self.tree)


def _allowed_s(tree: int, entries: int, *, shared: bool) -> float:
    """How long the processes of one call may take together, by what there is to do for them."""
    used = 0
    if not shared:  # otherwise the file system is the host's, and says nothing about the workspace
        space = os.fstatvfs(tree)
        used = (space.f_blocks - space.f_bfree) * space.f_frsize
        entries = max(entries, space.f_files - space.f_ffree)  # files were written since the survey
    return _BASE_S + entries * _ENTRY_S + used * _BYTE_S


def _object_path(name: str) -> bytes:
    return f"objects/{name[:2]}/{name[2:]}".encode()


def failure(ended: Ended, complaint: str) -> StepError:
    """Why git failed, in its own words; the words that hold a path of some machine are told beside the facts.

    A repository names places of the machine it comes from (objects borrowed from another, a submodule's
    directory), and git repeats them. What is proved of a step holds on any machine, so of every line it has
    what stands before such a path.
    """
    whole = " ".join(complaint.split())[:_REASON_LIMIT]
    lines = [_before_place(line) for line in complaint.splitlines() if not line.startswith("warning: ")]
    words = " ".join(" ".join(lines).split())[:_REASON_LIMIT]
    return StepError(words or f"git ended with exit={ended.code}", {"meta": {"complaint": whole}})


def _before_place(line: str) -> str:
    """A line up to the first absolute path, or one that climbs."""
    for at, c in enumerate(line):
        if c in "/~\\" and (at == 0 or not (line[at - 1].isalnum() or line[at - 1] in "_-.")):
            return line[:at].rstrip(" '\"`(=:") + " ..."
        if line.startswith("../", at):
            return line[:at].rstrip(" '\"`(=:") + " ..."
    return line

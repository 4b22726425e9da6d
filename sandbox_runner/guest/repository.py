"""A git repository of the workspace, made safe to run git in.

Git believes its repository: hooks, file-system monitors, clean filters, signing programs and more are named
by ``.git/config`` and would run; a reference may be a link, a branch a path that climbs, any file a pipe that
holds git for ever. Overriding what is dangerous one by one misses the next one, so git never sees the
``.git`` of the workspace but for two things in it: the objects and the index. Everything else stands in a
repository of our own, made in memory for one call: *our* configuration with a handful of harmless settings
carried over, a HEAD and the one branch it names, and copies of the few small files that change what a commit
is. What git wrote there is carried back by this guest, which follows no link and writes no reference that is
not below ``refs/heads``. So nothing of the workspace is ever out of its place, whenever the call ends.

The objects, the index and the working tree are looked at before git opens them (``git_survey``). Attributes
name filters and drivers that nothing defines, so none runs. Nothing foreign is alive meanwhile, and git runs
as the sandbox uid, with a time that goes by how much there is to do.
"""

from __future__ import annotations

import os
import stat
import time

from sandbox_runner.guest import git_files
from sandbox_runner.guest.git_files import object_name as _object_name
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

__all__ = ["Repository"]

_CONFIG = b"config"
_KEPT = b"config.sandbox-kept"
_LOCK = b"index.lock"
_FILE_LIMIT = 1 << 20
_PACKED_LIMIT = 16 << 20
_REASON_LIMIT = 400
_SHARED_INDICES = 16
_BASE_S = 20.0
_ENTRY_S = 0.01
_BYTE_S = 0.25 / (1 << 20)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OWN = "repository.git"

# What changes what a commit is, copied for git; and what git removes after a commit, removed with it.
_COPIED = (b"info/attributes", b"info/exclude", b"shallow")
_STATE = (b"AUTO_MERGE", b"CHERRY_PICK_HEAD", b"MERGE_HEAD", b"MERGE_MODE", b"MERGE_MSG", b"REVERT_HEAD",
          b"SQUASH_MSG")  # fmt: skip
_WRITTEN = (b"COMMIT_EDITMSG", b"logs/HEAD", b"index")
_BORROWED = b"objects/info/alternates"

# Settings that change what is committed and start nothing; every value of theirs is one plain word.
_CARRIED = {
    b"core": (b"autocrlf", b"eol", b"filemode", b"ignorecase", b"repositoryformatversion", b"symlinks"),
    b"extensions": (b"objectformat",),
}
# Objects are renamed into place: by a link, old gVisor's file server keeps a descriptor for each for ever.
_OURS = b"""\
[core]
\tbare = false
\tlogAllRefUpdates = true
\thooksPath = /dev/null
\tfsmonitor = false
\tuntrackedCache = false
\tattributesFile = /dev/null
\texcludesFile = /dev/null
\tfsync = none
\tcreateObject = rename
\tsplitIndex = false
\tcommitGraph = false
\tmultiPackIndex = false
\tpreloadIndex = false
[advice]
\taddEmbeddedRepo = false
[commit]
\tgpgSign = false
[diff]
\tignoreSubmodules = dirty
[gc]
\tauto = 0
[index]
\tthreads = 1
[maintenance]
\tauto = false
[pack]
\tthreads = 1
[protocol]
\tallow = never
[submodule]
\trecurse = false
"""


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

    Raises:
        StepError: unknown, missing, or of a kind that is not supported.
    """

    __slots__ = (
        "_git",
        "_guest",
        "_locked",
        "_names",
        "_own",
        "_scratch",
        "_tree",
        "_until",
        "before",
        "created",
        "name",
        "name_length",
        "ref",
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
        self.name_length = 40
        self._git = self._own = self._scratch = -1
        self._locked = True
        self._names: set[bytes] = set()  # what is at the top of .git
        self._until = 0.0
        with guest.identity:
            self._tree = open_directory(guest.root, normal(path), path)
            try:
                self._git = self._open(create=create)
            except BaseException:
                close_parent(guest.root, self._tree)
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
        self, arguments: Sequence[str], *, stdin: bytes = b"", limit: int = 4 << 20
    ) -> tuple[Ended, bytes, str]:
        """Run git here: how it ended, what it wrote (at most ``limit`` bytes), and its complaint in one line.

        Raises:
            StepError: the image has no git, time ran out, a signal ended it, or it wrote more than that.
        """
        output, complaint = Whole(limit), HeadTail(4096)
        program = Program(
            [require_tool("git"), "--no-pager", "--literal-pathspecs", *arguments],
            cwd=self._tree,
            sinks=[((1,), output), ((2,), complaint)],
            stdin=stdin,
            extra={
                "GIT_DIR": self._guest.config.scratch[0] + "/" + _OWN,
                "GIT_INDEX_FILE": ".git/index",
                "GIT_OBJECT_DIRECTORY": ".git/objects",
                "GIT_WORK_TREE": ".",
            },
        )
        surveyed = self._guest.surveyed
        ended = run(self._guest, program, max(0.0, self._until - time.monotonic()))
        self._guest.surveyed = surveyed  # git makes files and directories, and no pipe or link where it looks
        words = " ".join(complaint.text().split())[:_REASON_LIMIT]
        if ended.timed_out or ended.signal is not None:
            raise StepError(f"git {arguments[0]}: {ended.manner()}", {"exhausted": ended.exhausted})
        if output.cut:
            raise StepError(f"git {arguments[0]} wrote more than {limit} bytes", {"exhausted": ["output"]})
        return ended, bytes(output.data), words

    @property
    def branch(self) -> str | None:
        """The branch that HEAD names, as text."""
        return None if self.ref is None else self.ref.decode("utf-8", "backslashreplace")

    def publish(self) -> str:
        """Carry the commit that git made into the repository of the workspace; its name.

        Raises:
            StepError: git made none, or it cannot be carried over.
        """
        with self._guest.identity:
            place = self.ref or b"HEAD"
            commit = git_files.loose(self._own, place)
            if commit is None or commit == self.before:
                raise StepError("git made no commit")
            git_files.must_be_file(self._git, _object_path(commit), missing=False)
            git_files.replace(self._git, place, commit.encode() + b"\n", self._record)
            for path in filter(self._may_have, _STATE):
                if not git_files.exists(self._own, path):
                    git_files.remove(self._git, path)
            if self._at() != commit:
                raise StepError("the commit was made and HEAD is not at it")
        return commit

    def _open(self, *, create: bool) -> int:
        try:
            mode = os.stat(".git", dir_fd=self._tree, follow_symlinks=False).st_mode
        except FileNotFoundError:
            if not create:
                raise StepError("not a git repository: " + self.name) from None
            self._initialise()
            mode = stat.S_IFDIR
        except OSError as error:
            raise step_error(error, ".git") from None
        if not stat.S_ISDIR(mode):
            raise StepError("unsupported repository: .git is no directory: " + self.name)
        fd = -1
        try:
            fd = os.open(".git", _DIRECTORY, dir_fd=self._tree)
            linked = git_files.exists(fd, b"commondir")  # references and objects would come from elsewhere
        except OSError as error:
            if fd >= 0:
                os.close(fd)
            raise step_error(error, ".git") from None
        if linked:
            os.close(fd)
            raise StepError("unsupported repository: .git is a linked working tree: " + self.name)
        return fd

    def _initialise(self) -> None:
        """What ``git init`` makes, without templates and without a process; all of it or nothing."""
        made = []
        try:
            for folder in (".git", ".git/objects", ".git/refs", ".git/refs/heads"):
                os.mkdir(folder, 0o755, dir_fd=self._tree)
                made.append(folder)
            git = os.open(".git", _DIRECTORY, dir_fd=self._tree)
            try:
                git_files.write_new(git, b"HEAD", b"ref: refs/heads/main\n")
                plain = b"[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n"
                git_files.write_new(git, _CONFIG, plain)
            finally:
                os.close(git)
        except (OSError, StepError) as error:
            if made:
                remove_tree(self._tree, ".git")
            raise error if isinstance(error, StepError) else step_error(error, ".git") from None
        self.created = True

    def _prepare(self) -> None:
        """Look at everything that git or this guest will open, and make the repository that git sees."""
        began = time.monotonic()
        self._names = {os.fsencode(name) for name in os.listdir(self._git)}
        if _KEPT in self._names:  # a version that put its own in this place died meanwhile
            raise StepError(
                "unsupported repository: .git/config.sandbox-kept is its configuration as it was, "
                "left by a call that died; rename it to .git/config"
            )
        head = self._head()
        self.ref = git_files.branch_of(head)
        if self.ref == b"refs/heads/.invalid":
            raise StepError("unsupported repository: references are kept in a reftable: " + self.name)
        self.before = self._at()
        if self.ref is None and self.before is None:
            raise StepError("not a git repository: " + self.name)
        carried = _carried(git_files.read(self._git, _CONFIG, _FILE_LIMIT) or b"")
        self.name_length = 64 if b"sha256" in carried else 40
        for path in (*_WRITTEN, b"logs/" + (self.ref or b"HEAD")):
            if self._may_have(path):
                git_files.must_be_file(self._git, path)
        if git_files.read(self._git, _BORROWED, _FILE_LIMIT):
            raise StepError("unsupported repository: it borrows objects from another: " + self.name)
        self._locked = _LOCK in self._names
        entries = self._guest.surveyed.get(self.name)
        if entries is None or self._guest.config.shared:  # where the host's user may make anything meanwhile
            entries = self._guest.surveyed[self.name] = survey(self._tree, self._within())
        allowed = _allowed_s(self._tree, entries, shared=self._guest.config.shared)
        self._until = began + min(allowed, self._guest.config.limits.call_s)
        self._make_own(head, carried)

    def _make_own(self, head: bytes, carried: bytes) -> None:
        scratch = self._guest.config.scratch[0]
        try:
            self._scratch = os.open(scratch, _DIRECTORY)
            remove_tree(self._scratch, _OWN)
            os.mkdir(_OWN, 0o700, dir_fd=self._scratch)
            self._own = os.open(_OWN, _DIRECTORY, dir_fd=self._scratch)
            os.mkdir("refs", 0o700, dir_fd=self._own)
            for name in self._shared_indices():
                os.symlink(f"{self._within()}/.git/{name}", name, dir_fd=self._own)
        except OSError as error:
            raise step_error(error, scratch) from None
        git_files.write_new(self._own, _CONFIG, _OURS + carried)
        git_files.write_new(self._own, b"HEAD", head)
        if self.ref is not None and self.before is not None:
            git_files.write_new(self._own, self.ref, self.before.encode() + b"\n")
        for path in filter(self._may_have, (*_COPIED, *_STATE)):
            text = git_files.read(self._git, path, _FILE_LIMIT)
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
        config = self._guest.config
        return config.workspace + "/" + config.repositories[self.name]

    def _head(self) -> bytes:
        try:
            head = git_files.read(self._git, b"HEAD", 4096)
        except StepError as error:
            raise StepError(f"not a git repository: {self.name} ({error.reason})") from None
        if head is None:
            raise StepError("not a git repository: " + self.name)
        return head

    def _at(self) -> str | None:
        """The commit that HEAD is at now."""
        if self.ref is None:
            return _object_name(self._head())
        found = git_files.loose(self._git, self.ref)
        if b"packed-refs" not in self._names:
            return found
        text = git_files.read(self._git, b"packed-refs", _PACKED_LIMIT) or b""
        return found or git_files.packed(text, self.ref)

    def _record(self) -> None:
        """What git writes beside the reference itself, while nobody else may."""
        if self._at() != self.before:
            raise StepError("HEAD was moved by somebody else meanwhile")
        for path in {b"logs/HEAD", b"logs/" + (self.ref or b"HEAD")}:
            lines = git_files.read(self._own, path, _FILE_LIMIT)
            if lines:
                git_files.append(self._git, path, lines)
        message = git_files.read(self._own, b"COMMIT_EDITMSG", _FILE_LIMIT)
        git_files.remove(self._git, b"COMMIT_EDITMSG")
        git_files.write_new(self._git, b"COMMIT_EDITMSG", message or b"")

    def _close(self) -> None:
        with self._guest.identity:
            if not self._locked:  # git was killed while it held it
                git_files.remove(self._git, _LOCK)
            if self._own >= 0:
                os.close(self._own)
            if self._scratch >= 0:
                remove_tree(self._scratch, _OWN)
                os.close(self._scratch)
        os.close(self._git)
        close_parent(self._guest.root, self._tree)


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


def _carried(own: bytes) -> bytes:
    """The settings that are carried over: lines of the plainest form alone, the rest stays out."""
    section, kept = b"", []
    for raw in own.split(b"\n"):
        line = raw.strip()
        if line.startswith(b"["):
            section = line[1:-1].lower() if line.endswith(b"]") else b""
            continue
        key, equals, value = (part.strip() for part in line.partition(b"="))
        if key.lower() in _CARRIED.get(section, ()) and equals and value.isalnum():
            kept.append(b"[%s]\n\t%s = %s\n" % (section, key.lower(), value))
    return b"".join(kept)

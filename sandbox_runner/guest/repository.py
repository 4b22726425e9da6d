"""A git repository of the workspace, made safe to run git in.

Git believes its repository: hooks, file-system monitors, clean filters, signing programs and more are named
by ``.git/config`` and would run. Overriding the dangerous settings one by one misses the next one, so while
git runs the repository has *our* configuration, with a handful of harmless settings carried over; its own
is put back afterwards. Attributes then name filters and drivers that nothing defines, so none runs. Nothing
foreign is alive meanwhile, and git runs as the sandbox uid.
"""

from __future__ import annotations

import errno
import os
import stat

from sandbox_runner.guest.outcome import StepError, step_error
from sandbox_runner.guest.paths import close_parent, normal, open_directory, read_file
from sandbox_runner.guest.process import Ended, Program, run
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
_NEW = b"config.sandbox-new"
_CONFIG_LIMIT = 1 << 20
_PACKED_LIMIT = 16 << 20
_REASON_LIMIT = 400
_GIT_S = 60.0
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

# Settings that change what is committed and start nothing; every value of theirs is one plain word.
_CARRIED = {
    b"core": (b"autocrlf", b"eol", b"filemode", b"ignorecase", b"repositoryformatversion", b"symlinks"),
    b"extensions": (b"objectformat",),
}
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
    """One repository of the run, open for git; leaving the context gives it its own configuration back.

    Args:
        guest: the sandbox.
        name: the repository's number or name in the run's configuration.
        create: whether a directory that is no repository becomes one.

    Raises:
        StepError: unknown, missing, or of a kind that is not supported.
    """

    __slots__ = ("_git", "_guest", "_tree", "_written", "created", "name", "name_length")

    def __init__(self, guest: Guest, name: str, *, create: bool) -> None:
        path = guest.config.repositories.get(name)
        if path is None:
            raise StepError("unknown repository: " + name)
        self._guest = guest
        self.name = name
        self.created = False
        self._written = False
        self.name_length = 40
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
                self._swap_in()
        except OSError as error:
            self._close()
            raise step_error(error, ".git/config") from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            with self._guest.identity:
                self._swap_out()
        finally:
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
            extra={"GIT_DIR": ".git", "GIT_WORK_TREE": "."},
        )
        ended = run(self._guest, program, _GIT_S)
        words = " ".join(complaint.text().split())[:_REASON_LIMIT]
        if ended.timed_out or ended.signal is not None:
            raise StepError(f"git {arguments[0]}: {ended.manner()}", {"exhausted": ended.exhausted})
        if output.cut:
            raise StepError(f"git {arguments[0]} wrote more than {limit} bytes", {"exhausted": ["output"]})
        return ended, bytes(output.data), words

    def head(self) -> tuple[str | None, str | None]:
        """The branch that HEAD names (``None``: detached) and the commit it is at (``None``: none yet)."""
        with self._guest.identity:
            text = self._read((b"HEAD",), 4096)
            if text is None:
                raise StepError("not a git repository: " + self.name)
            if not text.startswith(b"ref:"):
                return None, _object_name(text)
            ref = text[4:].strip()
            if ref == b"refs/heads/.invalid":
                raise StepError("unsupported repository: references are kept in a reftable: " + self.name)
            loose = self._read(tuple(ref.split(b"/")), 4096)
            return ref.decode("utf-8", "backslashreplace"), _object_name(loose) or self._packed(ref)

    def _packed(self, ref: bytes) -> str | None:
        for line in (self._read((b"packed-refs",), _PACKED_LIMIT) or b"").split(b"\n"):
            name, _, target = line.partition(b" ")
            if target == ref:
                return _object_name(name)
        return None

    def _read(self, parts: tuple[bytes, ...], limit: int) -> bytes | None:
        parent = self._git
        if any(part in {b"", b".", b".."} for part in parts):
            return None
        try:
            parent = open_directory(self._git, parts[:-1], "")
            return read_file(parent, parts[-1], "", limit)[0]
        except (StepError, OSError):
            return None
        finally:
            close_parent(self._git, parent)

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
            linked = _exists(fd, b"commondir")  # configuration and references would come from elsewhere
        except OSError as error:
            if fd >= 0:
                os.close(fd)
            raise step_error(error, ".git") from None
        if linked:
            os.close(fd)
            raise StepError("unsupported repository: .git is a linked working tree: " + self.name)
        return fd

    def _initialise(self) -> None:
        """What ``git init`` makes, without templates and without a process."""
        try:
            for folder in (".git", ".git/objects", ".git/refs", ".git/refs/heads"):
                os.mkdir(folder, 0o755, dir_fd=self._tree)
            git = os.open(".git", _DIRECTORY, dir_fd=self._tree)
            try:
                _write(git, b"HEAD", b"ref: refs/heads/main\n")
                _write(
                    git,
                    _CONFIG,
                    b"[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n",
                )
            finally:
                os.close(git)
        except OSError as error:
            raise step_error(error, ".git") from None
        self.created = True

    def _swap_in(self) -> None:
        """Our configuration in, its own out of git's sight; a rename needs no space and follows no link."""
        if _exists(self._git, _KEPT):
            raise OSError(errno.EEXIST, "a kept configuration is in the way")
        carried = _carried(self._read((_CONFIG,), _CONFIG_LIMIT) or b"")
        self.name_length = 64 if b"sha256" in carried else 40
        _discard(self._git, _NEW)
        _write(self._git, _NEW, _OURS + carried)
        if _exists(self._git, _CONFIG):
            os.rename(_CONFIG, _KEPT, src_dir_fd=self._git, dst_dir_fd=self._git)
        os.rename(_NEW, _CONFIG, src_dir_fd=self._git, dst_dir_fd=self._git)
        self._written = True

    def _swap_out(self) -> None:
        if not self._written:
            return
        if _exists(self._git, _KEPT):
            os.rename(_KEPT, _CONFIG, src_dir_fd=self._git, dst_dir_fd=self._git)
        else:
            os.unlink(_CONFIG, dir_fd=self._git)

    def _close(self) -> None:
        os.close(self._git)
        close_parent(self._guest.root, self._tree)


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


def _object_name(text: bytes | None) -> str | None:
    name = (text or b"").strip().decode("ascii", "replace")
    return name if len(name) in {40, 64} and all(c in "0123456789abcdef" for c in name) else None


def _exists(parent: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _write(parent: int, name: bytes, data: bytes) -> None:
    fd = os.open(
        name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=parent
    )
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def _discard(parent: int, name: bytes) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return

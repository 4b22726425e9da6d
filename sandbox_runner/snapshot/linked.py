"""A linked working tree (``git worktree add``), captured with a plain repository in place of its ``.git``.

There ``.git`` is a file that names a directory elsewhere: and a file of the workspace is a stranger's word.
Whoever follows it would put any repository of the user's into the sandbox and its record. So it counts only
where the other side says the same, as git leaves it: the directory is ``COMMON/worktrees/NAME``, its
``gitdir`` leads back to this very file, its ``commondir`` to COMMON, and all of it belongs to the owner of
the file. No link is followed on the way, and what was found is held open until the capture is over.

Format: gitrepository-layout(5), git-worktree(1) DETAILS.
"""

from __future__ import annotations

import errno
import hashlib
import heapq
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Self

from sandbox_runner.guest import git_files, tree
from sandbox_runner.guest.git_layout import FILE_LIMIT
from sandbox_runner.guest.git_settings import Settings, parse
from sandbox_runner.guest.outcome import StepError
from sandbox_runner.guest.tree_records import (
    COMPOSED,
    DIRECTORY,
    END,
    FILE,
    NOTE,
    OMISSION,
    PIECE_LAST,
    Scan,
    Want,
    pack_piece,
    pack_scan,
    pack_want,
    read_pieces,
    read_scan,
    read_wants,
)
from sandbox_runner.guest.tree_walk import NO_PART, Limits, walk
from sandbox_runner.snapshot.ignore import Ignore

__all__ = ["LayoutError", "Linked", "plain_config"]

_PATH_BYTES = 4096
_GIT = b".git"
_CONFIG = b".git/config"
_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

# What the working trees of a repository share; everything else is one's own. Hooks do not run and the
# directories of submodules lie elsewhere for each, so neither comes along.
_SHARED = frozenset({b"objects", b"packed-refs", b"config", b"shallow", b"refs", b"logs", b"info"})
_POINTERS = frozenset({b"gitdir", b"commondir", b"locked", b"modules"})
_OWN = (
    b"info/sparse-checkout",
    b"logs/HEAD",
    *(at + name for at in (b"refs/", b"logs/refs/") for name in (b"bisect", b"worktree", b"rewritten")),
)

_CLONE = "Run on a clone of it (git clone FROM TO), or leave the commits out of the trail."
_REPAIR = "If it was moved, run git worktree repair in it; else run on a clone of it."


class LayoutError(Exception):
    """Why git cannot work on a directory as it lies there; the text says it, ``hint`` what to do."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.hint = hint


class Linked:
    """The two directories of a linked working tree, held open until ``close``.

    Args:
        root: the working tree, open.

    Attributes:
        git: the directory of its own, open.
        common: the one it shares, open.

    Raises:
        LayoutError: its ``.git`` is no such thing, or the other side does not say the same.
        FileNotFoundError: it has no ``.git``.
    """

    def __init__(self, root: int) -> None:
        file = os.stat(_GIT, dir_fd=root, follow_symlinks=False)
        if stat.S_ISLNK(file.st_mode):
            raise LayoutError("its .git is a symbolic link, and no link is followed", _CLONE)
        if not stat.S_ISREG(file.st_mode):
            raise LayoutError("its .git is neither a directory nor a file", "Remove it.")
        with ExitStack() as held:
            try:
                self._find(root, held)
                self._must_agree(root, file, held)
            except OSError as error:
                why = error.strerror or str(error)
                raise LayoutError(f"where its .git file leads cannot be opened ({why})", _REPAIR) from None
            except StepError as error:
                raise LayoutError(
                    f"where its .git file leads cannot be read ({error.reason})", _REPAIR
                ) from None
            self._held = held.pop_all()

    def close(self) -> None:
        """Let go of both. Safe to call again."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _find(self, root: int, held: ExitStack) -> None:
        target = _pointer(root, _GIT, b"gitdir: ")
        parts = target.rstrip(b"/").split(b"/")
        if len(parts) < 3 or parts[-2] != b"worktrees" or parts[-1] in {b"", b".", b".."}:
            if b"modules" in parts:
                raise LayoutError("it is a submodule's working tree, whose repository lies elsewhere", _CLONE)
            raise LayoutError("its repository lies elsewhere, where its .git file says", _CLONE)
        self.git = _directory(root, target, held)
        self.common = _directory(self.git, b"../..", held)
        listed = _directory(self.common, b"worktrees/" + parts[-1], held)
        shared = _directory(self.git, _pointer(self.git, b"commondir", b""), held)
        if not _same(listed, self.git) or not _same(shared, self.common):
            raise LayoutError("its .git file does not lead to the worktrees of a repository", _REPAIR)

    def _must_agree(self, root: int, file: os.stat_result, held: ExitStack) -> None:
        folder, _, name = _pointer(self.git, b"gitdir", b"").rpartition(b"/")
        there = os.stat(name, dir_fd=_directory(self.git, folder + b"/", held), follow_symlinks=False)
        if name != _GIT or file.st_nlink != 1 or not os.path.samestat(there, file):
            raise LayoutError("the repository that its .git file names knows another working tree", _REPAIR)
        if there.st_ctime_ns != file.st_ctime_ns:
            raise LayoutError("its .git file was changed meanwhile", _REPAIR)
        owners = {os.fstat(fd).st_uid for fd in (root, self.git, self.common)}
        if owners != {file.st_uid}:
            raise LayoutError("its .git file names a repository of another owner", _CLONE)

    # -- as a part of a capture -----------------------------------------------------------------------------

    def spliced(self, root: int, limits: Limits, ignore: Ignore, ours: Ignore) -> Iterator[bytes]:
        """The scan records of the working tree with a plain repository in it, packed.

        Args:
            root: the working tree, open.
            limits: of all of it together.
            ignore: what is left out of the working tree.
            ours: the same rules once more, for the repository.

        Raises:
            OSError: the shared settings, or the directories, cannot be read any more.
            TooManyEntriesError: see ``walk``.
        """
        git = list(_without(ours, self._records(limits)))
        notes: dict[int, Scan] = {}
        waiting = [record for record in git if record.kind not in {NOTE, END}]
        count = 0
        parts = walk(
            root,
            _less(limits, waiting),
            leave_out=lambda path, directory: NO_PART if path == _GIT else ignore.reason(path, directory),
        )
        ordinary = (record for body in parts for record in read_scan(body))
        ending = [record for record in git if record.kind == NOTE]
        for record in ordinary:
            if record.kind == NOTE:
                ending.append(record)
                continue
            if waiting and (record.kind == END or record.path.split(b"/") > [_GIT]):
                count += len(waiting)
                yield from map(_packed, waiting)
                waiting = []
            if record.kind != END:
                count += 1
                yield _packed(record)
        for record in ending:
            known = notes.setdefault(record.detail, Scan(NOTE, record.detail, 0, bytes(32), record.path))
            known.size += record.size
        yield from map(_packed, notes.values())
        yield pack_scan(END, 0, count, bytes(32), b"")

    def _records(self, limits: Limits) -> Iterator[Scan]:
        """What a plain ``.git`` would hold, in walk order, and its notes."""
        config = self.config()
        own = _walked(self.git, limits, _left_of_own)
        shared = _walked(self.common, _less(limits, own), _left_of_shared)
        yield Scan(DIRECTORY, 0, 0, bytes(32), _GIT)
        before = None
        merged = heapq.merge(
            *([record for record in found if record.kind != NOTE] for found in (own, shared)),
            key=lambda record: record.path.split(b"/"),
        )
        for record in merged:
            if record.kind == DIRECTORY and record.path == before:  # both have one
                continue
            before = record.path
            if record.path == _CONFIG and config is not None:
                record = Scan(FILE, 0, len(config), hashlib.sha256(config).digest(), _CONFIG)  # noqa: PLW2901
            yield record
        yield from (record for found in (own, shared) for record in found if record.kind == NOTE)
        yield Scan(NOTE, COMPOSED, 1, bytes(32), _GIT)

    def fetch(self, root: int, wants: bytes) -> Iterator[bytes]:
        """The bodies of the answers to a fetch request of this tree."""
        for number, want in enumerate(read_wants(wants)):
            for state, data in self._contents(root, want):
                yield pack_piece(number, state, data)

    def _contents(self, root: int, want: Want) -> Iterator[tuple[int, bytes]]:
        below = int(want.path.startswith(_GIT + b"/"))
        fd = root
        if below:
            if want.path == _CONFIG and (config := self.config()) is not None:
                yield PIECE_LAST, config
                return
            fd = self.git if _is_own(want.path[len(_GIT) + 1 :]) else self.common
        for _, body in tree.fetch(fd, {}, pack_want(want.kind, want.path), below=below):
            for piece in read_pieces(body):
                yield piece.state, piece.data

    def config(self) -> bytes | None:
        """The shared settings for a plain repository; ``None`` where they can stay as they are."""
        try:
            return plain_config(git_files.read(self.common, b"config", FILE_LIMIT) or b"")
        except StepError as error:  # it was read before, and changed meanwhile
            raise OSError(errno.EIO, error.reason) from None


def plain_config(text: bytes) -> bytes | None:
    """Shared settings without ``core.bare`` and ``core.worktree``, which concern the main working tree alone.

    ``None`` where there are none, or where they concern every working tree (``extensions.worktreeConfig``),
    or where git could not read them.
    """
    settings = Settings()
    settings.take(text, "config")
    main = {(b"core", b"", b"bare"), (b"core", b"", b"worktree")}
    with suppress(ValueError):
        found = list(parse(text))
        if not settings.per_worktree and any(item[:3] in main for item in found):
            return b"".join(_written(*item) for item in found if item[:3] not in main)
    return None


def _written(section: bytes, within: bytes, key: bytes, value: bytes | None) -> bytes:
    named = b' "%s"' % within.replace(b"\\", b"\\\\").replace(b'"', b'\\"') if within else b""
    if value is None:
        return b"[%s%s]\n\t%s\n" % (section, named, key)
    for plain, escaped in (
        (b"\\", b"\\\\"),
        (b'"', b'\\"'),
        (b"\n", b"\\n"),
        (b"\t", b"\\t"),
        (b"\b", b"\\b"),
    ):
        value = value.replace(plain, escaped)
    return b'[%s%s]\n\t%s = "%s"\n' % (section, named, key, value)


def _is_own(path: bytes) -> bool:
    """Whether a path below a ``.git`` is of one working tree and not of all."""
    return path.partition(b"/")[0] not in _SHARED or any(
        path == own or path.startswith(own + b"/") for own in _OWN
    )


def _left_of_own(path: bytes, _is_directory: bool) -> int:
    path = path[len(_GIT) + 1 :]
    if path.partition(b"/")[0] in _POINTERS:
        return NO_PART
    return 0 if _is_own(path) or any(own.startswith(path + b"/") for own in _OWN) else NO_PART


def _left_of_shared(path: bytes, _is_directory: bool) -> int:
    return NO_PART if _is_own(path[len(_GIT) + 1 :]) else 0


def _same(one: int, other: int) -> bool:
    return os.path.samestat(os.fstat(one), os.fstat(other))


def _pointer(parent: int, name: bytes, begin: bytes) -> bytes:
    """The path that a file names, as git writes it."""
    text = git_files.read(parent, name, _PATH_BYTES) or b""
    path = text[len(begin) :].rstrip(b"\r\n")
    if not text.startswith(begin) or not path or b"\0" in path or b"\n" in path:
        raise LayoutError(f"its .git file leads nowhere: {name.decode()} names no directory", _REPAIR)
    return path


def _directory(at: int, path: bytes, held: ExitStack) -> int:
    """A directory by its path, from another; no component may be a link."""
    fd = os.open(b"/" if path.startswith(b"/") else b".", _STEP, dir_fd=at)
    try:
        for part in path.split(b"/"):
            if part not in {b"", b"."}:
                below = os.open(part, _STEP, dir_fd=fd)
                os.close(fd)
                fd = below
        found = os.open(b".", _OPEN, dir_fd=fd)
    finally:
        os.close(fd)
    held.callback(os.close, found)
    return found


def _walked(root: int, limits: Limits, leave_out: Callable[[bytes, bool], int]) -> list[Scan]:
    found = walk(root, limits, leave_out=leave_out, below=(_GIT,))
    return [record for body in found for record in read_scan(body) if record.kind != END]


def _less(limits: Limits, found: list[Scan]) -> Limits:
    """What is left of limits once these records are in."""
    options = limits.options()
    options["max_entries"] -= len(found)
    options["max_total_bytes"] -= sum(record.size for record in found if record.kind == FILE)
    return Limits(**options)


def _without(ignore: Ignore, records: Iterator[Scan]) -> Iterator[Scan]:
    """Records, and omissions in the place of those that are left out on request."""
    gone: bytes | None = None
    for record in records:
        if record.kind == NOTE:
            yield record
        elif gone is None or not record.path.startswith(gone):
            reason = ignore.reason(record.path, record.kind == DIRECTORY)
            if reason:
                gone = record.path + b"/"
            yield Scan(OMISSION, reason, 0, bytes(32), record.path) if reason else record


def _packed(record: Scan) -> bytes:
    return pack_scan(record.kind, record.detail, record.size, record.digest, record.path)

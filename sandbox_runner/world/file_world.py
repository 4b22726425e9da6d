"""A world on this machine's own files and programs. IT IS NO SANDBOX."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from time import perf_counter_ns
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, Self

from sandbox_runner.arguments import checked
from sandbox_runner.errors import WorkspaceError
from sandbox_runner.guest.edits import line_ends_changed, locate
from sandbox_runner.world.beneath import Beneath, UnusablePathError, reason_of, steps_of
from sandbox_runner.world.call import Call, Outcome, Status, misfit
from sandbox_runner.world.interface import CallStream, World
from sandbox_runner.world.native_tools import NativeLimits, NativeTools, StepFailedError

__all__ = ["FileWorld"]

_NO_LEDGER = {"effect": "none", "reason": "FileWorld keeps no ledger"}
_REPOSITORIES = {"0": ".", "1": "."}


class _Done(NamedTuple):
    """A call that succeeded."""

    text: str
    details: Mapping[str, Any]
    meta: Mapping[str, Any] = MappingProxyType({})


_Handler = Callable[..., _Done]


@checked
class FileWorld(World):
    """UNSANDBOXED: acts on a directory of this machine with the rights of whoever runs it.

    File operations cannot leave the directory: not by ``..``, not by an absolute path, not by a link; and
    they cannot touch ``.git``. But ``test_run`` runs whatever the directory contains as a normal process of
    this machine, ``git_push`` really pushes, and nothing limits memory, disk or network. Use it for trails
    you trust, and as the native yardstick. ``ContainerWorld`` is the sandbox.

    Bottles, levels, spells, rooms, trust and capabilities need a ledger, which this world does not keep:
    those calls answer the usual text with the status ``skipped``.

    Args:
        base_dir: the directory; it must exist.
        backup_on_write: keep what a write or an edit replaces as ``<name>.bak`` beside it. A file of that
            name that is not such a backup is never touched; backups are neither committed nor found by
            searches.
        principal: author of commits.
        repositories: directory below the base by repository name; by default ``0`` and ``1`` are the base
            itself.
        limits: sizes and deadlines.

    Attributes:
        calls: every call as ``{"method": name, "args": {...}}``, with absolute paths, and lengths instead of
            texts.
        log: one line per call.

    Raises:
        WorkspaceError: the directory cannot be opened.
    """

    def __init__(
        self,
        base_dir: str | os.PathLike[str] = ".",
        backup_on_write: bool = True,
        *,
        principal: str = "executor",
        repositories: Mapping[str, str] = _REPOSITORIES,
        limits: NativeLimits = NativeLimits(),  # noqa: B008  # frozen
    ) -> None:
        self.base_dir = Path(base_dir)
        self.backup_on_write = backup_on_write
        self.calls: list[dict[str, Any]] = []
        self.log: list[str] = []
        try:
            self._files = Beneath(self.base_dir)
        except OSError as error:
            raise WorkspaceError(
                f"cannot open the directory {self.base_dir}: {error.strerror}",
                hint="base_dir must be a directory that exists",
            ) from error
        self._close = weakref.finalize(self, self._files.close)
        self._limits = limits
        self._tools = NativeTools(
            self.base_dir.resolve(), limits, principal=principal, repositories=repositories
        )
        self._backups: set[str] = set()
        self._handlers: dict[str, _Handler] = {
            "file_read": self._file_read,
            "file_write": self._file_write,
            "file_edit": self._file_edit,
            "git_commit": self._git_commit,
            "git_push": self._git_push,
            "test_run": self._test_run,
            "search_code": self._search_code,
        }

    def close(self) -> None:
        """Let go of the directory; no call is possible afterwards."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def perform_all(self, calls: CallStream, *, stop_on_failure: bool = False) -> Iterator[Outcome]:
        """Perform each call as it is pulled."""
        for call in calls:
            if call is None:
                continue
            outcome = self._perform(call)
            yield outcome
            if stop_on_failure and outcome.status.stops:
                return

    def _perform(self, call: Call) -> Outcome:
        started = perf_counter_ns()
        method, arguments = call.method, call.arguments
        misfits = misfit(arguments)
        if misfits is not None:
            return Outcome(Status.FAILED, f"{method}: ERROR {misfits}")
        self.calls.append({"method": method, "args": self._recorded(method, arguments)})
        handler = self._handlers.get(method)
        if handler is None:
            text, logged = _fleet_texts(method, arguments)
            self.log.append(logged)
            return Outcome(Status.SKIPPED, text, _NO_LEDGER, perf_counter_ns() - started)
        try:
            done = handler(**arguments)
        except StepFailedError as failure:
            status, done = Status.FAILED, _Done(f"{method}: ERROR {failure}", failure.details, failure.meta)
        except UnusablePathError as failure:
            status, done = Status.FAILED, _Done(f"{method}: ERROR {failure}: {_path_of(arguments)}", {})
        except OSError as failure:
            reason = reason_of(failure, _path_of(arguments))
            status, done = Status.FAILED, _Done(f"{method}: ERROR {reason}", {})
        else:
            status = Status.OK
        read = status is Status.OK and method == "file_read"
        self.log.append(f"Read {done.text.removeprefix('file_read: ')}" if read else done.text)
        return Outcome(status, done.text, done.details, perf_counter_ns() - started, done.meta)

    # -- files --------------------------------------------------------------------------------------------

    def _file_read(self, path: str) -> _Done:
        data = self._files.read(steps_of(path), self._limits.file_bytes)
        details = {"bytes": len(data), "sha256": sha256(data).hexdigest()}
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise StepFailedError(f"not UTF-8 text: {path}", details) from None
        return _Done(f"file_read: {path} ({len(text)} chars)", details)

    def _file_write(self, path: str, content: str) -> _Done:
        data = content.encode()
        steps = steps_of(path)
        before = self._former(steps)
        created = self._replace(steps, data, before)
        details = {"bytes": len(data), "sha256": sha256(data).hexdigest(), "created": created}
        if before is not None:
            details |= line_ends_changed(before, data)
        return _Done(f"file_write: {path} ({len(content)} chars)", details)

    def _file_edit(self, path: str, old: str, new: str) -> _Done:
        if not old:
            raise StepFailedError("empty old text")
        steps = steps_of(path)
        data = self._files.read(steps, self._limits.file_bytes)
        wanted = old.encode()
        at, reason, facts = locate(data, wanted, path)
        if reason:
            raise StepFailedError(reason, facts)
        edited = data[:at] + new.encode() + data[at + len(wanted) :]
        self._replace(steps, edited, data)
        details = {
            "line": data.count(b"\n", 0, at) + 1,
            "old_sha256": sha256(data).hexdigest(),
            "sha256": sha256(edited).hexdigest(),
            **line_ends_changed(data, edited),
        }
        return _Done(f"file_edit: {path} (1 replacement)", details)

    def _former(self, steps: list[str]) -> bytes | None:
        """What a write will replace; None where there is nothing, or the write will say what is wrong."""
        try:
            return self._files.read(steps, self._limits.file_bytes)
        except OSError:
            return None

    def _replace(self, steps: list[str], data: bytes, former: bytes | None) -> bool:
        """Write a file, the backup of what was there first; tell whether it is new."""
        if self.backup_on_write and former is not None:
            self._back_up(steps, former)
        return not self._files.replace(steps, data)

    def _back_up(self, steps: list[str], former: bytes) -> None:
        backup = [*steps[:-1], f"{steps[-1]}.bak"]
        name = "/".join(backup)
        if name in self._backups or not self._files.exists(backup):
            self._files.replace(backup, former)
            self._backups.add(name)

    # -- programs -----------------------------------------------------------------------------------------

    def _git_commit(self, repo: str, message: str) -> _Done:
        details = self._tools.commit(repo, message, sorted(self._backups))
        return _Done(f"git_commit: {message}", details)

    def _git_push(self, repo: str) -> _Done:
        return _Done(f"git_push: {repo}", self._tools.push(repo))

    def _test_run(self, test_path: str, expected: int) -> _Done:
        return _Done(f"test_run: {test_path} (exit=0)", *self._tools.test(test_path, expected))

    def _search_code(self, pattern: str) -> _Done:
        details, note = self._tools.search(pattern, frozenset(self._backups))
        return _Done(f"search_code: '{pattern}' → {details['count']} matches{note}", details)

    def _recorded(self, method: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as ``calls`` keeps them."""
        match method:
            case "file_read" | "file_write" | "file_edit":
                path, *texts = arguments.items()
                lengths = {f"{name}_len": len(text) for name, text in texts}
                return {"path": str(self.base_dir / path[1]), **lengths}
            case "test_run":
                return {**arguments, "test_path": str(self.base_dir / arguments["test_path"])}
            case "git_commit" | "git_push":
                return {**arguments, "repo": str(self._tools.directory_of(arguments["repo"]))}
            case _:
                return dict(arguments)


def _path_of(arguments: Mapping[str, Any]) -> str:
    return str(arguments.get("path", arguments.get("test_path", "")))


def _fleet_texts(method: str, arguments: Mapping[str, Any]) -> tuple[str, str]:
    """The texts of the calls that need a ledger: the result, and its line in the log."""
    match method, arguments:
        case "bottle_drop", {"target": target, "content": content}:
            return f"bottle_drop: →{target} ({len(content)} chars)", f"bottle_drop: →{target}"
        case "bottle_read", {"source": source}:
            text = f"bottle_read: ←{source}"
        case "level_up", {"agent": agent, "level": level}:
            text = f"level_up: {agent} → level {level}"
        case "trust_update", {"target": target, "delta": delta}:
            text = f"trust_update: {target} {delta:+.1f}"
        case "cap_issue", {"action": action, "holder": holder}:
            return f"cap_issue: {action} →{holder}", f"cap_issue: {action} → {holder}"
        case _:
            text = f"{method}: {next(iter(arguments.values()))}"  # spell_cast, room_enter
    return text, text

"""Writing a run record: a directory that is born whole, grows by whole lines, and is sealed in one step."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

from sandbox_runner.errors import StoreError
from sandbox_runner.private import make_private, open_private
from sandbox_runner.record import layout
from sandbox_runner.record.attestation import attest, attested_files
from sandbox_runner.record.chain import ChainOrigin
from sandbox_runner.record.documents import Artifact, InDoubt, RunInfo, RunResult, RunState
from sandbox_runner.record.files import sha256_of, store_errors, sync_directory, write_new
from sandbox_runner.record.keys import SigningKey
from sandbox_runner.record.logs import Log
from sandbox_runner.record.recorder import Recorder

__all__ = ["RunDirectory", "new_run_id", "now_text"]


def now_text() -> str:
    """The present as ISO 8601 in UTC, the form of every time in a record."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def new_run_id() -> str:
    """A name that does not repeat and sorts by time: ``20260131T235959Z-1f2e3d4c5b6a``.

    Five hexadecimal digits behind the second are its microseconds, the other seven are random: runs that
    begin within one second are in order too, whichever processes they are of.
    """
    now = datetime.now(UTC)
    return f"{now:%Y%m%dT%H%M%SZ}-{now.microsecond:05x}{secrets.randbits(28):07x}"


class RunDirectory:
    """The record of a run in progress; its owner holds a lock that dies with the process.

    ``create`` makes the directory under a hidden name and renames it when trail, policy, ``run.json`` and the
    lock are in place. ``seal`` writes everything else, ``run.json`` with its final state last: a reader that
    sees ``complete`` sees a whole record. Without ``seal`` the record stays ``running`` with a free lock,
    which readers call interrupted.

    Use as a context manager or call ``close``.
    """

    def __init__(self, path: Path, info: RunInfo, lock: int) -> None:
        self.path = path
        self._info = info
        self._lock = lock
        self._recorder: Recorder | None = None
        self._artifacts: dict[str, Artifact] = {}

    @classmethod
    def create(cls, root: Path, info: RunInfo, *, trail: bytes, policy: bytes) -> Self:
        """Begin a record at ``root / info.run_id``.

        Args:
            root: the directory of all runs; made when missing.
            info: what is known now; ``update`` adds the rest.
            trail: the input's bytes.
            policy: the effective policy, canonical.

        Raises:
            StoreError: it could not be written, or a record of this name exists; nothing is left behind.
        """
        path = root / info.run_id
        hidden = root / f".{info.run_id}.{os.getpid()}.part"
        with store_errors(path, "create"):
            make_private(hidden)
        lock = -1
        try:
            lock = _lock(hidden / layout.LOCK)
            write_new(hidden / layout.TRAIL, trail)
            write_new(hidden / layout.POLICY, policy)
            write_new(hidden / layout.RUN, info.render())
            with store_errors(path, "create"):
                hidden.rename(path)  # fails where a record of this name exists: it is not empty
        except BaseException:
            if lock >= 0:
                os.close(lock)
            shutil.rmtree(hidden, ignore_errors=True)
            raise
        return cls(path, info, lock)

    @property
    def info(self) -> RunInfo:
        """What ``run.json`` says now."""
        return self._info

    def update(self, **changes: Any) -> RunInfo:
        """Rewrite ``run.json`` with facts that became known: image, runtime, base snapshot, versions."""
        info = RunInfo.model_validate({**dict(self._info), **changes})
        write_new(self.path / layout.RUN, info.render())
        self._info = info
        return info

    def recorder(
        self,
        *,
        log: Log | None = None,
        context: Mapping[str, str | int] | None = None,
        **clocks: Callable[[], int],
    ) -> Recorder:
        """Begin ``calls.jsonl``; its chain starts from the trail, policy and base that ``info`` names now.

        Args:
            log: the people's log; it is bound to run and tenant here.
            context: more for the meta part of every line.
            clocks: ``now_ns`` and ``tick_ns`` for tests.

        Raises:
            StoreError: the log cannot be created, or was before.
        """
        bound = {"run": self._info.run_id, "tenant": self._info.tenant, **(context or {})}
        origin = ChainOrigin(self._info.trail.sha256, self._info.policy.sha256, self._info.base_snapshot)
        self._recorder = Recorder(
            self.path,
            origin,
            context=bound,
            log=None if log is None else log.bind(run=self._info.run_id, tenant=self._info.tenant),
            keep=self.add_artifact,
            **clocks,
        )
        return self._recorder

    def add_artifact(self, path: str, data: bytes) -> Artifact:
        """Keep a file under ``artifacts/``; ``path`` is relative, with ``/`` between its parts.

        Raises:
            StoreError: the path leaves the directory or names a file twice, or the disk is full.
        """
        parts = PurePosixPath(path).parts
        if (
            not parts
            or path.startswith("/")
            or ".." in parts
            or "\0" in path
            or str(PurePosixPath(*parts)) != path
        ):
            raise StoreError(
                f"an artifact cannot be called {path!r}; it needs a relative path in normal form"
            )
        if path in self._artifacts:
            raise StoreError(f"the record has an artifact {path!r} already")
        target = self.path / layout.ARTIFACTS / path
        with store_errors(target):
            make_private(target.parent)
        write_new(target, data, durable=True)
        self._artifacts[path] = Artifact(path=path, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
        return self._artifacts[path]

    def seal(
        self, *, meta_trail: bytes | None = None, signer: SigningKey | None = None, **outcome: Any
    ) -> RunResult:
        """Close the record for good.

        Args:
            meta_trail: the proof of replay; None when nothing was replayed.
            signer: signs the attestation; without one it binds the files together but proves no origin.
            outcome: the fields of ``RunResult`` that the runner knows; the log's head, length and digest, the
                calls in doubt, the artifacts and ``finished_at`` are filled in here.

        Raises:
            StoreError: the disk is full; the record stays unsealed and reads as interrupted.
        """
        recorder = self._recorder or self.recorder()
        recorder.close()
        result = self._result(recorder, meta_trail, outcome)
        info = self._info.model_copy(update={"state": result.status.state})
        if meta_trail is not None:
            write_new(self.path / layout.META_TRAIL, meta_trail, durable=True)
        write_new(self.path / layout.RESULT, result.pieces(), durable=True)
        envelope = attest(info, result, attested_files(self.path, info, result), signer)
        write_new(self.path / layout.ATTESTATION, envelope.render(), durable=True)
        write_new(self.path / layout.RUN, info.render(), durable=True)
        self._info = info
        with store_errors(self.path):
            for name in layout.OPEN_ONLY:
                (self.path / name).unlink()
        sync_directory(self.path)
        self.close()
        return result

    def _result(self, recorder: Recorder, meta_trail: bytes | None, outcome: dict[str, Any]) -> RunResult:
        events = outcome.pop("events", ())
        result = RunResult(
            run_id=self._info.run_id,
            chain_head=recorder.head,
            chain_length=recorder.length,
            calls_sha256=sha256_of(self.path / layout.CALLS, layout.SIZE_LIMITS[layout.CALLS]),
            meta_trail_sha256=None if meta_trail is None else hashlib.sha256(meta_trail).hexdigest(),
            in_doubt=tuple(
                InDoubt(seq=sent.seq, step=sent.call.step, method=sent.call.method)
                for sent in recorder.in_doubt
            ),
            artifacts=tuple(self._artifacts[path] for path in sorted(self._artifacts)),
            **{"finished_at": now_text(), **outcome},
        )
        return result.model_copy(update={"events": events})  # checking them would build all of them at once

    def close(self) -> None:
        """Let go of the files and the lock. An unsealed record reads as interrupted from now on."""
        if self._recorder is not None and self._info.state is RunState.RUNNING:
            with suppress(StoreError):
                self._recorder.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _lock(path: Path) -> int:
    with store_errors(path, "lock"):
        descriptor = open_private(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        except OSError:
            os.close(descriptor)
            raise
    return descriptor

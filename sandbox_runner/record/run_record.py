"""Reading run records back: one directory as a typed ``RunRecord``, all of them as a list."""

from __future__ import annotations

import fcntl
import os
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sandbox_runner.arguments import checked
from sandbox_runner.bounded_json import read_json
from sandbox_runner.errors import InputError, VerificationError
from sandbox_runner.record import layout
from sandbox_runner.record.documents import InDoubt, RunInfo, RunResult, RunState
from sandbox_runner.record.event_forms import PLACE, cut_events
from sandbox_runner.record.files import open_bounded, read_bounded
from sandbox_runner.record.lines import CallLine, parse_line, read_lines

__all__ = ["RunRecord", "is_alive", "list_runs"]

_SENT = re.compile(rb'\{"method":"([a-z_]{1,32})","seq":(\d{1,9}),"step":(-?\d{1,9})\}\Z')
_WITHDRAWN = re.compile(rb'\{"withdrawn_from":(\d{1,9})\}\Z')


@checked
@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run record on disk, sealed or not.

    Attributes:
        path: its directory.
        info: ``run.json`` as it stands.
        state: as ``info.state``, except that ``running`` without a living owner is ``interrupted``.
        result: ``result.json``, None until the record is sealed.
    """

    path: Path
    info: RunInfo
    state: RunState
    result: RunResult | None

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, whole: bool = False) -> Self:
        """Read a record's documents; the big files, and the events of ``result.json``, when asked for.

        Args:
            path: the record's directory.
            whole: look at every event now; one that is no JSON object is then found here.

        Raises:
            InputError: there is no record at this place.
            VerificationError: a document is missing, too large or malformed.
        """
        directory = Path(path)
        if not (directory / layout.RUN).is_file():
            raise InputError(
                f"there is no run record at {directory}; give a directory that holds {layout.RUN}",
                hint="past runs are listed by: sandbox-runner runs",
            )
        alive = is_alive(directory)  # looked at first: a run sealed in between reads as sealed, never as dead
        info = _info(directory)
        if info.state is not RunState.RUNNING:
            return cls(directory, info, info.state, _result(directory, whole=whole))
        return cls(directory, info, RunState.RUNNING if alive else RunState.INTERRUPTED, None)

    @property
    def run_id(self) -> str:
        """The run's name."""
        return self.info.run_id

    def trail(self) -> bytes:
        """The input's bytes."""
        return self._read(layout.TRAIL)

    def policy(self) -> dict[str, Any]:
        """The effective policy as plain JSON.

        Raises:
            VerificationError: ``policy.json`` is no JSON object.
        """
        try:
            policy = read_json(self._read(layout.POLICY), values=layout.VALUE_LIMITS[layout.POLICY])
        except ValueError as error:
            raise VerificationError(f"{layout.POLICY} is no JSON: {error}") from error
        if not isinstance(policy, dict):
            raise VerificationError(f"{layout.POLICY} is no JSON object")
        return policy

    def meta_trail(self) -> bytes | None:
        """The proof of replay, None where there is none."""
        if not (self.path / layout.META_TRAIL).exists():
            return None
        return self._read(layout.META_TRAIL)

    def calls(self) -> Iterator[CallLine]:
        """The log's lines in order, each checked by itself; a torn end of an unsealed record is left out.

        Raises:
            VerificationError: a line is malformed; the lines before it were yielded.
        """
        path = self.path / layout.CALLS
        if self.result is None and not path.exists():
            return
        for number, raw in enumerate(read_lines(path, torn_end=self.result is None)):
            yield parse_line(raw, number)

    def in_doubt(self) -> tuple[InDoubt, ...]:
        """Calls that were sent and have no line: after a crash they may have happened."""
        if self.result is not None:
            return self.result.in_doubt
        path = self.path / layout.DISPATCHED
        if not path.exists():
            return ()
        done = sum(1 for _ in read_lines(self.path / layout.CALLS, torn_end=True))
        return tuple(call for call in _journalled(path) if call.seq >= done)

    def _read(self, name: str) -> bytes:
        return read_bounded(self.path / name, layout.SIZE_LIMITS[name])


def list_runs(root: Path) -> list[RunRecord | VerificationError]:
    """Every record under ``root``, newest first; a damaged one is represented by its error."""
    if not root.is_dir():
        return []
    found: list[RunRecord | VerificationError] = []
    for path in sorted(root.iterdir(), key=lambda path: path.name, reverse=True):
        if path.name.startswith(".") or not (path / layout.RUN).is_file():
            continue
        try:
            found.append(RunRecord.load(path))
        except VerificationError as error:
            found.append(VerificationError(f"{path.name}: {error}"))
    return found


def is_alive(directory: Path) -> bool:
    """Whether the process that writes this record still lives: its lock is held."""
    try:
        descriptor = open_bounded(directory / layout.LOCK, limit=64)
    except VerificationError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        raise VerificationError(
            f"cannot tell whether {directory.name} still runs: {error.strerror}"
        ) from error
    finally:
        os.close(descriptor)
    return False


def _info(directory: Path) -> RunInfo:
    return RunInfo.parse(read_bounded(directory / layout.RUN, layout.SIZE_LIMITS[layout.RUN]), layout.RUN)


def _result(directory: Path, *, whole: bool) -> RunResult:
    if cut := cut_events(directory / layout.RESULT):
        document, events = cut
        result = RunResult.parse(document, layout.RESULT)
        if result.events == [PLACE]:
            if whole:
                deque(events, maxlen=0)
            return result.model_copy(update={"events": events})
    # No event, or not in the form in which it was written: then all of it is held, and must be small.
    return RunResult.parse(read_bounded(directory / layout.RESULT, layout.DOCUMENT_LIMIT), layout.RESULT)


def _journalled(path: Path) -> Iterator[InDoubt]:
    sent: dict[int, tuple[int, str]] = {}
    for line in read_lines(path, torn_end=True):
        if match := _SENT.match(line):
            seq = int(match[2])
            sent[seq] = int(match[3]), match[1].decode()
            if len(sent) > layout.IN_DOUBT_LIMIT:  # the oldest was answered long since
                del sent[next(iter(sent))]
        elif match := _WITHDRAWN.match(line):
            while sent and next(reversed(sent)) >= int(match[1]):
                sent.popitem()
        else:
            raise VerificationError(f"{path.name} holds a line that is no journal entry")
    for seq, (step, method) in sent.items():
        yield InDoubt(seq=seq, step=step, method=method)

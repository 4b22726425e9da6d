"""The recorder of one run: a journal entry before a call is sent, a chained line when its outcome is known.

Between ``dispatch`` and ``record`` a call is *in doubt*: it was handed to the world and may have happened.
The journal ``dispatched.jsonl`` is written first, so a runner that dies at any moment leaves, beside the
whole lines of ``calls.jsonl``, the list of calls in doubt (``Recorder.in_doubt``, ``RunRecord.in_doubt``).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from sandbox_runner.errors import SandboxError, StoreError
from sandbox_runner.record import fields, layout
from sandbox_runner.record.chain import ChainOrigin, link
from sandbox_runner.record.encoding import ascii_form
from sandbox_runner.record.facts import fact_bytes, meta_details
from sandbox_runner.record.files import AppendOnlyFile
from sandbox_runner.record.lines import line_start
from sandbox_runner.record.logs import Event, Log, build_log
from sandbox_runner.record.outputs import KeepArtifact, OutputKeeper
from sandbox_runner.trail import step_number
from sandbox_runner.world.call import Call, Outcome, Status

__all__ = ["Dispatch", "Recorder"]

_LOUD: Final = frozenset({Status.FAILED, Status.REFUSED})


@dataclass(frozen=True, slots=True)
class Dispatch:
    """A call that was handed to the world and has no outcome yet.

    Attributes:
        seq: the number its line will have.
        call: the call.
        at_ns: wall clock, nanoseconds since 1970.
        tick_ns: monotonic clock, for the duration.
    """

    seq: int
    call: Call
    at_ns: int
    tick_ns: int


class Recorder:
    """Writes ``calls.jsonl`` of one run; made by ``RunDirectory.recorder``, driven by ``RecordedWorld``.

    Outcomes are recorded in the order of their dispatches. Times come from the two clocks and are meta only.
    """

    def __init__(
        self,
        directory: Path,
        origin: ChainOrigin,
        *,
        context: Mapping[str, str | int] | None = None,
        log: Log | None = None,
        keep: KeepArtifact | None = None,
        now_ns: Callable[[], int] = time.time_ns,
        tick_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._head = origin.genesis
        self._length = 0
        self._counts = dict.fromkeys(Status, 0)
        self._pending: dict[int, Dispatch] = {}
        self._now_ns = now_ns
        self._tick_ns = tick_ns
        self._journal = AppendOnlyFile(directory / layout.DISPATCHED, layout.SIZE_LIMITS[layout.DISPATCHED])
        self._calls = AppendOnlyFile(directory / layout.CALLS, layout.SIZE_LIMITS[layout.CALLS])
        bound = {fields.PID: os.getpid(), **(context or {})}
        self._lines = build_log(_LineSink(self._calls), [_render_line]).bind(**bound)
        self._people = log
        self._outputs = OutputKeeper(keep)
        self._last_ns = 0

    @property
    def head(self) -> str:
        """Digest of the last fact, or the genesis before the first."""
        return self._head

    @property
    def length(self) -> int:
        """Lines written."""
        return self._length

    @property
    def counts(self) -> Mapping[Status, int]:
        """Lines written, by status."""
        return dict(self._counts)

    @property
    def in_doubt(self) -> tuple[Dispatch, ...]:
        """Calls that were sent and whose outcome is unknown, in order."""
        return tuple(self._pending.values())

    def bind(self, **context: str | int) -> None:
        """Add to what every later line says in its meta part, for example the container's id."""
        self._lines = self._lines.bind(**context)

    def dispatch(self, call: Call) -> Dispatch:
        """Journal a call that is about to be sent.

        Raises:
            StoreError: it could not be journalled and must not be sent.
        """
        sent = Dispatch(self._length + len(self._pending), call, self._now_ns(), self._tick_ns())
        self._journal.append(
            b'{"method":"%b","seq":%d,"step":%d}\n' % (call.method.encode(), sent.seq, call.step)
        )
        self._pending[sent.seq] = sent
        return sent

    def withdraw(self) -> None:
        """The world ended in good order and did not perform what is still in doubt: forget those calls."""
        if self._pending:
            self._journal.append(b'{"withdrawn_from":%d}\n' % self._length)
            self._pending.clear()

    def record(self, outcome: Outcome) -> str:
        """Write the line of the oldest call in doubt; returns its digest, the new head.

        Raises:
            SandboxError: the world answered a call that was never made.
            StoreError: the line could not be written; the log ends before it.
        """
        sent = self._pending.get(self._length)
        if sent is None:
            raise SandboxError("the world gave an outcome for a call that was never made")
        data = fact_bytes(sent.call, outcome, seq=sent.seq, prev=self._head)
        digest = link(data)
        now_ns = self._tick_ns()
        # Calls are handed over ahead and performed in order: what they wait for each other is not theirs.
        duration_ns = now_ns - max(sent.tick_ns, self._last_ns)
        self._last_ns = now_ns
        self._lines.info(
            fields.CALL_EVENT,
            fact=data,
            digest=digest,
            at=datetime.fromtimestamp(sent.at_ns / 1e9, UTC).isoformat(timespec="microseconds"),
            duration_ns=duration_ns,
            guest_ns=outcome.duration_ns,
            **self._meta(sent, outcome),
        )
        del self._pending[sent.seq]
        self._length += 1
        self._head = digest
        self._counts[outcome.status] += 1
        self._tell(sent.call, outcome, outcome.duration_ns or duration_ns)
        return digest

    def close(self) -> None:
        """Sync and close both files; the journal stays on disk until the record is sealed."""
        try:
            self._calls.close()
        finally:
            self._journal.close()

    def _meta(self, sent: Dispatch, outcome: Outcome) -> dict[str, Any]:
        details = meta_details(outcome) if outcome.meta else {}
        if outcome.printed is not None:
            details |= self._outputs.told(sent.call, sent.seq, outcome.printed)
        return {fields.DETAILS: details} if details else {}

    def _tell(self, call: Call, outcome: Outcome, duration_ns: int) -> None:
        if self._people is None:
            return
        say = self._people.warning if outcome.status in _LOUD else self._people.debug
        say(
            fields.CALL_EVENT,
            step=step_number(call.step),
            opcode=call.opcode.name,
            status=outcome.status.value,
            outcome=outcome.text,
            ms=round(duration_ns / 1e6, 1),
        )


class _LineSink:
    """Where the call log's lines go: structlog's innermost logger."""

    def __init__(self, file: AppendOnlyFile) -> None:
        self._file = file

    def info(self, line: bytes) -> None:
        self._file.append(line)


def _render_line(_logger: Any, _method: str, event: Event) -> bytes:
    """The stored form of a line: digest, fact and meta in this order, as compact ASCII JSON."""
    del event[fields.EVENT]
    fact: bytes = event.pop(fields.FACT)
    digest: str = event.pop(fields.DIGEST)
    line = line_start(digest, fact) + b"%b}\n" % ascii_form(orjson.dumps(event, option=orjson.OPT_SORT_KEYS))
    if len(line) > layout.LINE_LIMIT:
        raise StoreError(f"a log line of {len(line)} bytes exceeds the limit of {layout.LINE_LIMIT}")
    return line

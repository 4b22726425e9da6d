"""Reads a run's log line by line, to its end or as long as the run goes on."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from sandbox_runner.errors import VerificationError
from sandbox_runner.record import CallLine, RunRecord, RunState
from sandbox_runner.record.layout import CALLS, LINE_LIMIT
from sandbox_runner.record.lines import parse_line

__all__ = ["follow", "last_lines"]

_PAUSE_S = 0.1  # how often a growing log is looked at; a person does not notice
_CHUNK = 1024 * 1024


def last_lines(record: RunRecord, count: int | None) -> Iterator[CallLine]:
    """The log's lines, or the last ``count`` of them. Raises ``VerificationError`` at a damaged line."""
    if count is None:
        return record.calls()
    return iter(deque(record.calls(), maxlen=min(count, sys.maxsize)))


def follow(record: RunRecord, *, pause_s: float = _PAUSE_S) -> Iterator[CallLine]:
    """The log's lines, and those that come, until the run is over.

    Raises:
        VerificationError: a line is damaged.
    """
    rest, number, position = b"", 0, 0
    while True:
        running = _runs(record.path)  # asked before reading, so that a run's last words are not missed
        while piece := _read(record.path / CALLS, position):
            position += len(piece)
            *whole, rest = (rest + piece).split(b"\n")
            for raw in whole:
                yield parse_line(raw, number)
                number += 1
            if len(rest) > LINE_LIMIT:
                raise VerificationError(f"{CALLS} holds a line of more than {LINE_LIMIT} bytes")
        if not running:
            return
        time.sleep(pause_s)


def _runs(path: Path) -> bool:
    return RunRecord.load(path).state is RunState.RUNNING


def _read(path: Path, position: int) -> bytes:
    try:
        with path.open("rb") as log:
            log.seek(position)
            return log.read(_CHUNK)
    except FileNotFoundError:
        return b""

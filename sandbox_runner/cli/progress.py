"""Shows how runs get on: bars on a terminal, plain lines elsewhere; on stderr in either case."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from sandbox_runner.cli.text import clip, plural, printable
from sandbox_runner.runner.progress import OnProgress, Phase
from sandbox_runner.runner.progress import Progress as Event

__all__ = ["watching"]

_TENTHS = 10  # a plain log says at most so often how far a run is
_MESSAGE = 60


@contextmanager
def watching(runs: int, *, bars: bool = True) -> Iterator[OnProgress]:
    """Something to tell progress to, from any thread, while the block is running.

    Args:
        runs: how many runs there will be; several get a total.
        bars: whether bars may be shown where stderr is a terminal.
    """
    if bars and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[said]}", markup=False),
            TimeElapsedColumn(),
        )
        # Redirection would send what a command writes to stdout to the display's stream, stderr.
        with Progress(
            *columns,
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        ) as display:
            yield _Bars(display, runs).tell
    else:
        yield _Lines(named=runs > 1).tell


class _Bars:
    """One bar for each run that goes on, and one for all of them where there are several."""

    def __init__(self, display: Progress, runs: int) -> None:
        self._display = display
        self._tasks: dict[str, TaskID] = {}
        self._all = display.add_task("all runs", total=runs, said=plural(runs, "run")) if runs > 1 else None
        self._lock = threading.Lock()

    def tell(self, event: Event) -> None:
        with self._lock:
            if event.phase is Phase.CLOSED:
                self._close(event)
                return
            said = clip(printable(event.message), _MESSAGE)
            task = self._tasks.get(event.run_id)
            if task is None:
                task = self._display.add_task(
                    event.run_id[-12:] or "run", total=event.total or None, said=said
                )
                self._tasks[event.run_id] = task
            self._display.update(task, completed=event.step, total=event.total or None, said=said)

    def _close(self, event: Event) -> None:
        task = self._tasks.pop(event.run_id, None)
        if task is not None:
            self._display.remove_task(task)
        if self._all is not None:
            self._display.advance(self._all)


class _Lines:
    """A line for each station of a run, and for every tenth of its steps."""

    def __init__(self, *, named: bool) -> None:
        self._named = named
        self._tenths: dict[str, int] = {}
        self._lock = threading.Lock()

    def tell(self, event: Event) -> None:
        with self._lock:
            if event.phase is Phase.STEP and not self._is_new_tenth(event):
                return
            where = f"{event.run_id}  " if self._named and event.run_id else ""
            done = f" ({event.step}/{event.total})" if event.phase is Phase.STEP else ""
            sys.stderr.write(f"{where}{event.phase.value:<9}  {printable(event.message)}{done}\n")
            sys.stderr.flush()

    def _is_new_tenth(self, event: Event) -> bool:
        tenth = event.step * _TENTHS // max(event.total, 1)
        if tenth <= self._tenths.get(event.run_id, 0):
            return False
        self._tenths[event.run_id] = tenth
        return True

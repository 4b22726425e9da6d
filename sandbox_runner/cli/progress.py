"""Shows how runs get on: bars on a terminal, plain lines elsewhere; on stderr in either case.

Both tell what runs *now*: on a terminal with its time, which moves, in plain lines once it takes long.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column
from rich.text import Text

from sandbox_runner.cli.text import clip, plural, printable
from sandbox_runner.runner.progress import OnProgress, Phase
from sandbox_runner.runner.progress import Progress as Event

__all__ = ["watching"]

_TENTHS = 10  # a plain log says at most so often how far a run is
_MESSAGE = 60
_NAME = 16
_BAR = 10
_LEAST = 14  # characters of what runs; its time is never cut for it
_ROW = 66  # what a row has beside them
_PATIENCE_S = (10, 30, 60)  # when a plain log tells that a step still runs; after that once a minute
_LOOK_S = 1.0


@contextmanager
def watching(runs: int, *, bars: bool = True) -> Iterator[OnProgress]:
    """Something to tell progress to, from any thread, while the block is running.

    Args:
        runs: how many runs there will be; several are numbered in the order in which they begin.
        bars: whether bars may be shown where stderr is a terminal.
    """
    if bars and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        console = Console(stderr=True)
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=_BAR),
            MofNCompleteColumn(),
            _Doing(
                max(_LEAST, console.width - _ROW),
                table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
            ),
            TimeElapsedColumn(),
        )
        # Redirection would send what a command writes to stdout to the display's stream, stderr.
        with Progress(
            *columns,
            console=console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            expand=True,
        ) as display:
            yield _Bars(display, runs).tell
    else:
        lines = _Lines(runs)
        over = threading.Event()
        clock = threading.Thread(target=lines.look_at_clock, args=(over.wait,), daemon=True)
        clock.start()
        try:
            yield lines.tell
        finally:
            over.set()
            clock.join()


@dataclass(slots=True)
class _Running:
    """The step that a run performs now.

    Attributes:
        words: its operation and subject, safe on a terminal.
        place: ``3/7``.
        began: on the monotonic clock; seconds.
        limit_s: as the event told it.
        told: how often it was said that this takes long.
    """

    words: str
    place: str
    limit_s: float
    began: float
    told: int = 0

    @classmethod
    def of(cls, event: Event) -> _Running:
        place = f"{event.step}/{event.total}"
        return cls(clip(printable(event.message), _MESSAGE), place, event.limit_s, time.monotonic())

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    @property
    def took(self) -> str:
        """``34 s of 120 s``."""
        limit = f" of {self.limit_s:g} s" if self.limit_s else ""
        return f"{self.seconds:.0f} s{limit}"


class _Doing(ProgressColumn):
    """What a run does now; drawn again and again, so the time of a step that runs moves."""

    max_refresh = 0.2

    def __init__(self, room: int, table_column: Column | None = None) -> None:
        super().__init__(table_column)
        self._room = room

    def render(self, task: Task) -> Text:
        doing = task.fields["doing"]
        if isinstance(doing, _Running):
            words = clip(doing.words, self._room)
            doing = f"{words}  {doing.took}" if doing.seconds >= 1 else words
        return Text(doing)


class _Bars:
    """One bar for each run that goes on, and one for all of them where there are several."""

    def __init__(self, display: Progress, runs: int) -> None:
        self._display = display
        self._tasks: dict[str, TaskID] = {}
        self._names = _Names(runs)
        self._all = display.add_task("all runs", total=runs, doing=plural(runs, "run")) if runs > 1 else None
        self._lock = threading.Lock()

    def tell(self, event: Event) -> None:
        with self._lock:
            name = self._names.of(event)
            if event.phase is Phase.CLOSED:
                self._close(event)
                return
            task = self._tasks.get(event.run_id)
            if task is None:
                task = self._display.add_task(name or "run", total=event.total or None, doing="")
                self._tasks[event.run_id] = task
            if event.phase is Phase.STEP:
                self._display.update(task, completed=event.step)
            elif event.phase is Phase.RUNNING:
                self._display.update(task, total=event.total or None, doing=_Running.of(event))
            else:
                self._display.update(task, doing=clip(printable(event.message), _MESSAGE))

    def _close(self, event: Event) -> None:
        task = self._tasks.pop(event.run_id, None)
        if task is not None:
            self._display.remove_task(task)
        if self._all is not None:
            self._display.advance(self._all)


class _Names:
    """What each run is called: its trail, and which of several it is."""

    def __init__(self, runs: int) -> None:
        self._runs = runs
        self._numbers: dict[str, int] = {}

    def of(self, event: Event) -> str:
        """``3/7 fix.json`` of several runs, ``fix.json`` of one."""
        number = self._numbers.setdefault(event.run_id, len(self._numbers) + 1) if event.run_id else 0
        name = clip(printable(event.trail or event.run_id), _NAME)
        return f"{number}/{self._runs} {name}" if self._runs > 1 and number else name


class _Lines:
    """A line for each station of a run, for every tenth of its steps, and for a step that takes long."""

    def __init__(self, runs: int) -> None:
        self._several = runs > 1
        self._names = _Names(runs)
        self._tenths: dict[str, int] = {}
        self._since: dict[str, Counter[str]] = {}
        self._running: dict[str, tuple[str, _Running]] = {}
        self._lock = threading.Lock()

    def tell(self, event: Event) -> None:
        with self._lock:
            name = self._names.of(event)
            where = f"{name}  " if self._several and name else ""
            if event.phase is Phase.RUNNING:
                self._running[event.run_id] = (where, _Running.of(event))
                return
            self._running.pop(event.run_id, None)
            if event.phase is not Phase.STEP:
                _write(f"{where}{event.phase.value:<9}  {printable(event.message)}")
                return
            since = self._since.setdefault(event.run_id, Counter())
            since[event.status or "done"] += 1
            if self._is_new_tenth(event):
                _write(f"{where}{event.phase.value:<9}  {_steps(event, since)}")
                since.clear()

    def look_at_clock(self, wait: Callable[[float], bool]) -> None:
        """Tell of steps that take long, until ``wait`` says that it is over."""
        while not wait(_LOOK_S):
            with self._lock:
                for where, running in self._running.values():
                    due = _PATIENCE_S[-1] * (running.told - len(_PATIENCE_S) + 2)
                    if running.told < len(_PATIENCE_S):
                        due = _PATIENCE_S[running.told]
                    if running.seconds >= due:
                        running.told += 1
                        _write(f"{where}running    {running.place}  {running.words}: {running.took}")

    def _is_new_tenth(self, event: Event) -> bool:
        tenth = event.step * _TENTHS // max(event.total, 1)
        if tenth <= self._tenths.get(event.run_id, 0):
            return False
        self._tenths[event.run_id] = tenth
        return True


def _steps(event: Event, since: Counter[str]) -> str:
    """The step that is over; of several since the last line the first, the last and what they came to."""
    here = f"{event.step}/{event.total}"
    count = since.total()
    if count == 1:
        return f"{here}  {printable(event.message)}"
    told = ", ".join(f"{number} {status}" for status, number in since.items())
    return f"{event.step - count + 1}/{event.total} .. {here}  {told}"


def _write(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()

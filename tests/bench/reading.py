"""The terms of ``readers``, and how one input is read in a process of its own.

    python -m tests.bench.reader_archives READER FOLDER

reads what a case put into FOLDER and prints one line of JSON: by how many bytes the process grew at its peak,
and how the reading ended. The same goes for every module that has readers.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox_runner.errors import SandboxRunnerError

__all__ = ["Case", "Peak", "Reader", "read_one"]


@dataclass(frozen=True, slots=True)
class Case:
    """One input.

    Attributes:
        make: writes it into an empty folder.
        refused: what the reader's error must say; empty where the input is within every limit.
        quick: whether a test may wait for it, too.
    """

    make: Callable[[Path], None]
    refused: str = ""
    quick: bool = True


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader: the memory that is written beside it in bytes, how it is asked, and its worst inputs."""

    memory: int
    read: Callable[[Path], None]
    cases: dict[str, Case]

    @property
    def module(self) -> str:
        """Where it is defined; nothing else is loaded to read one input."""
        spec = sys.modules[self.read.__module__].__spec__
        return self.read.__module__ if spec is None else spec.name


@dataclass(frozen=True, slots=True)
class Peak:
    """By how many bytes a process grew at most while it read, and the error that ended it, if one did."""

    grown: int
    error: str


def read_one(readers: Mapping[str, Reader]) -> None:
    """Read one input, as the command line says."""
    reader, folder = sys.argv[1:]
    before = _memory("VmRSS")
    with contextlib.suppress(OSError):  # forget the peak of the start
        Path("/proc/self/clear_refs").write_text("5")
    error = ""
    try:
        readers[reader].read(Path(folder))
    except SandboxRunnerError as problem:
        error = f"{type(problem).__name__}: {problem}"
    print(json.dumps({"grown": max(0, _memory("VmHWM") - before), "error": error}))


def _memory(name: str) -> int:
    (size,) = re.findall(rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(size) * 1024

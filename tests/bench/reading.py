"""The terms of ``readers``: a reader of foreign bytes, its worst inputs, and what reading one came to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Case", "Peak", "Reader"]


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


@dataclass(frozen=True, slots=True)
class Peak:
    """By how many bytes a process grew at most while it read, and the error that ended it, if one did."""

    grown: int
    error: str

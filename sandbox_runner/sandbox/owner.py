"""Who owns a container: labels that let any later process tell whether its owner still lives.

A label by itself proves nothing: a container inherits those of its image, and an image can carry anything,
also all of ours where somebody has committed one of our containers. What counts is therefore only what was
said when the container itself was created, and ours always say all of it (``is_claimed``).

A process is named by its id, the time it started, the boot it belongs to and its process namespace: an id
alone is reused, and an id of another machine or namespace says nothing here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

__all__ = ["LABEL", "Life", "Owner", "is_claimed", "life_of", "owner_labels"]

LABEL = "sandbox-runner"
_RUN, _OWNER, _STARTED = f"{LABEL}.run", f"{LABEL}.owner", f"{LABEL}.owner-started"
_BOOT, _NAMESPACE, _DEADLINE = f"{LABEL}.boot", f"{LABEL}.pid-namespace", f"{LABEL}.deadline"
_ALL = (_RUN, _OWNER, _STARTED, _BOOT, _NAMESPACE, _DEADLINE)
_NUMBERS = (_OWNER, _STARTED, _DEADLINE)
_OF_ONE_SANDBOX = (_RUN, _DEADLINE)  # never the same twice; one runner's other labels are
_LONGEST_NUMBER = 20


class Life(StrEnum):
    """What is known of an owner."""

    LIVING = "living"
    DEAD = "dead"
    UNKNOWN = "unknown"  # of another machine or namespace; only its deadline can tell
    OVERDUE = "overdue"


@dataclass(frozen=True, slots=True)
class Owner:
    """One process, named so that it is never mistaken for another."""

    pid: int
    started: int  # clock ticks since boot, field 22 of /proc/PID/stat
    boot: str
    namespace: str

    @classmethod
    def of_this_process(cls) -> Self:
        """The calling process."""
        return cls(os.getpid(), _started("self") or 0, _boot(), _namespace())


def owner_labels(run_id: str, *, lifetime_s: float, owner: Owner | None = None) -> dict[str, str]:
    """Labels for a container and its volume; ``lifetime_s`` is how long it may live at the very most."""
    owner = owner or Owner.of_this_process()
    return {
        _RUN: run_id,
        _OWNER: str(owner.pid),
        _STARTED: str(owner.started),
        _BOOT: owner.boot,
        _NAMESPACE: owner.namespace,
        _DEADLINE: str(int(time.time() + lifetime_s)),
    }


def is_claimed(labels: Mapping[str, str], inherited: Mapping[str, str]) -> bool:
    """Whether one of our runners put these labels on this very thing.

    Args:
        labels: of a container or volume.
        inherited: those that its image has; none for a volume, which inherits nothing.
    """
    return (
        all(labels.get(name) for name in (_RUN, *_NUMBERS))
        and all(name in labels for name in _ALL)
        and all(_is_number(labels[name]) for name in _NUMBERS)
        and all(labels[name] != inherited.get(name) for name in _OF_ONE_SANDBOX)
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER


def life_of(labels: Mapping[str, str], *, now: float | None = None) -> Life:
    """Tell whether the owner named by these labels lives; labels that make no sense are a dead owner's."""
    try:
        pid, started, deadline = int(labels[_OWNER]), int(labels[_STARTED]), int(labels[_DEADLINE])
    except (KeyError, ValueError):
        return Life.DEAD
    boot = _boot()
    here = bool(boot) and labels.get(_BOOT) == boot and labels.get(_NAMESPACE) == _namespace()
    if here and _started(str(pid)) != started:
        return Life.DEAD
    if (time.time() if now is None else now) > deadline:
        return Life.OVERDUE
    return Life.LIVING if here else Life.UNKNOWN


def _started(pid: str) -> int | None:
    try:
        stat = Path("/proc", pid, "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()  # a process may have blanks and brackets in its name
    # The first thread alone shows as a zombie too: such a process is dead when it was the last one.
    dead = state in {"Z", "X"} and int(fields[16]) <= 1
    return None if dead else int(fields[18])


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return Path("/proc/self/ns/pid").readlink().name
    except OSError:
        return ""

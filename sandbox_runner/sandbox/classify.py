"""Tells a broken sandbox from a failed step: one pure function over what Docker says about the container.

A container whose guest lives is no fault, even where Docker reports ``OOMKilled``: the kernel ended a process
of the workspace's, and the step that started it fails. A guest that is gone, frozen, or never came up is a
fault, and no step of that sandbox has passed or failed since its last answer; but where the guest itself went
with the memory that a step's programs used up, a trail could choose that fault, so it is the step's failure.
``starved`` is how that is told, from Docker's events alone.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

__all__ = ["Cause", "Finding", "classify", "memory_ended", "starved"]


class Cause(StrEnum):
    """What Docker's answer comes to."""

    ALIVE = "alive"
    MEMORY_HIT = "memory-hit"  # a process was ended by the memory limit, the guest was not
    ENDED = "ended"
    PAUSED = "paused"
    NOT_STARTED = "not-started"
    NO_PYTHON = "no-python"
    OUT_OF_MEMORY = "out-of-memory"
    KILLED = "killed"
    CRASHED = "crashed"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Finding:
    """What happened to a container.

    Attributes:
        cause: see ``Cause``.
        fault: whether the sandbox broke; otherwise whatever went wrong is the step's.
        sentence: says it to a person, without a full stop.
        exit_code: of the guest, where Docker tells one.
        hint: the way out, where there is one.
    """

    cause: Cause
    fault: bool
    sentence: str
    exit_code: int | None = None
    hint: str | None = None


_NO_PROGRAM = ("executable file not found", "error finding executable", "no such file or directory: unknown")
_RAISE_MEMORY = "raise resources.memory in the policy, or lower what the workspace may hold"


def classify(
    state: Mapping[str, Any] | None,
    history: Sequence[Mapping[str, Any]] = (),
    *,
    start_error: str | None = None,
) -> Finding:
    """Judge a container.

    Args:
        state: the ``State`` of its inspect document, ``None`` where the container is removed.
        history: Docker's events about it, oldest first; they outlive the container.
        start_error: what Docker said when it could not start the container.
    """
    if start_error is not None:
        return _not_started(0, start_error)
    if state is None:
        return _removed(history)
    if state.get("Running"):
        return _present(state)
    code = int(state.get("ExitCode") or 0)
    if state.get("Status") == "created":
        return _not_started(code, str(state.get("Error") or ""))
    return _ended(code, oom=bool(state.get("OOMKilled")))


def memory_ended(code: int) -> Finding:
    """The finding about a guest that went with the memory."""
    sentence = "the guest was killed because the memory limit was reached"
    return Finding(Cause.OUT_OF_MEMORY, fault=True, sentence=sentence, exit_code=code, hint=_RAISE_MEMORY)


def starved(history: Sequence[Mapping[str, Any]], *, after_s: float = 0.0) -> bool:
    """Whether the memory limit ended a container: it was reached, and nobody killed it.

    Args:
        history: Docker's events about it, oldest first.
        after_s: up to when it was reached by calls that are answered, by the Engine's clock, in seconds: what
            Docker noticed until then ended nothing but programs of theirs.
    """
    actions = [str(event.get("Action", "")) for event in history]
    if "kill" in actions or "die" not in actions:
        return False
    reached = [_moment(event) for event, action in zip(history, actions, strict=True) if action == "oom"]
    return any(moment > after_s for moment in reached)


def _moment(event: Mapping[str, Any]) -> float:
    """When something happened, by the Engine's clock, in seconds; 0 where it does not say."""
    told = event.get("timeNano")
    return told / 1e9 if isinstance(told, int) else 0.0


def _present(state: Mapping[str, Any]) -> Finding:
    """A container that is there; Docker calls a paused one running too."""
    if state.get("Paused"):
        return Finding(
            Cause.PAUSED,
            fault=True,
            sentence="the container is paused, which only somebody with access to Docker can do",
            hint="`sandbox-runner clean` removes it",
        )
    if state.get("OOMKilled"):
        return Finding(Cause.MEMORY_HIT, fault=False, sentence="a process inside hit the memory limit")
    return Finding(Cause.ALIVE, fault=False, sentence="the guest is alive")


def _removed(history: Sequence[Mapping[str, Any]]) -> Finding:
    """Docker removes a container as soon as it ends; its events still tell how."""
    actions = [str(event.get("Action", "")) for event in history]
    codes = [
        event.get("Actor", {}).get("Attributes", {}).get("exitCode")
        for event in history
        if event.get("Action") == "die"
    ]
    if not codes or not str(codes[-1]).isdigit():
        return Finding(Cause.GONE, fault=True, sentence="the container is gone and Docker does not know why")
    if "kill" in actions:
        return Finding(
            Cause.KILLED,
            fault=True,
            sentence="the container was killed from outside",
            exit_code=int(codes[-1]),
        )
    return _ended(int(codes[-1]), oom="oom" in actions)


def _not_started(code: int, error: str) -> Finding:
    if code in {126, 127} or any(words in error for words in _NO_PROGRAM):
        return Finding(
            Cause.NO_PYTHON,
            fault=True,
            sentence="the image has no python3 on its PATH",
            exit_code=code,
            hint="a sandbox needs an image with Python 3.8 or newer",
        )
    told = " ".join(error.split())[:300]
    return Finding(
        Cause.NOT_STARTED, fault=True, sentence=told or "the container was never started", exit_code=code
    )


def _ended(code: int, *, oom: bool) -> Finding:
    if code == 0:
        return Finding(Cause.ENDED, fault=True, sentence="the guest ended before it was told to", exit_code=0)
    if code in {126, 127}:
        return _not_started(code, "")
    if code == 128 + signal.SIGKILL:
        if oom:
            return memory_ended(code)
        return Finding(Cause.KILLED, fault=True, sentence="the guest was killed from outside", exit_code=code)
    if 128 < code < 128 + signal.NSIG:
        name = signal.strsignal(code - 128) or "unknown"
        sentence = f"the guest died of signal {code - 128} ({name})"
        return Finding(Cause.CRASHED, fault=True, sentence=sentence, exit_code=code)
    return Finding(Cause.CRASHED, fault=True, sentence=f"the guest ended with exit {code}", exit_code=code)

"""One process of this machine, run with a deadline, a limit on its output, and an end for its whole group."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

__all__ = ["Finished", "run_native"]

_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Finished:
    """How a process ended.

    Attributes:
        exit_code: its exit code, negative for a signal; ``None`` when the deadline passed.
        stdout: the beginning of its output, at most ``output_limit`` bytes.
        stderr: the same of its error output.
        truncated: whether either was cut.
    """

    exit_code: int | None
    stdout: bytes
    stderr: bytes
    truncated: bool


def run_native(
    argv: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    deadline_s: float,
    output_limit: int,
    stdin: bytes = b"",
) -> Finished:
    """Run a program to its end, or to the deadline.

    It gets its own session. When it ends, or the deadline passes, what is left of its process group is
    killed, so a background child that holds the output open delays nothing. A child that made a session of
    its own escapes.

    Raises:
        FileNotFoundError: there is no such program (or no such directory: check that first).
    """
    with _source(stdin) as source:
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=dict(environment),
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    try:
        outputs, truncated, ended = _drain(process, time.monotonic() + deadline_s, output_limit)
    finally:
        # Until it is reaped the leader's number is not given to another process, so the group is still its
        # own.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    return Finished(process.returncode if ended else None, bytes(outputs[0]), bytes(outputs[1]), truncated)


@contextmanager
def _source(data: bytes) -> Iterator[int | IO[bytes]]:
    """What the program reads: a file rather than a pipe, so that no one has to feed it."""
    if not data:
        yield subprocess.DEVNULL
        return
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        yield file


def _drain(
    process: subprocess.Popen[bytes], deadline: float, limit: int
) -> tuple[tuple[bytearray, bytearray], bool, bool]:
    """Read both outputs until the process has ended or the deadline has passed; tell which."""
    outputs = (bytearray(), bytearray())
    truncated = False
    life = os.pidfd_open(process.pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(life, selectors.EVENT_READ)
            for pipe, output in zip(_pipes(process), outputs, strict=True):
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, selectors.EVENT_READ, output)
            while (left := deadline - time.monotonic()) > 0:
                ready = selector.select(left)
                for key, _ in ready:
                    if key.data is not None:
                        truncated |= _take(selector, key, limit)
                if any(key.fd == life for key, _ in ready):
                    return outputs, truncated | _take_rest(selector, limit, deadline), True
    finally:
        os.close(life)
    return outputs, truncated, False


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    if process.stdout is None or process.stderr is None:
        raise ValueError("the process was started without pipes")
    return process.stdout, process.stderr


def _take(selector: selectors.BaseSelector, key: selectors.SelectorKey, limit: int) -> bool:
    """Read one piece; past the limit it is dropped, so that the writer does not block."""
    try:
        piece = os.read(key.fd, _CHUNK)
    except BlockingIOError:
        return False
    if not piece:
        selector.unregister(key.fileobj)
        return False
    room = limit - len(key.data)
    key.data.extend(piece[: max(room, 0)])
    return len(piece) > room


def _take_rest(selector: selectors.BaseSelector, limit: int, deadline: float) -> bool:
    """Read what the ended process left in its pipes, as long as there is something and time."""
    truncated = False
    while time.monotonic() < deadline:
        ready = [key for key, _ in selector.select(0) if key.data is not None]
        if not ready:
            break
        for key in ready:
            truncated |= _take(selector, key, limit)
    return truncated

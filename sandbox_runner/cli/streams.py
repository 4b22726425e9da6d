"""The standard streams as a caller may leave them: closed, full, without a reader, in any encoding.

What a command achieved must not depend on them. So the two outputs are replaced for as long as a command
runs: what cannot be written to stderr is dropped, and what cannot be written to stdout is remembered and
told at the end, by ``boundary``. Only a reader that went away ends the command at once, as it does every
filter in a pipe; whoever has more to do than to answer catches that.

A stdout that was closed from the start is no fault: nobody wanted the answer. Data that was asked for by
name (``--json``, ``-o -``) is lost all the same, see ``expect_reader``.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO

__all__ = ["expect_reader", "loss", "standard_streams"]

_STDOUT, _STDERR = 1, 2


class _Output(io.FileIO):
    """A descriptor that takes everything; ``failure`` is the first error it met.

    Attributes:
        failure: what went wrong; nothing is written any more after it.
        absent: the stream was closed before the program began.
    """

    def __init__(self, descriptor: int, *, absent: bool) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self.absent = absent
        self.failure: OSError | None = None

    def write(self, data: object) -> int:
        if self.failure is None and not self.absent:
            try:
                written = super().write(data)  # type: ignore[arg-type]  # whatever a raw stream is given
            except OSError as error:
                self.failure = error
                if isinstance(error, BrokenPipeError) and self.fileno() == _STDOUT:
                    raise
            else:
                if written is not None:
                    return written
                self.failure = BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return memoryview(data).nbytes  # type: ignore[arg-type]


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """Within it stdout and stderr can be written whatever they are; streams of a test stay as they are."""
    _occupy()
    before = sys.stdout, sys.stderr
    if sys.stdout is sys.__stdout__:
        sys.stdout = _replaced(_STDOUT, sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _replaced(_STDERR, sys.stderr)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        sys.stdout, sys.stderr = before


def expect_reader() -> None:
    """Data that somebody asked for is about to be written: a closed stdout is an error from now on."""
    output = _output()
    if output is not None and output.absent:
        output.failure = OSError(errno.EBADF, "it is closed")


def loss() -> OSError | None:
    """Why not all of the answer went to stdout; None where it did."""
    with contextlib.suppress(BrokenPipeError):  # remembered
        sys.stdout.flush()
    output = _output()
    return None if output is None else output.failure


def _occupy() -> None:
    """Nothing that is opened later may get the number of a standard stream: others write to those."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest free number


def _replaced(descriptor: int, stream: TextIO | None) -> TextIO:
    """The same stream without its faults; what its encoding lacks becomes an escape."""
    buffer = io.BufferedWriter(_Output(descriptor, absent=stream is None))
    told = stream if isinstance(stream, io.TextIOWrapper) else None
    return io.TextIOWrapper(
        buffer,
        encoding=told.encoding if told else "utf-8",
        errors="backslashreplace",
        line_buffering=told.line_buffering if told else False,
        write_through=told.write_through if told else False,
    )


def _output() -> _Output | None:
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw if isinstance(raw, _Output) else None

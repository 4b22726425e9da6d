"""What a step's programs printed, as lines that are safe on a terminal; of a long one the end."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sandbox_runner.cli.text import clip, plural, printable
from sandbox_runner.record import CallLine, RunRecord
from sandbox_runner.record.layout import CALLS
from sandbox_runner.record.lines import parse_line, read_lines
from sandbox_runner.record.outputs import KeptOutput, output_in_line

__all__ = ["lines_of", "lines_of_step", "tail_of", "tails_of"]

_TAIL_LINES = 20
_TAIL_BYTES = 8 * 1024
_TAIL_WIDTH = 160  # characters of a line where no terminal says how many it has


def lines_of(output: KeptOutput) -> Iterator[str]:
    """All of an output, a line at a time; what was not kept is told in its place."""
    yield from _shown(output.head)
    if output.missing:
        yield f"[... {plural(output.missing, 'byte')} not kept ...]"
    yield from _shown(output.tail)
    if output.left_out:
        yield f"[the whole of it is not kept: {output.left_out}]"


def tail_of(output: KeptOutput, *, width: int | None = None) -> list[str]:
    """The last lines of an output, each clipped; the first says how much stands before them."""
    end = output.tail if len(output.tail) >= _TAIL_BYTES or output.missing else output.head + output.tail
    text = end.rstrip()
    shown = b"\n".join(text[-_TAIL_BYTES:].split(b"\n")[-_TAIL_LINES:])
    before = output.total - (len(end) - len(text)) - len(shown)
    told = [f"… {plural(before, 'byte')} before this"] if before else []
    return told + [clip(line, width or _TAIL_WIDTH) for line in _shown(shown)]


def _shown(data: bytes) -> Iterator[str]:
    if not data:
        return
    for line in data.removesuffix(b"\n").split(b"\n"):
        text = line.removesuffix(b"\r").decode("utf-8", "surrogateescape").expandtabs()
        yield printable(text)


def lines_of_step(record: RunRecord, step: int) -> list[CallLine]:
    """The log's lines of a step, by its index; more than one where it was replayed again.

    Raises:
        VerificationError: a line of it is damaged.
    """
    return [line for line in _lines(record, b'"step":%d}' % step) if line.step == step]


def tails_of(record: RunRecord, steps: Collection[int], most: int) -> Iterator[tuple[int, KeptOutput]]:
    """The outputs of the first of these steps (by index) that have one, as the log's lines tell them.

    Raises:
        VerificationError: the line of a failed step is damaged.
    """
    wanted = set(steps)
    found = 0
    for line in _lines(record, b'"status":"failed","step":') if wanted else ():
        output = output_in_line(line) if line.step in wanted else None
        if output is not None:
            yield line.step, output
            found += 1
            if found == most:
                return


def _lines(record: RunRecord, mark: bytes) -> Iterator[CallLine]:
    """The lines that hold a text, which is as a fact has it; a long log is not parsed for a few of them."""
    path = record.path / CALLS
    if record.result is None and not path.exists():
        return
    for number, raw in enumerate(read_lines(path, torn_end=record.result is None)):
        if mark in raw:
            yield parse_line(raw, number)

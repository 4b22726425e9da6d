"""What a step's programs printed: in its line as much as people read at once, all that was kept beside it.

A line's meta part has it under ``output``: as a text where it is short, else as its beginning, its end and
how many bytes it has in all. Where that is not every byte, the artifact ``outputs/step-N.out`` has them raw,
N being the number of the step, and ``output_file`` says so: ``path``, ``bytes``, ``sha256`` and, where
more was printed than anybody kept, how many are ``missing`` and where they would be (``cut_at``). The outputs
of a run have a limit together; what goes beyond it is in the lines alone, and ``output_left_out`` says so.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sandbox_runner.errors import VerificationError
from sandbox_runner.guest.wire import OUTPUT_LIMIT
from sandbox_runner.record import fields, layout
from sandbox_runner.record.files import read_bounded
from sandbox_runner.record.lines import CallLine
from sandbox_runner.record.run_record import RunRecord
from sandbox_runner.trail import step_number
from sandbox_runner.world.call import Call, Printed

__all__ = [
    "KeepArtifact",
    "KeptOutput",
    "NamedFile",
    "OutputKeeper",
    "in_line",
    "may_name_file",
    "named_file",
    "output_in_line",
    "read_output",
]

KeepArtifact = Callable[[str, bytes], object]
"""Keeps bytes under a path below ``artifacts/``; ``RunDirectory.add_artifact`` is one."""

LINE_BYTES: Final = 16 * 1024
"""Bytes of an output that its line has; of more, a quarter of it from the beginning, the rest from the end,
where the reason of a failure stands."""

_NAME: Final = f'"{fields.OUTPUT_FILE}"'.encode()
_HEAD_BYTES: Final = LINE_BYTES // 4
_PATH: Final = re.compile(r"outputs/(?:step-\d{1,10}|call-\d{1,10})\.out")


@dataclass(frozen=True, slots=True)
class KeptOutput:
    """What is known of an output.

    Attributes:
        head: the beginning; all of it where nothing is missing.
        tail: the end, behind what is missing.
        missing: bytes between the two.
        left_out: why nothing beside the line was kept, where there would have been more; else empty.
    """

    head: bytes
    tail: bytes = b""
    missing: int = 0
    left_out: str = ""

    @property
    def total(self) -> int:
        """Bytes that were printed."""
        return len(self.head) + self.missing + len(self.tail)


class OutputKeeper:
    """Keeps the outputs of one run; ``keep`` writes an artifact, without it there are none."""

    def __init__(self, keep: KeepArtifact | None) -> None:
        self._keep = keep
        self._room = layout.OUTPUTS_BYTES
        self._files: set[str] = set()

    def told(self, call: Call, seq: int, printed: Printed) -> dict[str, Any]:
        """What the line of a call says of its output; the whole is kept first.

        Raises:
            StoreError: it cannot be written.
        """
        said = in_line(printed.data, printed)
        if isinstance(said, str) and said.encode() == printed.data:
            return {fields.OUTPUT: said}
        size = len(printed.data)
        if self._keep is None or size > self._room or len(self._files) >= layout.OUTPUTS_LIMIT:
            limits = f"{layout.OUTPUTS_BYTES >> 20} MiB or {layout.OUTPUTS_LIMIT} files"
            return {fields.OUTPUT: said, fields.OUTPUT_LEFT_OUT: f"all outputs of the run are over {limits}"}
        path = f"outputs/step-{step_number(call.step)}.out"
        if call.step < 0 or path in self._files:  # made by hand, or a step that was replayed again
            path = f"outputs/call-{seq}.out"
        self._keep(path, printed.data)
        self._files.add(path)
        self._room -= size
        digest = hashlib.sha256(printed.data).hexdigest()
        file: dict[str, Any] = {"path": path, fields.BYTES: size, fields.SHA256: digest}
        if printed.missing:
            file |= {"missing": printed.missing, "cut_at": printed.cut_at}
        return {fields.OUTPUT: said, fields.OUTPUT_FILE: file}


def in_line(data: bytes, printed: Printed | None = None) -> str | dict[str, Any]:
    """An output as its line has it; ``printed`` says what is missing of the data."""
    total = len(data) if printed is None else printed.total
    if total == len(data) <= LINE_BYTES:
        return data.decode("utf-8", "replace")
    head_end = len(data) if printed is None else printed.cut_at
    head = data[: min(_HEAD_BYTES, head_end)]
    tail = data[max(len(head), len(data) - (LINE_BYTES - len(head))) :]
    if printed is not None and printed.missing:
        tail = tail[-(len(data) - printed.cut_at) :] if len(data) > printed.cut_at else b""
    told = {fields.BYTES: total, fields.HEAD: head.decode("utf-8", "replace")}
    return {**told, fields.TAIL: tail.decode("utf-8", "replace"), "missing": total - len(head) - len(tail)}


def output_in_line(line: CallLine) -> KeptOutput | None:
    """What a line itself tells of an output, None where it has none. A record may come from anywhere."""
    meta = line.meta.get(fields.DETAILS)
    said = meta.get(fields.OUTPUT) if isinstance(meta, Mapping) else None
    left_out = _text(meta.get(fields.OUTPUT_LEFT_OUT)) if isinstance(meta, Mapping) else ""
    if isinstance(said, str):
        return KeptOutput(said.encode("utf-8", "replace"), left_out=left_out) if said else None
    if not isinstance(said, Mapping) or fields.HEAD not in said:
        return None
    head, tail = (_text(said.get(name)).encode("utf-8", "replace") for name in (fields.HEAD, fields.TAIL))
    missing = said.get("missing", said.get(fields.BYTES))
    if type(missing) is not int or missing < 0:
        missing = 0
    elif "missing" not in said:  # as records had it before there was an end
        missing = max(0, missing - len(head))
    return KeptOutput(head, tail, missing, left_out)


@dataclass(frozen=True, slots=True)
class NamedFile:
    """The file that a line says its output is in: its path below ``artifacts/`` and what it says of it."""

    path: str
    size: int
    sha256: str
    missing: int
    cut_at: int


def may_name_file(raw: bytes) -> bool:
    """Whether a line can name the file of its output: it has the word, or an escape that can hide it."""
    return _NAME in raw or b"\\u00" in raw


def named_file(line: CallLine) -> NamedFile | None:
    """The file that a line names, None where it names none.

    Raises:
        VerificationError: it is not one that the recorder can have named there.
    """
    meta = line.meta.get(fields.DETAILS)
    if not isinstance(meta, Mapping) or fields.OUTPUT_FILE not in meta:
        return None
    file, where = meta[fields.OUTPUT_FILE], f"{layout.CALLS} line {line.seq + 1}"
    path = file.get("path") if isinstance(file, Mapping) else None
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise VerificationError(f"{where} names no file of an output")
    if path not in {f"outputs/step-{step_number(line.step)}.out", f"outputs/call-{line.seq}.out"}:
        raise VerificationError(f"{where} names {path}, which is of another call")
    size, missing = file.get(fields.BYTES), file.get("missing", 0)
    cut_at = file.get("cut_at", size)
    digest = file.get(fields.SHA256)
    numbers = all(type(number) is int for number in (size, missing, cut_at))
    if not numbers or not isinstance(digest, str) or missing < 0 or not 0 <= cut_at <= size:
        raise VerificationError(f"{where} misdescribes {path}")
    return NamedFile(path, size, digest, missing, cut_at)


def read_output(record: RunRecord, line: CallLine) -> KeptOutput | None:
    """All that a record has of the output of a line, None where there was none.

    Raises:
        VerificationError: the artifact is missing, is not the one that was recorded, or is misdescribed.
    """
    file = named_file(line)
    if file is None:
        return output_in_line(line)
    path = file.path
    data = read_bounded(record.path / layout.ARTIFACTS / path, OUTPUT_LIMIT)
    if record.result is not None:
        known = {artifact.path: artifact.sha256 for artifact in record.result.artifacts}
        if known.get(path) != hashlib.sha256(data).hexdigest():
            raise VerificationError(f"{layout.ARTIFACTS}/{path} is not the file that was recorded")
    if (len(data), hashlib.sha256(data).hexdigest()) != (file.size, file.sha256):
        raise VerificationError(f"{layout.CALLS} line {line.seq + 1} misdescribes {path}")
    return KeptOutput(data[: file.cut_at], data[file.cut_at :], file.missing)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""

"""Reading ``calls.jsonl``: one line of bytes becomes one typed, strictly checked ``CallLine``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sandbox_runner.bounded_json import read_json
from sandbox_runner.errors import VerificationError
from sandbox_runner.record import fields, layout
from sandbox_runner.record.chain import link
from sandbox_runner.record.encoding import ascii_form, canonical_fact
from sandbox_runner.record.files import open_bounded
from sandbox_runner.trail.operations import METHODS
from sandbox_runner.world.call import Status

__all__ = ["CallLine", "line_start", "parse_line", "read_lines", "subject_in", "subject_of", "text_of"]

_STATUSES: Final = frozenset(status.value for status in Status)
_LINE_KEYS: Final = frozenset({fields.DIGEST, fields.FACT, fields.META})
_CHUNK: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class CallLine:
    """One line of a log.

    Attributes:
        fact: what happened; its keys are in ``fields``.
        meta: when and where; not chained.
        digest: SHA-256 of the canonical fact, as the line states it.
    """

    fact: Mapping[str, Any]
    meta: Mapping[str, Any]
    digest: str

    @property
    def seq(self) -> int:
        """Number of the line, from 0."""
        return int(self.fact[fields.SEQ])

    @property
    def step(self) -> int:
        """Index of the step in the trail; -1 for a call made by hand."""
        return int(self.fact[fields.STEP])

    @property
    def status(self) -> Status:
        """How the call ended."""
        return Status(self.fact[fields.STATUS])

    @property
    def took_ns(self) -> int:
        """Nanoseconds that the step took: what the guest spent, else the time since the call before it."""
        for name in (fields.GUEST_NS, fields.DURATION_NS):
            value = self.meta.get(name)
            if type(value) is int and value > 0:
                return value
        return 0

    @property
    def outcome(self) -> str:
        """The outcome's text; of a long one the beginning."""
        return text_of(self.fact[fields.OUTCOME])


def text_of(value: Any) -> str:
    """A value of a fact as text; of a shortened one the beginning, marked as cut."""
    if isinstance(value, dict) and fields.HEAD in value:
        return f"{value[fields.HEAD]}…"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def line_start(digest: str, fact: bytes) -> bytes:
    """How a line is stored, up to its meta part: ``fact`` is canonical, the line is ASCII."""
    return b'{"digest":"%b","fact":%b,"meta":' % (digest.encode(), ascii_form(fact))


def parse_line(raw: bytes, number: int) -> CallLine:
    """Read one line, newline excluded; ``number`` counts from 0 and is only for the message.

    Raises:
        VerificationError: a field is missing, unknown or of the wrong type, the fact is not in the form in
            which the recorder writes it, or the digest is not that of the fact.
    """
    where = f"{layout.CALLS} line {number + 1}"
    try:
        value = read_json(raw, values=layout.LINE_VALUES)
    except (ValueError, RecursionError) as error:
        raise VerificationError(f"{where} is no JSON: {error}") from error
    if not isinstance(value, dict) or value.keys() != _LINE_KEYS or not _is_fact(value[fields.FACT]):
        raise VerificationError(f"{where} has not the fields of a call")
    fact, meta, digest = value[fields.FACT], value[fields.META], value[fields.DIGEST]
    if not isinstance(meta, dict) or not isinstance(digest, str):
        raise VerificationError(f"{where} has not the fields of a call")
    try:
        data = canonical_fact(fact)
        written = line_start(digest, data) + b"{"
    except (ValueError, RecursionError) as error:
        raise VerificationError(f"{where} holds a value that is never written: {error}") from error
    if not raw.startswith(written):
        raise VerificationError(f"{where} is not in the form in which it was written")
    if link(data) != digest:
        raise VerificationError(f"{where} was changed: its digest is not that of its fact")
    return CallLine(fact, meta, digest)


def subject_of(line: CallLine) -> str:
    """The argument that tells one call from the next: a path, a commit's message, a target."""
    return subject_in(line.fact[fields.METHOD], line.fact[fields.ARGUMENTS])


def subject_in(method: str, arguments: Mapping[str, Any]) -> str:
    """The same of a call that has no line yet."""
    operation = METHODS.get(method)
    names = [operand.name for operand in operation.operands if operand.name != "repo"] if operation else []
    for name in (*names, *arguments):
        if name in arguments:
            return text_of(arguments[name])
    return ""


def read_lines(path: Path, *, torn_end: bool = False) -> Iterator[bytes]:
    """The lines of a log in order, without their newlines, in bounded memory.

    Args:
        path: the log.
        torn_end: leave out a last line without newline, as a power cut leaves it, instead of refusing it.

    Raises:
        VerificationError: no such file, a line over the limit, or a torn end.
    """
    rest = b""
    with os.fdopen(open_bounded(path, layout.SIZE_LIMITS[layout.CALLS]), "rb") as source:
        while chunk := source.read(_CHUNK):
            *whole, rest = (rest + chunk).split(b"\n")
            if whole and len(whole[0]) > layout.LINE_LIMIT:  # the one that may be longer than a chunk
                rest = whole[0]
            else:
                yield from whole
            if len(rest) > layout.LINE_LIMIT:
                raise VerificationError(f"{path.name} holds a line of more than {layout.LINE_LIMIT} bytes")
    if rest and not torn_end:
        raise VerificationError(f"{path.name} ends in the middle of a line")


def _is_fact(fact: Any) -> bool:
    return (
        isinstance(fact, dict)
        and fact.keys() == fields.FACT_KEYS
        and type(fact[fields.SEQ]) is int
        and type(fact[fields.STEP]) is int
        and isinstance(fact[fields.OPCODE], str)
        and isinstance(fact[fields.METHOD], str)
        and isinstance(fact[fields.PREV], str)
        and isinstance(fact[fields.STATUS], str)
        and fact[fields.STATUS] in _STATUSES
        and isinstance(fact[fields.ARGUMENTS], dict)
        and isinstance(fact[fields.DETAILS], dict)
        and isinstance(fact[fields.OUTCOME], str | dict)
    )

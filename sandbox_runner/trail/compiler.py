"""Worklogs to trails. A reused compiler keeps nothing from one worklog to the next."""

from __future__ import annotations

from collections.abc import Iterable

from sandbox_runner.arguments import checked
from sandbox_runner.errors import TrailCompileError
from sandbox_runner.trail.conversion import Format, encode, obstacle_to_v1
from sandbox_runner.trail.draft import Draft
from sandbox_runner.trail.hashes import str_hash_to_u16_pair, str_to_hash
from sandbox_runner.trail.limits import DEFAULT_LIMITS, TrailLimits
from sandbox_runner.trail.operations import OPERATIONS, TrailOpcodes
from sandbox_runner.trail.program import TrailProgram
from sandbox_runner.trail.resolved import ResolvedStep
from sandbox_runner.trail.step import TrailStep
from sandbox_runner.trail.worklog import iter_worklog, line_of_entry

__all__ = ["TrailCompiler", "compile_file", "compile_worklog"]


def compile_worklog(
    entries: Iterable[object],
    *,
    format: Format = "auto",  # noqa: A002  # the word of the command line
    limits: TrailLimits = DEFAULT_LIMITS,
) -> bytes:
    """The bytes of a worklog: a trail that ``load`` accepts.

    Entries may come from an iterator; they are not kept. Each is a mapping with ``op`` and the keys of
    ``entries.SCHEMAS``.

    Raises:
        TrailCompileError: an entry cannot be compiled or does not fit the version that was asked for,
        TRAIL_BEGIN is
            not first, or TRAIL_END is not last and alone.
    """
    draft = _draft(entries, limits)
    draft.check_frame()
    return _encode(draft, format, limits)


def compile_file(
    data: bytes,
    *,
    format: Format = "auto",  # noqa: A002
    limits: TrailLimits = DEFAULT_LIMITS,
) -> bytes:
    """The bytes of the trail that a worklog's file comes to; only one of its entries is held at a time.

    Raises:
        TrailCompileError: as ``compile_worklog``, or the bytes are no worklog; ``line`` says where.
    """
    try:
        return compile_worklog(iter_worklog(data, limits), format=format, limits=limits)
    except TrailCompileError as error:
        if error.line is None and error.entry is not None:
            error.line = line_of_entry(data, error.entry, limits)
        raise


def _draft(entries: Iterable[object], limits: TrailLimits) -> Draft:
    draft = Draft(limits)
    for entry in entries:
        draft.add(entry)
    return draft


def _encode(draft: Draft, form: Format, limits: TrailLimits) -> bytes:
    if form == "1":
        obstacle = obstacle_to_v1(draft.steps, draft.strings)
        if obstacle is not None:
            entry, key = draft.place(obstacle.text) if obstacle.text is not None else (obstacle.step, None)
            raise TrailCompileError(
                obstacle.message if key is None else f"{key}: {obstacle.message}",
                entry=entry,
                key=key,
                hint="format 2 holds it; auto chooses by itself",
            )
    return encode(draft.steps, draft.strings, form, limits)


@checked
class TrailCompiler:
    """The compiler of the reference's interface: any list of entries, framed or not.

    Attributes:
        string_table: the texts of the worklog compiled last, by hash.
    """

    def __init__(self) -> None:
        self.string_table: dict[str, str] = {}

    def compile(self, entries: Iterable[object]) -> TrailProgram:
        """A version 1 program; its strings are in ``string_table``.

        Raises:
            TrailCompileError: an entry cannot be compiled, or two strings share a hash.
        """
        draft = _draft(entries, DEFAULT_LIMITS)
        table: dict[str, str] = {}
        for text in draft.strings:
            hash_hex = str_to_hash(text)
            if table.setdefault(hash_hex, text) != text:
                entry, key = draft.place(text)
                raise TrailCompileError(
                    f"{key} shares its 32-bit hash {hash_hex} with another string",
                    entry=entry,
                    key=key,
                    hint="compile_worklog() writes version 2, which tells them apart",
                )
        self.string_table = table
        return TrailProgram([_step(step, draft.descriptions.get(step.index)) for step in draft.steps])

    def compile_and_encode(self, entries: Iterable[object]) -> bytes:
        """The bytes: version 1 where it holds the worklog, else version 2.

        Raises:
            TrailCompileError: an entry cannot be compiled, or there is none.
        """
        draft = _draft(entries, DEFAULT_LIMITS)
        if not draft.steps:
            raise TrailCompileError("Cannot encode empty trail program: the worklog has no entries")
        self.string_table = {str_to_hash(text): text for text in draft.strings}
        return _encode(draft, "auto", DEFAULT_LIMITS)


def _step(step: ResolvedStep, description: str | None) -> TrailStep:
    known = step.arguments
    if step.opcode is TrailOpcodes.TRAIL_BEGIN:
        metadata = {name: known[name] for name in ("agent", "trail_id", "timestamp")}
        text = (
            description
            if description is not None
            else f"Trail {known['trail_id']} by {known['agent']} begins"
        )
        return TrailStep(step.opcode, [int(known["agent_id"])], metadata, float(known["timestamp"]), text)
    if step.opcode is TrailOpcodes.TRAIL_END:
        metadata = {"total_steps": known["total_steps"], "status": known["status"]}
        text = description if description is not None else "Trail ends"
        return TrailStep(step.opcode, [int(known["status"])], metadata, 0.0, text)
    slots: list[int] = []
    for operand in OPERATIONS[step.opcode].operands:
        value = known[operand.name]
        slots += str_hash_to_u16_pair(value) if isinstance(value, str) else (value,)
    text = description if description is not None else _describe(step)
    return TrailStep(step.opcode, slots, {}, 0.0, text)


def _describe(step: ResolvedStep) -> str:
    """What a step does, in a line: its operation and the beginning of its arguments."""
    shown = (f"{name}={str(value)[:40]!r}" for name, value in step.arguments.items())
    return " ".join((step.opcode.name, *shown))

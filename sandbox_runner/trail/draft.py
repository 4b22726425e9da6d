"""One worklog on its way to a trail: entries are checked and become resolved steps.

What is missing, misspelt, of the wrong type or out of range is an error that names the entry and the key.
"""

from __future__ import annotations

import difflib
import math
import re
from array import array
from collections.abc import Collection, Mapping
from typing import Any

from sandbox_runner.errors import TrailCompileError, TrailError
from sandbox_runner.trail.entries import ANNOTATIONS, SCHEMAS, Key, Want
from sandbox_runner.trail.hashes import NO_ID, agent_byte, str_to_hash, utf8
from sandbox_runner.trail.limits import TrailLimits
from sandbox_runner.trail.operations import OPERATIONS, TrailOpcodes
from sandbox_runner.trail.resolved import Argument, ResolvedStep, Steps

__all__ = ["Draft"]

_WHOLE = re.compile(r"\s*[+-]?[0-9]{1,20}\s*", re.ASCII)
_ID_HASH = ("trail_id_hash",)  # what a begin step has beyond its keys
_OPCODES = {opcode.name: opcode for opcode in OPERATIONS}


class Draft:
    """The steps and strings of one worklog, held in columns: as objects they take several times the memory.

    Attributes:
        descriptions: what ``desc`` said, by entry; it never reaches the bytes.
    """

    def __init__(self, limits: TrailLimits) -> None:
        self.descriptions: dict[int, str] = {}
        self._limits = limits
        self._opcodes = bytearray()
        self._values: list[Argument] = []  # the arguments of all steps, one after the other
        self._ends = array("L")  # where those of each step end
        self._places: dict[str, int] = {}  # every text: the entry that brought it, and the number of its key

    @property
    def steps(self) -> Steps:
        """One for each entry, made when asked for."""
        return Steps(len(self._opcodes), self._step)

    @property
    def strings(self) -> Collection[str]:
        """Every text once."""
        return self._places.keys()

    def place(self, text: str) -> tuple[int, str]:
        """The entry and the key that brought a text first."""
        entry, number = divmod(self._places[text], len(_NAMES))
        return entry, _NAMES[number]

    def add(self, entry: object) -> None:
        """Check one entry and append its step.

        Raises:
            TrailCompileError: the entry cannot be compiled.
        """
        index = len(self._opcodes)
        if index == self._limits.entries:
            raise TrailCompileError(
                f"the worklog has more entries than the limit entries of {index}", entry=index
            )
        if not isinstance(entry, Mapping):
            raise TrailCompileError(f"it is {_kind(entry)}, not a mapping with a key 'op'", entry=index)
        opcode = _opcode(entry.get("op", ""), index)
        keys = SCHEMAS[opcode]
        if not entry.keys() <= _KNOWN[opcode]:
            _refuse_unknown(entry, opcode, index)
        arguments: dict[str, Argument] = {}
        for key in keys:
            name, value = _find(entry, key, opcode, index)
            if isinstance(value, str) and value not in self._places:
                self._register(value, index, name)
            arguments[key.operand] = value
        if opcode is TrailOpcodes.TRAIL_BEGIN:
            _finish_begin(arguments)
        self._opcodes.append(opcode)
        self._values += arguments.values()
        self._ends.append(len(self._values))
        if isinstance(entry.get("desc"), str):
            self.descriptions[index] = entry["desc"]

    def check_frame(self) -> None:
        """TRAIL_BEGIN first, TRAIL_END last and nowhere else.

        Raises:
            TrailCompileError: the worklog is not framed so, or is empty.
        """
        if not self._opcodes:
            raise TrailCompileError("Cannot encode empty trail program: the worklog has no entries")
        if self._opcodes[0] != TrailOpcodes.TRAIL_BEGIN:
            raise TrailCompileError("the first entry must be TRAIL_BEGIN", entry=0, key="op")
        last, end = len(self._opcodes) - 1, self._opcodes.find(TrailOpcodes.TRAIL_END)
        if end != last:
            index = last if end < 0 else end
            what = "the last entry must be TRAIL_END" if end < 0 else "TRAIL_END may only be the last entry"
            raise TrailCompileError(what, entry=index, key="op")

    def _step(self, index: int) -> ResolvedStep:
        opcode = _BY_NUMBER[self._opcodes[index]]
        values = self._values[self._ends[index - 1] if index else 0 : self._ends[index]]
        return ResolvedStep(index, opcode, dict(zip(_ARGUMENTS[opcode], values, strict=True)))

    def _register(self, text: str, index: int, key: str) -> None:
        try:
            size = len(utf8(text))
        except TrailError as error:
            raise TrailCompileError(f"{key}: {error}", entry=index, key=key) from error
        limit = self._limits.string_bytes
        if size > limit:
            raise TrailCompileError(
                f"{key} has {size} bytes, more than the limit string_bytes of {limit}",
                entry=index,
                key=key,
            )
        self._places[text] = index * len(_NAMES) + _NUMBERS[key]


_BY_NUMBER = {int(opcode): opcode for opcode in SCHEMAS}
_NAMES = tuple(sorted({name for keys in SCHEMAS.values() for key in keys for name in key.names}))
_NUMBERS = {name: number for number, name in enumerate(_NAMES)}
_ARGUMENTS = {
    opcode: (*(key.operand for key in keys), *(_ID_HASH if opcode is TrailOpcodes.TRAIL_BEGIN else ()))
    for opcode, keys in SCHEMAS.items()
}
_KNOWN = {
    opcode: ANNOTATIONS | {name for key in keys for name in (*key.names, *key.refused)}
    for opcode, keys in SCHEMAS.items()
}


def _kind(value: object) -> str:
    return "null" if value is None else f"a {type(value).__name__}"


def _opcode(op: object, index: int) -> TrailOpcodes:
    if not isinstance(op, str):
        raise TrailCompileError(f"op is {_kind(op)}, not text", entry=index, key="op")
    # ASCII alone folds case: other letters may upper-case to ASCII ones and slip past filters for names.
    name = op.upper() if op.isascii() else op
    opcode = _OPCODES.get(name)
    if opcode is not None:
        return opcode
    if name == TrailOpcodes.HASHTABLE.name:
        raise TrailCompileError(
            "No compiler for opcode: HASHTABLE; it marks the string table",
            entry=index,
            key="op",
        )
    near = difflib.get_close_matches(name[:64], _OPCODES, 1)
    guess = f"; did you mean {near[0]}?" if near else ""
    raise TrailCompileError(f"Unknown opcode: {name[:64]!s}{guess}", entry=index, key="op")


def _refuse_unknown(entry: Mapping[Any, Any], opcode: TrailOpcodes, index: int) -> None:
    unknown = next(key for key in entry if key not in _KNOWN[opcode])
    shown = repr(unknown)[:80]
    names = [name for key in SCHEMAS[opcode] for name in key.names]
    near = difflib.get_close_matches(str(unknown)[:64], [*names, *sorted(ANNOTATIONS)], 1, 0.5)
    guess = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(names) or 'no keys'}"
    raise TrailCompileError(
        f"{opcode.name} has the unknown key {shown}; {guess}", entry=index, key=str(unknown)
    )


def _find(entry: Mapping[str, Any], key: Key, opcode: TrailOpcodes, index: int) -> tuple[str, Argument]:
    """The name under which an argument is given, and its checked value."""
    for name in key.names:
        if name in entry:
            return name, _value(entry[name], key, name, index)
    for name in key.refused:
        if name in entry:
            raise TrailCompileError(
                f"{name} is a hash and no content; give the text as {key.names[0]!r}",
                entry=index,
                key=name,
            )
    if key.default is None:
        raise TrailCompileError(
            f"{opcode.name} needs the key {key.names[0]!r}", entry=index, key=key.names[0]
        )
    return key.names[0], key.default


def _value(value: object, key: Key, name: str, index: int) -> Argument:
    if key.want in {Want.NUMBER, Want.INTEGER}:
        number = _number(value, key.want)
        if number is None:
            raise _wrong(f"{_shown(value)}, not a whole number", name, index)
        if not key.low <= number <= key.high:
            shown = number if number.bit_length() <= 64 else f"a number of {number.bit_length()} bits"
            raise _wrong(f"{shown}, outside {key.low}..{key.high}", name, index)
        return number
    if key.want is Want.SPOKEN and (value is None or isinstance(value, int | float)):
        value = str(value)
    if not isinstance(value, str):
        raise _wrong(f"{_kind(value)}, not text", name, index)
    if key.want is not Want.TEXT and "\0" in value:
        raise _wrong("text with a NUL character, which no name may hold", name, index)
    return value


def _number(value: object, want: Want) -> int | None:
    if isinstance(value, int):
        return int(value)
    if want is Want.INTEGER:
        return None
    if isinstance(value, float) and math.isfinite(value):
        return int(value)
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    return None


def _shown(value: object) -> str:
    return repr(value)[:40] if isinstance(value, str | float) else _kind(value)


def _wrong(what: str, name: str, index: int) -> TrailCompileError:
    return TrailCompileError(f"{name} is {what}", entry=index, key=name)


def _finish_begin(arguments: dict[str, Argument]) -> None:
    agent, trail_id = str(arguments["agent"]), str(arguments["trail_id"])
    if arguments["agent_id"] == -1:
        arguments["agent_id"] = agent_byte(agent)
    arguments[_ID_HASH[0]] = str_to_hash(trail_id) if trail_id else NO_ID

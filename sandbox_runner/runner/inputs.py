"""A run's input: trail bytes as they are, or a worklog compiled on the way in."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox_runner.errors import TrailError
from sandbox_runner.trail import Trail, TrailOpcodes, compile_file, compile_worklog, is_worklog, load, naming

__all__ = ["INPUT_LIMIT", "TrailInput", "read_input"]

INPUT_LIMIT = 256 * 1024 * 1024
"""Bytes of a trail or worklog; more is refused before it is read."""

_VERSION_2 = 0x89


@dataclass(frozen=True, slots=True)
class TrailInput:
    """A trail that passed strict decoding, and the name its user knows it by (never a directory)."""

    trail: Trail
    source: str


def read_input(
    source: str | os.PathLike[str] | bytes | Trail | Sequence[Mapping[str, Any]] | TrailInput,
) -> TrailInput:
    """Read a trail or worklog from a file, or take its bytes, or a worklog's entries.

    Raises:
        TrailError: there is no such file, it is too large, it is neither a sound trail nor a worklog, or what
            was given is nothing of the kind.
    """
    if isinstance(source, TrailInput):
        return source
    if isinstance(source, Trail):
        return TrailInput(source, "trail")
    if isinstance(source, (bytes, bytearray)):
        return TrailInput(_trail(bytes(source), "the input"), "bytes")
    if isinstance(source, (list, tuple)):
        return TrailInput(load(compile_worklog(source)), "worklog")
    if not isinstance(source, (str, os.PathLike)):
        raise TrailError(
            f"{type(source).__name__} is not a trail",
            hint="give the path of a trail or worklog, its bytes, or a list of worklog entries",
        )
    path = Path(source)
    if "\0" in str(path):
        raise TrailError(f"cannot read {str(path)!r}: a path holds no NUL byte")
    return TrailInput(_trail(_read(path), str(path)), path.name)


def _read(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise TrailError(f"{path} is a directory; give a trail or a worklog file")
        with path.open("rb") as file:
            data = file.read(INPUT_LIMIT + 1)
    except OSError as problem:
        raise TrailError(f"cannot read {path}: {problem.strerror}") from problem
    if len(data) > INPUT_LIMIT:
        raise TrailError(f"{path} is larger than {INPUT_LIMIT} bytes, the limit of a trail")
    return data


def _trail(data: bytes, name: str) -> Trail:
    if not data:
        raise TrailError(f"{name} is empty; a trail has at least a TRAIL_BEGIN and a TRAIL_END")
    worklog = is_worklog(data)
    if not worklog and data[0] != _VERSION_2 and not TrailOpcodes.is_valid(data[0]):
        raise TrailError(
            f"{name} is neither a trail nor a worklog: it begins with byte 0x{data[0]:02X}",
            hint="a worklog is a JSON list of steps, or one JSON object per line; the README shows one",
        )
    with naming(name):
        return load(compile_file(data) if worklog else data)

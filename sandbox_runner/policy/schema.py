"""The sections of a policy file as frozen records; every default is narrow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from sandbox_runner.policy.fields import (
    Count,
    Directory,
    Limits,
    NamePatterns,
    PathPatterns,
    Permission,
    Positive,
    Seconds,
    Section,
    Size,
    frozen,
    sorted_once,
)
from sandbox_runner.policy.frozen import FrozenMapping
from sandbox_runner.policy.narrowing import Narrow, agreed, stricter_word, union
from sandbox_runner.policy.patterns import NOTHING, check_path_pattern

__all__ = ["Bottles", "Budget", "Git", "Paths", "Resources", "Search", "Tests"]


def _keys_as_text(value: Any) -> Any:
    return {str(key): item for key, item in value.items()} if isinstance(value, Mapping) else value


class Paths(Section):
    """What file operations may touch: gitignore patterns on the normal form. ``deny`` beats the others."""

    read: PathPatterns = NOTHING
    write: PathPatterns = NOTHING
    deny: Annotated[
        tuple[Annotated[str, AfterValidator(check_path_pattern)], ...],
        Field(max_length=1024),
        AfterValidator(sorted_once),
        Narrow(union),
    ] = ()


class Git(Section):
    """Which repositories a trail's numbers and names mean, what commits take, and where pushes go."""

    repositories: Annotated[
        Mapping[Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z_-]{0,63}$")], Directory],
        BeforeValidator(_keys_as_text),
        frozen,
        Narrow(agreed),
    ] = FrozenMapping({"0": ".", "1": "."})
    push: Annotated[Literal["deny", "quarantine"], Narrow(stricter_word("deny", "quarantine"))] = "deny"
    stage: Annotated[Literal["changed", "all"], Narrow(stricter_word("changed", "all"))] = "changed"


class Tests(Section):
    """Which tests may run, for how long, and how separately."""

    paths: PathPatterns = NOTHING
    timeout_s: Seconds = 60.0
    honour_project_config: Permission = False
    isolation: Annotated[Literal["fresh", "server"], Narrow(stricter_word("fresh", "server"))] = "fresh"


class Search(Section):
    """Bounds of a search."""

    max_pattern_bytes: Annotated[Positive, Field(le=2**20)] = 512


class Bottles(Section):
    """To whom messages may be dropped; count and total size hold for the whole run."""

    targets: NamePatterns = NOTHING
    max_count: Annotated[Count, Field(le=100_000)] = 100
    max_bytes: Annotated[Size, Field(le=16 * 2**20)] = 65_536


class Budget(Section):
    """What one run may use in all; ``write_bytes`` counts the texts of writes and the new texts of edits."""

    steps: Count = 10_000
    wall_clock_s: Seconds = 600.0
    output_bytes: Size = 16 * 2**20
    write_bytes: Size = 64 * 2**20
    per_opcode: Limits = FrozenMapping()


class Resources(Section):
    """Limits of the container: sizes in bytes, ``cpus`` in cores, the others are counts."""

    cpus: Annotated[float, Field(strict=True, ge=0.01, le=1024, allow_inf_nan=False), Narrow(min)] = 1.0
    memory: Annotated[Size, Field(ge=32 * 2**20)] = 512 * 2**20
    pids: Annotated[Positive, Field(ge=8, le=1 << 20)] = 128
    workspace: Annotated[Size, Field(ge=2**20)] = 256 * 2**20
    workspace_inodes: Annotated[Positive, Field(ge=64)] = 50_000
    tmp: Annotated[Size, Field(ge=2**20)] = 64 * 2**20
    open_files: Annotated[Positive, Field(ge=64, le=1 << 20)] = 1024

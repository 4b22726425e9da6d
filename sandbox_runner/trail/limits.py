"""What a trail or a worklog may cost before anything is built from it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT_LIMITS", "TrailLimits"]

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class TrailLimits:
    """Ceilings for input from strangers; an error names the field that stopped it.

    Attributes:
        trail_bytes: size of a trail, bytes. steps: steps in a trail, begin and end included. strings: entries
        in a string table. string_bytes: UTF-8 bytes of one string (version 1 cannot hold more than 255 in any
        case). program_steps: steps of a ``TrailProgram``, whose steps are separate mutable objects of some
        300 bytes. program_slots: 16-bit operands of a ``TrailProgram`` in total. worklog_bytes: size of a
        worklog, bytes. entries: entries in a worklog. entry_bytes: size of one worklog entry, bytes of JSON.
    """

    trail_bytes: int = 256 * _MIB
    steps: int = 1_000_000
    strings: int = 1_000_000
    string_bytes: int = 16 * _MIB
    program_steps: int = 150_000
    program_slots: int = 1_000_000
    worklog_bytes: int = 256 * _MIB
    entries: int = 1_000_000
    entry_bytes: int = 24 * _MIB

    @property
    def trail_memory(self) -> int:
        """The most memory that loading a trail takes, bytes: as it came, and its columns."""
        return 2 * self.trail_bytes

    @property
    def worklog_memory(self) -> int:
        """The most memory that compiling a worklog takes, bytes.

        As it came, its texts at four bytes a character until all are known, and the trail that they make.
        """
        return 6 * self.worklog_bytes


DEFAULT_LIMITS = TrailLimits()
"""A million steps and strings, 16 MiB each: what the format promises."""

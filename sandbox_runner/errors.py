"""Every exception of the project, in one tree; each carries the exit code of the command line.

    SandboxRunnerError
    ├── InputError                      2   something the user gave is unusable
    │   ├── TrailError (ValueError)         a trail or worklog
    │   │   ├── TrailDecodeError                malformed bytes: ``offset``
    │   │   ├── TrailCompileError               a worklog entry: ``entry``, ``line``, ``key``
    │   │   └── TrailVerificationError          well-formed bytes that must not be replayed: ``findings``
    │   ├── PolicyError                     a policy file: ``source``, ``line``
    │   ├── ConfigurationError              a setting, flag or configuration file
    │   │   └── ArgumentError (TypeError, ValueError)   an argument of a Python call
    │   ├── OutputError                     a file that was named for the answer cannot be written
    │   ├── WorkspaceError                  a workspace directory
    │   └── SnapshotError                   a snapshot that cannot be found, read or restored
    ├── RefusedError                    3   a policy refused the trail: ``violations``
    ├── SandboxError                    4   the sandbox or Docker failed; says nothing about the trail
    │   ├── DockerError                     the Engine is absent, slow or said no
    │   ├── ImageError                      no usable sandbox image
    │   │   └── ImageChangedError               its name came to mean another one during the start
    │   ├── ChannelError                    the stream to the guest broke or carried nonsense
    │   └── GuestError                      the guest died or reported a fault of its own
    │       └── OutOfMemoryError                the Engine says that it died of its memory limit
    ├── StoreError                      4   the state directory: disk full, read-only, corrupt
    ├── VerificationError               5   a record or a signature does not hold
    └── InterruptedRunError           130   the user stopped the run

An error's text is one sentence: what, where, and what to do. ``hint`` holds the way out where it is long.
This module imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, ClassVar

__all__ = [
    "ArgumentError",
    "ChannelError",
    "ConfigurationError",
    "DockerError",
    "ExitCode",
    "GuestError",
    "ImageChangedError",
    "ImageError",
    "InputError",
    "InterruptedRunError",
    "OutOfMemoryError",
    "OutputError",
    "PolicyError",
    "RefusedError",
    "SandboxError",
    "SandboxRunnerError",
    "SnapshotError",
    "StoreError",
    "TrailCompileError",
    "TrailDecodeError",
    "TrailError",
    "TrailVerificationError",
    "VerificationError",
    "WorkspaceError",
]


class ExitCode(IntEnum):
    """What the command line tells the shell; scripts rely on these numbers."""

    OK = 0
    STEP_FAILED = 1
    BAD_INPUT = 2
    REFUSED = 3
    SANDBOX_FAILED = 4
    NOT_VERIFIED = 5
    INTERRUPTED = 130


class SandboxRunnerError(Exception):
    """Root of the tree. ``hint`` is an optional second sentence: the way out."""

    exit_code: ClassVar[ExitCode] = ExitCode.SANDBOX_FAILED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class InputError(SandboxRunnerError):
    """Something the user gave is unusable; nothing was run."""

    exit_code = ExitCode.BAD_INPUT


class TrailError(InputError, ValueError):
    """A trail or a worklog is unusable; ``source`` is its file, where it has one and that is known."""

    source: str | None = None

    def __str__(self) -> str:
        text = super().__str__()
        return f"{self.source}: {text}" if self.source and self.source not in text else text


class TrailDecodeError(TrailError):
    """Malformed trail bytes; ``offset`` is the position of the first byte that is wrong."""

    def __init__(self, message: str, *, offset: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.offset = offset


class TrailCompileError(TrailError):
    """A worklog entry that cannot be compiled.

    The text names the place as people count: the first entry is entry 1, and where the worklog is a file, the
    line of the fault or, where an entry is no good as a whole, the line on which it begins.

    Attributes:
        entry: the entry's index in the list, from 0; None where it concerns the whole worklog.
        key: names the field.
        line: of the file, from 1; None where the worklog is no file.
    """

    def __init__(
        self,
        message: str,
        *,
        entry: int | None = None,
        key: str | None = None,
        line: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.entry = entry
        self.key = key
        self.line = line

    def __str__(self) -> str:
        places = [] if self.entry is None else [f"entry {self.entry + 1}"]
        places += [] if self.line is None else [f"line {self.line}"]
        told = Exception.__str__(self)
        text = f"{', '.join(places)}: {told}" if places else told
        return f"{self.source}: {text}" if self.source else text


class TrailVerificationError(TrailError):
    """A trail that decodes but must not be replayed; ``findings`` says everything that is wrong."""

    def __init__(self, message: str, *, findings: Sequence[Any] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.findings = tuple(findings)


class PolicyError(InputError):
    """A policy that cannot be used; ``source`` is the file or name, ``line`` counts from 1."""

    def __init__(
        self, message: str, *, source: str | None = None, line: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.source = source
        self.line = line


class ConfigurationError(InputError):
    """A setting, flag or configuration file is unusable."""


class ArgumentError(ConfigurationError, TypeError, ValueError):
    """An argument of a Python call is of the wrong type or out of range; nothing was done."""


class OutputError(InputError):
    """What was asked for is done, but the file that the answer should go to cannot be written."""


class WorkspaceError(InputError):
    """A workspace directory is missing, unreadable or too large for its limits."""


class SnapshotError(InputError):
    """A snapshot cannot be found, read or restored."""


class RefusedError(SandboxRunnerError):
    """A policy refused the trail; ``violations`` lists every one, nothing was run."""

    exit_code = ExitCode.REFUSED

    def __init__(self, message: str, *, violations: Sequence[Any] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.violations = tuple(violations)


class SandboxError(SandboxRunnerError):
    """The sandbox broke. It says nothing about the trail: neither passed nor failed."""


class DockerError(SandboxError):
    """The Docker Engine is absent, did not answer in time, or refused."""


class ImageError(SandboxError):
    """There is no usable sandbox image."""


class ImageChangedError(ImageError):
    """The image's name came to mean another image, or none, while a sandbox was started from it."""


class ChannelError(SandboxError):
    """The stream to the guest broke, stalled, or carried something that is no frame."""


class GuestError(SandboxError):
    """The guest died or reported a fault of its own."""


class OutOfMemoryError(GuestError):
    """The sandbox ended because its memory limit was reached, by the Engine's own word.

    The one fault that a step answers for: a world that was running the step's own programs then makes it the
    step's failure. Where nothing of the kind was running it is a fault like any other.
    """


class StoreError(SandboxRunnerError):
    """The state directory cannot be used: full, read-only, or corrupt."""


class VerificationError(SandboxRunnerError):
    """A record, chain or signature does not hold."""

    exit_code = ExitCode.NOT_VERIFIED


class InterruptedRunError(SandboxRunnerError):
    """The user stopped the run; its container is gone; its record, a directory, is closed at ``record``."""

    exit_code = ExitCode.INTERRUPTED

    def __init__(self, message: str, *, record: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.record = record

"""Replay untrusted agent trails inside a disposable Docker container.

    from sandbox_runner import ContainerWorld, Policy, Runner, TrailExecutor

Names are loaded when they are first used: decoding a trail must not pay for the Docker client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandbox_runner.errors import (
        ArgumentError,
        ChannelError,
        ConfigurationError,
        DockerError,
        ExitCode,
        GuestError,
        ImageChangedError,
        ImageError,
        InputError,
        InterruptedRunError,
        OutOfMemoryError,
        OutputError,
        PolicyError,
        RefusedError,
        SandboxError,
        SandboxRunnerError,
        SnapshotError,
        StoreError,
        TrailCompileError,
        TrailDecodeError,
        TrailError,
        TrailVerificationError,
        VerificationError,
        WorkspaceError,
    )
    from sandbox_runner.policy import GuardedWorld, Policy, Resources
    from sandbox_runner.record import RecordedWorld, RunRecord, SigningKey
    from sandbox_runner.replay import TrailEvent, TrailExecutor, TrailResult
    from sandbox_runner.runner.home import Home
    from sandbox_runner.runner.progress import Phase, Progress
    from sandbox_runner.runner.runner import Runner
    from sandbox_runner.sandbox import ContainerWorld, Sandbox, SandboxSpec
    from sandbox_runner.snapshot import SnapshotStore
    from sandbox_runner.trail import (
        OPCODE_ARG_TYPES,
        OPCODE_OPERAND_COUNT,
        TrailCompiler,
        TrailDecoder,
        TrailEncoder,
        TrailOpcodes,
        TrailPrinter,
        TrailProgram,
        TrailStep,
        TrailVerifier,
        hex_dump,
        operand_names,
        resolve_operands,
        str_hash_to_u16_pair,
        str_to_hash,
        u16_pair_to_hex,
    )
    from sandbox_runner.world import Call, FileWorld, MockWorld, Outcome, Status, World, WorldInterface

    __version__: str

_NAMES = {
    "errors": (
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
    ),
    "policy": ("GuardedWorld", "Policy", "Resources"),
    "record": ("RecordedWorld", "RunRecord", "SigningKey"),
    "replay": ("TrailEvent", "TrailExecutor", "TrailResult"),
    "runner.home": ("Home",),
    "runner.progress": ("Phase", "Progress"),
    "runner.runner": ("Runner",),
    "sandbox": ("ContainerWorld", "Sandbox", "SandboxSpec"),
    "snapshot": ("SnapshotStore",),
    "trail": (
        "OPCODE_ARG_TYPES",
        "OPCODE_OPERAND_COUNT",
        "TrailCompiler",
        "TrailDecoder",
        "TrailEncoder",
        "TrailOpcodes",
        "TrailPrinter",
        "TrailProgram",
        "TrailStep",
        "TrailVerifier",
        "hex_dump",
        "operand_names",
        "resolve_operands",
        "str_hash_to_u16_pair",
        "str_to_hash",
        "u16_pair_to_hex",
    ),
    "world": ("Call", "FileWorld", "MockWorld", "Outcome", "Status", "World", "WorldInterface"),
}
_HOME = {name: package for package, names in _NAMES.items() for name in names}

__all__ = [
    "OPCODE_ARG_TYPES",
    "OPCODE_OPERAND_COUNT",
    "ArgumentError",
    "Call",
    "ChannelError",
    "ConfigurationError",
    "ContainerWorld",
    "DockerError",
    "ExitCode",
    "FileWorld",
    "GuardedWorld",
    "GuestError",
    "Home",
    "ImageChangedError",
    "ImageError",
    "InputError",
    "InterruptedRunError",
    "MockWorld",
    "OutOfMemoryError",
    "Outcome",
    "OutputError",
    "Phase",
    "Policy",
    "PolicyError",
    "Progress",
    "RecordedWorld",
    "RefusedError",
    "Resources",
    "RunRecord",
    "Runner",
    "Sandbox",
    "SandboxError",
    "SandboxRunnerError",
    "SandboxSpec",
    "SigningKey",
    "SnapshotError",
    "SnapshotStore",
    "Status",
    "StoreError",
    "TrailCompileError",
    "TrailCompiler",
    "TrailDecodeError",
    "TrailDecoder",
    "TrailEncoder",
    "TrailError",
    "TrailEvent",
    "TrailExecutor",
    "TrailOpcodes",
    "TrailPrinter",
    "TrailProgram",
    "TrailResult",
    "TrailStep",
    "TrailVerificationError",
    "TrailVerifier",
    "VerificationError",
    "WorkspaceError",
    "World",
    "WorldInterface",
    "__version__",
    "hex_dump",
    "operand_names",
    "resolve_operands",
    "str_hash_to_u16_pair",
    "str_to_hash",
    "u16_pair_to_hex",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("sandbox-runner")
    package = _HOME.get(name)
    if package is None:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(f"{__name__}.{package}"), name)
    globals()[name] = value  # the next use does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

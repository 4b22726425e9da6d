"""Worlds: what a call is, what comes back, and the worlds that need no sandbox."""

from sandbox_runner.world.call import Call, Outcome, Printed, Status
from sandbox_runner.world.canonical import canonical_digest, canonical_json
from sandbox_runner.world.dispatch import adapt, call_for
from sandbox_runner.world.file_world import FileWorld
from sandbox_runner.world.interface import CallStream, World, WorldInterface
from sandbox_runner.world.mock_world import MockWorld

__all__ = [
    "Call",
    "CallStream",
    "FileWorld",
    "MockWorld",
    "Outcome",
    "Printed",
    "Status",
    "World",
    "WorldInterface",
    "adapt",
    "call_for",
    "canonical_digest",
    "canonical_json",
]

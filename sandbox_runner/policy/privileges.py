"""Least privilege from the manifest: what the trail does not need is not there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sandbox_runner.policy.manifest import Manifest
from sandbox_runner.policy.policy import Policy
from sandbox_runner.policy.schema import Resources
from sandbox_runner.trail.operations import METHODS

__all__ = ["Privileges", "withhold"]

_QUIET_PIDS: Final = 32
_QUIET_TMP: Final = 16 * 2**20
_LEAST_MEMORY: Final = 32 * 2**20


@dataclass(frozen=True, slots=True)
class Privileges:
    """What a sandbox for one trail has.

    Attributes:
        tests: a test runner.
        push: a quarantine repository to push into.
        git: git at all.
        search: the search tool.
        programs: foreign code may run (tests or commands of spells).
        writes: the workspace can be written; else it is sealed once it is filled.
        methods: what the world does for this trail; the guest refuses every other one.
        resources: the policy's limits, lower where nothing in the trail could use them.
        withheld: one sentence for each thing that the policy allows and the trail does not need.
    """

    tests: bool
    push: bool
    git: bool
    search: bool
    programs: bool
    writes: bool
    methods: tuple[str, ...]
    resources: Resources
    withheld: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The privileges as the record holds them."""
        flags = {
            name: getattr(self, name) for name in ("tests", "push", "git", "search", "programs", "writes")
        }
        return {
            **flags,
            "methods": list(self.methods),
            "resources": self.resources.model_dump(),
            "withheld": list(self.withheld),
        }


def withhold(policy: Policy, manifest: Manifest) -> Privileges:
    """The privileges that the trail needs and the policy gives."""
    opcodes = {*manifest.opcodes} & {*policy.opcodes}
    tests = "TEST_RUN" in opcodes
    push = "GIT_PUSH" in opcodes and policy.git.push == "quarantine"
    git = push or "GIT_COMMIT" in opcodes
    search = "SEARCH_CODE" in opcodes
    cast = manifest.spells if "SPELL_CAST" in opcodes else ()
    commands = any(policy.fleet.spells[name].argv for name in cast if name in policy.fleet.spells)
    programs = tests or commands
    writes = git or programs or bool(opcodes & {"FILE_WRITE", "FILE_EDIT"})
    resources = policy.resources if programs else _quiet(policy.resources)
    missing = {
        "no test runner: no step runs tests": "TEST_RUN" in policy.opcodes and not tests,
        "no quarantine repository: no step pushes": policy.git.push == "quarantine" and not push,
        "no git: no step commits or pushes": bool({"GIT_COMMIT", "GIT_PUSH"} & {*policy.opcodes}) and not git,
        "no search: no step searches": "SEARCH_CODE" in policy.opcodes and not search,
        "the workspace is read-only: no step writes": bool(policy.opcodes) and not writes,
        **_lowered(policy.resources, resources),
    }
    return Privileges(
        tests=tests,
        push=push,
        git=git,
        search=search,
        programs=programs,
        writes=writes,
        methods=tuple(name for name, operation in METHODS.items() if operation.opcode.name in opcodes),
        resources=resources,
        withheld=tuple(sentence for sentence, applies in missing.items() if applies),
    )


def _quiet(limits: Resources) -> Resources:
    """Limits for a trail that runs no foreign code: the guest itself, git and the search need no more."""
    tmp = min(limits.tmp, _QUIET_TMP)
    # Memory holds every tmpfs, so it shrinks with them and by no more.
    return limits.model_copy(
        update={
            "memory": max(_LEAST_MEMORY, limits.memory - limits.tmp + tmp),
            "pids": min(limits.pids, _QUIET_PIDS),
            "tmp": tmp,
        }
    )


def _lowered(before: Resources, after: Resources) -> dict[str, bool]:
    return {
        f"{name} {new} instead of {old}: no step runs programs": old != new
        for name in ("memory", "pids", "tmp")
        for old, new in ((getattr(before, name), getattr(after, name)),)
    }

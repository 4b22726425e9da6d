"""Admission: a whole trail judged before anything of it runs, with every violation at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from sandbox_runner.policy.budget import Meter
from sandbox_runner.policy.manifest import Manifest, ManifestBuilder, Step
from sandbox_runner.policy.narrowing import NO_RUNTIME
from sandbox_runner.policy.policy import Policy
from sandbox_runner.policy.unsafe import warn_if_unsafe

__all__ = ["Admission", "Violation", "admit", "what_if"]


@dataclass(frozen=True, slots=True)
class Violation:
    """One refused step; ``step`` is -1 and ``opcode`` empty where the whole run is refused."""

    step: int
    opcode: str
    rule: str
    message: str

    def to_json(self) -> dict[str, Any]:
        """The violation as JSON has it."""
        return {"step": self.step, "opcode": self.opcode, "rule": self.rule, "message": self.message}


@dataclass(frozen=True)
class Admission:
    """The verdict on a trail under a policy."""

    trail_sha256: str
    policy: str
    policy_sha256: str
    manifest: Manifest
    violations: tuple[Violation, ...]

    @property
    def admitted(self) -> bool:
        """Whether nothing in the trail is refused."""
        return not self.violations

    @cached_property
    def refused(self) -> Mapping[int, Violation]:
        """Violations by step, for a run that skips them."""
        return {violation.step: violation for violation in self.violations}

    @property
    def runnable(self) -> bool:
        """Whether the rest can run without the refused steps: no violation concerns the whole run."""
        return -1 not in self.refused

    def to_json(self) -> dict[str, Any]:
        """The verdict as ``check --json`` prints it."""
        return {
            "admitted": self.admitted,
            "trail_sha256": self.trail_sha256,
            "policy": self.policy,
            "policy_sha256": self.policy_sha256,
            "violations": [violation.to_json() for violation in self.violations],
            "needs": self.manifest.to_json(),
        }


class AdmissibleTrail(Protocol):
    """What admission reads of a trail: its digest and its steps with resolved arguments."""

    @property
    def sha256(self) -> str:
        """Digest of its bytes."""

    @property
    def steps(self) -> Iterable[Step]:
        """The steps in order, with resolved arguments."""


def admit(trail: AdmissibleTrail, policy: Policy) -> Admission:
    """Judge every step by the static rules and by the budgets that are known beforehand."""
    warn_if_unsafe(policy, "admission")
    needs = ManifestBuilder()
    violations = (*_of_the_run(policy), *what_if(policy, needs.watching(trail.steps)))
    return Admission(trail.sha256, policy.name, policy.sha256, needs.manifest(), violations)


def what_if(policy: Policy, steps: Iterable[Step]) -> tuple[Violation, ...]:
    """What the policy refuses of these steps, such as those of an earlier run; ``step`` is the position."""
    judge, take = policy.judge.judge, Meter(policy).take
    found = []
    for index, step in enumerate(steps):
        opcode, arguments = step.opcode, step.arguments
        decision = judge(opcode, arguments)
        refusal = take(opcode, arguments) if decision.allowed else decision
        if refusal is not None:
            found.append(Violation(index, opcode.name, refusal.rule, refusal.message))
    return tuple(found)


def _of_the_run(policy: Policy) -> list[Violation]:
    if policy.runtime != NO_RUNTIME:
        return []
    return [
        Violation(
            -1, "", "runtime", "the combined policies name different runtimes, so there is none to run on"
        )
    ]

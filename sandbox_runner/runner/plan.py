"""From a trail, its admission and the caller's wishes to one sandbox; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox_runner.errors import RefusedError
from sandbox_runner.policy import Admission, Policy, Privileges, guest_config
from sandbox_runner.sandbox import SandboxSpec
from sandbox_runner.trail import Trail

__all__ = ["Wishes", "may_run", "principal_of", "runtime_of", "sandbox_spec"]

_GUEST_TASKS = 6  # of the limit on processes, the guest's own share: nothing can fork it out of work
_ANY = "auto"
_NOBODY = "executor"  # the format's own word for an agent that cannot be told


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """How one run is asked for, beyond its trail and its policy.

    Attributes:
        workspace: directory whose copy the run works on; None for an empty workspace.
        base: name of the snapshot the run works on, instead of a directory.
        origin: digest of the snapshot that commits are measured against, empty for an empty tree; None for
            the base, or for what the runs began with that it came from.
        bind: work in ``workspace`` itself; for trusted trails only.
        exclude: gitignore-style patterns of what the copy leaves out.
        gitignore: leave out what the directory's own ``.gitignore`` files name.
        fail_fast: stop at the first step that fails or is refused.
        dry_run: admit and list, run nothing.
        runs: where the record goes, instead of the tenant's own folder.
        labels: free words kept in the record.
    """

    workspace: Path | None = None
    base: str | None = None
    origin: str | None = None
    bind: bool = False
    exclude: tuple[str, ...] = ()
    gitignore: bool = False
    fail_fast: bool = False
    dry_run: bool = False
    runs: Path | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


def may_run(policy: Policy, admission: Admission) -> bool:
    """Whether anything of a trail runs: all of it is admitted, or the policy skips what is not."""
    return admission.admitted or (policy.on_violation == "skip" and admission.runnable)


def principal_of(trail: Trail, given: str | None) -> str:
    """The agent on whose behalf a trail acts: the caller's word, else the trail's own agent."""
    return given or trail.agent or _NOBODY


def runtime_of(policy: Policy, wish: str | None) -> str:
    """The runtime a run asks for; a wish counts only where the policy leaves the choice.

    The wish is no part of the policy: the same trail and policy give the same facts under any runtime.

    Raises:
        RefusedError: the policy names another runtime than the one wished for.
    """
    if wish is None or wish in {_ANY, policy.runtime}:
        return policy.runtime
    if policy.runtime != _ANY:
        raise RefusedError(
            f"the policy {policy.name} allows the runtime {policy.runtime} and no other, not {wish}",
            hint="leave --runtime out, or choose a policy that says auto",
        )
    return wish


def sandbox_spec(
    trail: Trail,
    policy: Policy,
    privileges: Privileges,
    *,
    run_id: str,
    image: str | None,
    runtime: str,
    principal: str,
    bind: Path | None = None,
    runtime_cache: Path | None = None,
) -> SandboxSpec:
    """The sandbox that this trail gets: what the policy allows, less what the trail does not need."""
    guest: dict[str, Any] = {
        **guest_config(policy, principal=principal, privileges=privileges),
        # Ids of bottles and grants derive from this: a trail gets the same ids wherever it is replayed.
        "run_id": trail.sha256[:16],
        "principal": principal,
        "clock": trail.timestamp,
        "limits": {
            "open_files": privileges.resources.open_files,
            "processes": max(privileges.resources.pids - _GUEST_TASKS, 1),
        },
    }
    return SandboxSpec(
        image=image,
        runtime=runtime,
        resources=privileges.resources,
        guest=guest,
        run_id=run_id,
        bind=bind,
        writes=privileges.writes,
        runtime_cache=runtime_cache,
    )

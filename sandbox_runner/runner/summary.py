"""What a run came to, in the words of its record; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sandbox_runner.errors import ExitCode, VerificationError
from sandbox_runner.policy import Admission, Policy, Privileges, Resources
from sandbox_runner.record import LeftOutInfo, RunStatus, StepCounts
from sandbox_runner.replay import TrailEvent
from sandbox_runner.snapshot import Snapshot, groups_of, json_path, show_path, uncounted
from sandbox_runner.trail import OPERATIONS, Trail
from sandbox_runner.world import Outcome, Status

__all__ = [
    "check_left_out",
    "clipped_limits",
    "counts_of",
    "facts_of_snapshot",
    "left_out_of",
    "outcome_of",
    "refusals_of",
    "verdict_source",
]

_LISTED = 1000  # omissions that the record names; the snapshot names all
_NAME_CHARACTERS = 200  # of a path that run.json gives as an example


def outcome_of(events: Sequence[TrailEvent]) -> tuple[RunStatus, ExitCode]:
    """A refusal outweighs a failure: what the policy stopped cannot be blamed on the steps after it."""
    statuses = {event.status for event in events}
    if Status.REFUSED in statuses:
        return RunStatus.REFUSED, ExitCode.REFUSED
    if Status.FAILED in statuses:
        return RunStatus.FAILED, ExitCode.STEP_FAILED
    return RunStatus.SUCCESS, ExitCode.OK


def counts_of(total: int, events: Sequence[TrailEvent], *, refused: int) -> StepCounts:
    """The steps by how they ended; ``refused`` is what admission refused of a trail that did not run."""
    counts = Counter(event.status for event in events)
    return StepCounts(
        total=total,
        ok=counts[Status.OK],
        failed=counts[Status.FAILED],
        refused=counts[Status.REFUSED] if events else refused,
        skipped=counts[Status.SKIPPED],
    )


def refusals_of(trail: Trail, admission: Admission) -> Mapping[int, Outcome]:
    """The refused steps that call no world, such as a COMMENT; the guard refuses the others itself."""
    return {
        index: Outcome(
            Status.REFUSED,
            f"{trail.steps[index].opcode.name}: ERROR refused: {violation.rule}",
            {"rule": violation.rule, "message": violation.message},
        )
        for index, violation in admission.refused.items()
        if index >= 0 and OPERATIONS[trail.steps[index].opcode].method is None
    }


def clipped_limits(asked: Resources, given: Resources) -> dict[str, dict[str, Any]]:
    """The limits that the Engine's machine could not give, by name: what was ``asked``, what is ``given``."""
    limits = given.model_dump(mode="json")
    return {
        name: {"asked": wanted, "given": limits[name]}
        for name, wanted in asked.model_dump(mode="json").items()
        if limits[name] != wanted
    }


def verdict_source(policy: Policy, privileges: Privileges) -> str | None:
    """Who says that a test passed; None where no test ran."""
    if not privileges.tests:
        return None
    whose = "with" if policy.tests.honour_project_config else "without"
    return f"pytest's exit status and its report, {whose} the project's own configuration; self-reported"


def left_out_of(base: Snapshot | None) -> tuple[LeftOutInfo, ...]:
    """What the record keeps of what the base leaves out: how much for each reason, and its first names."""
    return tuple(
        LeftOutInfo(reason=group.reason, count=group.count, first=tuple(map(_short, group.first)))
        for group in (groups_of(base) if base else ())
    )


def check_left_out(base: Snapshot, recorded: Sequence[LeftOutInfo]) -> None:
    """See that a record says of its base what that snapshot says.

    Raises:
        VerificationError: it says something else; the text names the reason.
    """
    if tuple(recorded) == left_out_of(base):
        return
    told = {group.reason: group for group in recorded}
    named = {group.reason: group for group in left_out_of(replace(base, notes=()))}
    more = uncounted(base)
    if len(told) != len(recorded):
        raise VerificationError("run.json says twice for one reason what was left out of the base")
    for reason in sorted(told.keys() | named.keys()):
        one, other = told.get(reason), named.get(reason)
        said, seen = one.count if one else 0, other.count if other else 0
        if said < seen or (said > seen and reason not in more):
            raise VerificationError(
                f"run.json says that {said} were left out of the base, {reason}; the snapshot says {seen}"
            )
        if one and other and one.first != other.first:
            raise VerificationError(
                f"run.json names others than the base's snapshot as left out first, {reason}"
            )


def _short(path: bytes) -> str:
    text = show_path(path)
    return text if len(text) <= _NAME_CHARACTERS else f"{text[: _NAME_CHARACTERS - 1]}…"


def facts_of_snapshot(snapshot: Snapshot) -> dict[str, Any]:
    """What the record keeps of the final snapshot beside its digest."""
    return {
        "files": snapshot.files,
        "directories": snapshot.directories,
        "links": snapshot.links,
        "size": snapshot.size,
        "stored": snapshot.stored,
        "partial": snapshot.partial,
        "omissions": [
            {"path": json_path(item.path), "reason": item.reason} for item in snapshot.omissions[:_LISTED]
        ],
        "notes": [{"text": note.text, "count": note.count} for note in snapshot.notes],
    }

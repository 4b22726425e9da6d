"""The whole policy file as one frozen record, without behaviour."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from sandbox_runner.policy.fields import Opcodes, Permission, Section
from sandbox_runner.policy.fleet_schema import Fleet
from sandbox_runner.policy.narrowing import ANY_RUNTIME, Narrow, same_runtime, stricter_word
from sandbox_runner.policy.schema import Bottles, Budget, Git, Paths, Resources, Search, Tests

__all__ = ["PolicyRecord"]

_ONE_NAME = r"[0-9a-z][0-9a-z._-]{0,63}"


def _version(value: Any) -> int:
    if value != 1 or isinstance(value, bool):
        raise ValueError("the version of the format is 1")
    return 1


def _joined(one: str, other: str) -> str:
    return "+".join(sorted({*one.split("+"), *other.split("+")}))


class PolicyRecord(Section):
    """What a trail may do, and what a run of it may use. What is not allowed is denied.

    Attributes:
        policy: version of the schema.
        name: for people; an intersection carries the names of all that went into it.
        opcodes: names of permitted operations; TRAIL_BEGIN and TRAIL_END need no permission.
        runtime: of the container; ``auto`` takes the strongest that works, ``none`` (two policies name
            different ones) lets nothing run.
        on_violation: ``refuse``: nothing runs; ``skip``: refused steps are recorded and the rest runs.
        unsafe: this policy is knowingly open, and every use of it is logged as a warning.
    """

    policy: Annotated[int, BeforeValidator(_version), Narrow(min)]
    name: Annotated[str, Field(strict=True, pattern=rf"^{_ONE_NAME}(\+{_ONE_NAME})*$"), Narrow(_joined)] = (
        "unnamed"
    )
    opcodes: Opcodes = ()
    paths: Paths = Paths()
    git: Git = Git()
    tests: Tests = Tests()
    search: Search = Search()
    bottles: Bottles = Bottles()
    fleet: Fleet = Fleet()
    budget: Budget = Budget()
    resources: Resources = Resources()
    runtime: Annotated[
        str, Field(strict=True, pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$"), Narrow(same_runtime)
    ] = ANY_RUNTIME
    network: Annotated[Literal["none"], Narrow(min)] = "none"
    on_violation: Annotated[Literal["refuse", "skip"], Narrow(stricter_word("refuse", "skip"))] = "refuse"
    unsafe: Permission = False

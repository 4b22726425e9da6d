"""From a trail's step to a call, and from a stranger's fourteen methods to a world of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from inspect import signature
from time import perf_counter_ns
from typing import Any

from sandbox_runner.errors import ArgumentError, InterruptedRunError, SandboxError, StoreError
from sandbox_runner.trail.operations import METHODS, OPERATIONS, TrailOpcodes
from sandbox_runner.trail.resolved import ResolvedStep
from sandbox_runner.world.call import Call, Outcome, Status
from sandbox_runner.world.interface import CallStream, World, WorldInterface

__all__ = ["MethodWorld", "adapt", "call_for"]

_PARAMETERS = {name: tuple(signature(getattr(World, name)).parameters)[1:] for name in METHODS}
_METHOD_OF = {opcode: operation.method for opcode, operation in OPERATIONS.items() if operation.method}


def call_for(step: ResolvedStep, principal: str) -> Call:
    """Turn a step into the call of its world method.

    The methods take what the trail format does not store as such: a repository as text, a change of trust as
    a float, and in ``level_up`` the agent that is levelled: ``principal``, the one on whose behalf the trail
    acts.

    Raises:
        KeyError: the step is a marker, which calls nothing.
    """
    opcode = step.opcode
    arguments: Mapping[str, str | int | float] = step.arguments
    if opcode in _CONVERTED:
        arguments = dict(arguments)
        if opcode is TrailOpcodes.LEVEL_UP:
            arguments = {"agent": principal, **arguments}
        elif opcode is TrailOpcodes.TRUST_UPDATE:
            arguments["delta"] = float(arguments["delta"])
        else:
            arguments["repo"] = str(arguments["repo"])
    return Call(opcode, _METHOD_OF[opcode], arguments, step.index)


_CONVERTED = frozenset(
    {TrailOpcodes.LEVEL_UP, TrailOpcodes.TRUST_UPDATE, TrailOpcodes.GIT_COMMIT, TrailOpcodes.GIT_PUSH}
)


def adapt(world: object) -> World:
    """Make a world of ours out of any: one of ours is returned as is, fourteen plain methods are wrapped.

    A world of ours whose named methods someone has overridden is driven through those, like a plain object:
    its ``perform_all`` would pass them by.

    Raises:
        ArgumentError: the object lacks some of the fourteen methods.
    """
    if isinstance(world, World) and not _overrides_methods(world):
        return world
    if isinstance(world, WorldInterface):
        return MethodWorld(world)
    missing = [name for name in METHODS if not callable(getattr(world, name, None))]
    raise ArgumentError(f"{type(world).__name__} is no world: it lacks {', '.join(missing)}")


def _overrides_methods(world: World) -> bool:
    kind, own = type(world), getattr(world, "__dict__", {})
    return any(name in own or getattr(kind, name) is not getattr(World, name) for name in METHODS)


class MethodWorld(World):
    """A world that performs a call by calling the named method of a plain object, one at a time.

    What a plain method tells is a line of text, so the text has to decide: a call failed iff the method
    raised, returned something that is no text, or returned a text that starts with ``<method>: ERROR`` or
    ``<OPCODE>: ERROR``. A text that merely mentions an error has not failed.
    """

    def __init__(self, methods: WorldInterface) -> None:
        self._methods = methods

    def perform_all(self, calls: CallStream, *, stop_on_failure: bool = False) -> Iterator[Outcome]:
        """Perform calls one by one. What a method raises becomes the outcome ``<OPCODE>: ERROR <text>``."""
        for call in calls:
            if call is None:
                continue
            outcome = perform_by_method(self._methods, call)
            yield outcome
            if stop_on_failure and outcome.status.stops:
                return


def perform_by_method(methods: WorldInterface, call: Call) -> Outcome:
    """Perform one call through the named method of ``methods``; the rules are those of ``MethodWorld``.

    Raises:
        SandboxError, StoreError, InterruptedRunError: the run cannot go on; this says nothing about the step.
    """
    started = perf_counter_ns()
    try:
        # By position: a stranger may call the parameters what he likes.
        arguments = [call.arguments[name] for name in _PARAMETERS[call.method]]
        text: Any = getattr(methods, call.method)(*arguments)
    except (SandboxError, StoreError, InterruptedRunError):
        raise
    except Exception as error:  # noqa: BLE001  # a stranger's method may raise anything
        return _outcome(Status.FAILED, f"{call.opcode.name}: ERROR {error}", started)
    if not isinstance(text, str):
        reason = f"{call.method} returned {type(text).__name__} instead of text"
        return _outcome(Status.FAILED, f"{call.opcode.name}: ERROR {reason}", started)
    failed = text.startswith((f"{call.method}: ERROR", f"{call.opcode.name}: ERROR"))
    return _outcome(Status.FAILED if failed else Status.OK, text, started)


def _outcome(status: Status, text: str, started: int) -> Outcome:
    # A lone surrogate has no UTF-8 form and could be neither digested nor logged.
    text = text.encode("utf-8", "backslashreplace").decode()
    return Outcome(status, text, duration_ns=perf_counter_ns() - started)

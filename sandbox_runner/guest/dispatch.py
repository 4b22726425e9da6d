"""From a method's name and arguments to an outcome. A method is loaded when it is first called."""

from __future__ import annotations

from time import monotonic_ns

from sandbox_runner.guest.lean import load
from sandbox_runner.guest.outcome import Outcome, StepError, of_the_step
from sandbox_runner.guest.wire import FrameError, split_blobs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sandbox_runner.guest.context import Guest

__all__ = ["METHODS", "answer_call"]

_NAME_LIMIT = 8192
_CONTENTS = ("content", "message", "new", "old")
_EITHER_WAY = ("bottles", "files", "fleet", "search")  # modules that can begin with the sandbox uid on
_TEXT = (str,)
_INTEGER = (int,)
_NUMBER = (int, float)

METHODS: dict[str, tuple[str, dict[str, tuple[type, ...]]]] = {
    "file_read": ("files", {"path": _TEXT}),
    "file_write": ("files", {"path": _TEXT, "content": _TEXT}),
    "file_edit": ("files", {"path": _TEXT, "old": _TEXT, "new": _TEXT}),
    "git_commit": ("git", {"repo": _TEXT, "message": _TEXT}),
    "git_push": ("push", {"repo": _TEXT}),
    "test_run": ("testing", {"test_path": _TEXT, "expected": _INTEGER}),
    "search_code": ("search", {"pattern": _TEXT}),
    "bottle_drop": ("bottles", {"target": _TEXT, "content": _TEXT}),
    "bottle_read": ("bottles", {"source": _TEXT}),
    "level_up": ("fleet", {"agent": _TEXT, "level": _INTEGER}),
    "spell_cast": ("spells", {"spell": _TEXT}),
    "room_enter": ("fleet", {"room": _TEXT}),
    "trust_update": ("fleet", {"target": _TEXT, "delta": _NUMBER}),
    "cap_issue": ("fleet", {"action": _TEXT, "holder": _TEXT}),
}
"""Every method: its module and its arguments' types in order."""

_handlers: dict[str, Callable[..., Outcome]] = {}  # of the methods that were called


def answer_call(guest: Guest, header: dict[str, Any], body: bytes) -> dict[str, Any]:
    """Perform one call and say what it came to.

    Raises:
        FrameError: the request itself is malformed, which only a broken host can send.
    """
    method = header.get("method")
    if type(method) is not str or method not in METHODS:
        raise FrameError(f"unknown method {method!r:.60}")
    module, kinds = METHODS[method]
    arguments = _arguments(method, kinds, header, body)
    step = header.get("step", -1)
    if type(step) is not int:
        raise FrameError("a step is no number")
    guest.ledger.step = step
    started = monotonic_ns()
    try:
        _bound_names(arguments)
        guest.ledger.admit(method, arguments)
        if module not in _EITHER_WAY:
            guest.identity.take_off()
        outcome = (_handlers.get(method) or _handler(guest, method))(guest, **arguments)
    except StepError as error:
        outcome = _failed(method, error)
    except (OSError, MemoryError) as error:
        reason = of_the_step(error)
        if reason is None:
            raise
        outcome = _failed(method, reason)
    if guest.ledger.room:
        outcome.details["room"] = guest.ledger.room
    answer = {
        "status": outcome.status,
        "text": outcome.text,
        "details": outcome.details,
        "ns": monotonic_ns() - started,
    }
    if guest.memory_reached:
        answer["memory_reached"], guest.memory_reached = guest.memory_reached, 0
    return answer


def _failed(method: str, error: StepError) -> Outcome:
    return Outcome(f"{method}: ERROR {error.reason}", error.details, error.status)


def _bound_names(arguments: dict[str, Any]) -> None:
    """Names and paths come back in texts and records, so they are bounded; contents are elsewhere."""
    for name, value in arguments.items():
        if type(value) is str and len(value) > _NAME_LIMIT and name not in _CONTENTS:
            raise StepError(f"{name} of {len(value)} characters is over the limit of {_NAME_LIMIT}")


def _handler(guest: Guest, method: str) -> Callable[..., Outcome]:
    """A method's function; its module is loaded when it is first called, by root, who may read it."""
    guest.identity.take_off()
    found: Callable[..., Outcome] = getattr(load("sandbox_runner.guest." + METHODS[method][0]), method)
    _handlers[method] = found
    return found


def _arguments(
    method: str, kinds: dict[str, tuple[type, ...]], header: dict[str, Any], body: bytes
) -> dict[str, Any]:
    arguments = header.get("args")
    if type(arguments) is not dict:
        raise FrameError(f"the arguments of {method} are no object")
    if body or "blobs" in header:
        for name, blob in split_blobs(header.get("blobs", {}), body).items():
            try:
                arguments[name] = blob.decode()
            except UnicodeDecodeError:
                raise FrameError(f"argument {name:.40} of {method} is not UTF-8 text") from None
    if arguments.keys() != kinds.keys():
        raise FrameError("{} takes {}".format(method, ", ".join(kinds)))
    for name, kind in kinds.items():
        if type(arguments[name]) not in kind:
            raise FrameError(f"argument {name} of {method} has the wrong type")
    return arguments

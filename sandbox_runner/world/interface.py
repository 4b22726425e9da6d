"""What a world is: fourteen named methods for people, one stream of calls and outcomes for the layers.

Every world of ours implements ``perform_all``; ``WorldMethods`` derives the fourteen methods from it. Layers
(recording, guard) wrap a world by wrapping that one stream.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Protocol, runtime_checkable

from sandbox_runner.arguments import checked
from sandbox_runner.trail.operations import METHODS
from sandbox_runner.world.call import Call, Outcome, misfit

__all__ = ["CallStream", "World", "WorldInterface"]

CallStream = Iterable[Call | None]
"""Calls in order. ``None`` asks a pipelining world to deliver all outstanding outcomes before it goes on."""


@runtime_checkable
class WorldInterface(Protocol):
    """The fourteen methods of the trail format; each returns its result as text. See ``World``."""

    # ruff: noqa: D102  # told once, by World

    def git_commit(self, repo: str, message: str) -> str: ...
    def git_push(self, repo: str) -> str: ...
    def file_read(self, path: str) -> str: ...
    def file_write(self, path: str, content: str) -> str: ...
    def file_edit(self, path: str, old: str, new: str) -> str: ...
    def test_run(self, test_path: str, expected: int) -> str: ...
    def search_code(self, pattern: str) -> str: ...
    def bottle_drop(self, target: str, content: str) -> str: ...
    def bottle_read(self, source: str) -> str: ...
    def level_up(self, agent: str, level: int) -> str: ...
    def spell_cast(self, spell: str) -> str: ...
    def room_enter(self, room: str) -> str: ...
    def trust_update(self, target: str, delta: float) -> str: ...
    def cap_issue(self, action: str, holder: str) -> str: ...


class World(ABC):
    """A world of ours: implement ``perform_all``, get the fourteen methods.

    An argument of the wrong type makes a method answer ``<method>: ERROR <reason>`` and reaches nothing.
    """

    @abstractmethod
    def perform_all(self, calls: CallStream, *, stop_on_failure: bool = False) -> Iterator[Outcome]:
        """Perform calls in order and yield one outcome for each, in order.

        A world may pull several calls ahead of the outcomes it yields (a window), but the effects and
        outcomes are those of one call at a time. With ``stop_on_failure`` nothing is performed after the
        first outcome whose status stops, and the iterator ends there.

        Raises:
            SandboxError: the world itself broke; the call in question neither passed nor failed.
        """

    @checked
    def perform(self, call: Call) -> Outcome:
        """Perform one call: the one-element case of ``perform_all``."""
        (outcome,) = self.perform_all((call,))
        return outcome

    def _text(self, method: str, **arguments: str | float) -> str:
        reason = misfit(arguments)
        if reason is not None:
            return f"{method}: ERROR {reason}"
        plain = {
            name: str.__str__(value) if isinstance(value, str) else value for name, value in arguments.items()
        }
        return self.perform(Call(METHODS[method].opcode, method, plain)).text

    def git_commit(self, repo: str, message: str) -> str:
        """Stage everything in a repository and commit it."""
        return self._text("git_commit", repo=repo, message=message)

    def git_push(self, repo: str) -> str:
        """Push a repository's current branch."""
        return self._text("git_push", repo=repo)

    def file_read(self, path: str) -> str:
        """Read a text file."""
        return self._text("file_read", path=path)

    def file_write(self, path: str, content: str) -> str:
        """Create or replace a text file."""
        return self._text("file_write", path=path, content=content)

    def file_edit(self, path: str, old: str, new: str) -> str:
        """Replace the one occurrence of ``old`` in a text file."""
        return self._text("file_edit", path=path, old=old, new=new)

    def test_run(self, test_path: str, expected: int) -> str:
        """Run tests; ``expected`` counts tests executed, 0 means no expectation."""
        return self._text("test_run", test_path=test_path, expected=expected)

    def search_code(self, pattern: str) -> str:
        """Search the workspace for a regular expression."""
        return self._text("search_code", pattern=pattern)

    def bottle_drop(self, target: str, content: str) -> str:
        """Leave a message for another agent."""
        return self._text("bottle_drop", target=target, content=content)

    def bottle_read(self, source: str) -> str:
        """Take the oldest unread message from another agent."""
        return self._text("bottle_read", source=source)

    def level_up(self, agent: str, level: int) -> str:
        """Record a level for an agent."""
        return self._text("level_up", agent=agent, level=level)

    def spell_cast(self, spell: str) -> str:
        """Run a recipe that the host declared."""
        return self._text("spell_cast", spell=spell)

    def room_enter(self, room: str) -> str:
        """Change the working context."""
        return self._text("room_enter", room=room)

    def trust_update(self, target: str, delta: float) -> str:
        """Change an agent's run-scoped trust by percentage points."""
        return self._text("trust_update", target=target, delta=delta)

    def cap_issue(self, action: str, holder: str) -> str:
        """Issue a capability for an action to a holder."""
        return self._text("cap_issue", action=action, holder=holder)

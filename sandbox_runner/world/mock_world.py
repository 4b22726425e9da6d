"""A world that does nothing but remember: for tests of executors, layers and trails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sandbox_runner.arguments import checked
from sandbox_runner.world.call import Outcome, misfit
from sandbox_runner.world.dispatch import perform_by_method
from sandbox_runner.world.interface import CallStream, World

__all__ = ["MockWorld"]


@checked
class MockWorld(World):
    """Records every call and answers ``<method>: ok``, or what it was told to.

    A method may be overridden in a subclass or replaced on the object; the executor will call that one.

    Args:
        calls: earlier calls to go on from, as ``{"method": name, "args": {name: value}}``.
        call_results: the text to answer, by method name.
        fail_on: names of the methods that raise ``RuntimeError``; the call is recorded all the same.
    """

    def __init__(
        self,
        calls: Iterable[Mapping[str, Any]] = (),
        call_results: Mapping[str, str] | None = None,
        fail_on: Iterable[str] = (),
    ) -> None:
        self.calls: list[dict[str, Any]] = [dict(call) for call in calls]
        self.call_results: dict[str, str] = dict(call_results or {})
        self.fail_on: set[str] = set(fail_on)

    def perform_all(self, calls: CallStream, *, stop_on_failure: bool = False) -> Iterator[Outcome]:
        """Perform each call through the method of its name."""
        for call in calls:
            if call is None:
                continue
            outcome = perform_by_method(self, call)
            yield outcome
            if stop_on_failure and outcome.status.stops:
                return

    def _text(self, method: str, **arguments: str | float) -> str:
        reason = misfit(arguments)
        if reason is not None:
            return f"{method}: ERROR {reason}"
        self.calls.append({"method": method, "args": arguments})
        if method in self.fail_on:
            raise RuntimeError(f"Simulated failure: {method}")
        return self.call_results.get(method, f"{method}: ok")

    def reset(self) -> None:
        """Forget the calls, the results and the failures."""
        self.calls.clear()
        self.call_results.clear()
        self.fail_on.clear()

    def assert_call_count(self, method: str | int, count: int | None = None) -> None:
        """Assert how often a method was called; with a number alone, how many calls there were in all.

        Raises:
            AssertionError: it was another number.
        """
        if isinstance(method, int):
            found, expected, what = len(self.calls), method, "calls"
        else:
            found = sum(call["method"] == method for call in self.calls)
            expected, what = (1 if count is None else count), f"calls of {method}"
        if found != expected:
            raise AssertionError(f"expected {expected} {what}, there were {found}")

    def assert_call_order(self, *methods: str | Iterable[str]) -> None:
        """Assert that these methods were called in this order; other calls may stand between them.

        Raises:
            AssertionError: the first one that is missing or came too early is named.
        """
        names = [name for item in methods for name in ([item] if isinstance(item, str) else item)]
        made = [call["method"] for call in self.calls]
        rest = iter(made)
        for name in names:
            if name not in rest:  # consumes ``rest`` up to the match
                raise AssertionError(
                    f"expected the order {names}, but {name} is missing or too early in {made}"
                )

    def assert_called_with(
        self, method: str, arguments: Mapping[str, Any] | None = None, /, **named: Any
    ) -> None:
        """Assert that a method was called at least once with exactly these arguments.

        Raises:
            AssertionError: it was not; the calls that were made are listed.
        """
        expected = {**(arguments or {}), **named}
        made = [call["args"] for call in self.calls if call["method"] == method]
        if expected not in made:
            raise AssertionError(f"expected {method} with {expected}, it was called with {made}")

"""The recording layer: the outermost world, so that a denial is logged like any other call."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox_runner.arguments import checked
from sandbox_runner.record.recorder import Recorder
from sandbox_runner.world.call import Call, Outcome
from sandbox_runner.world.interface import CallStream, World

__all__ = ["RecordedWorld"]


@checked
class RecordedWorld(World):
    """Any world, with every call journalled before it goes in and its outcome logged before it comes out."""

    def __init__(self, inner: World, recorder: Recorder) -> None:
        self._inner = inner
        self._recorder = recorder

    def perform_all(self, calls: CallStream, *, stop_on_failure: bool = False) -> Iterator[Outcome]:
        """As the inner world does it; calls are pulled when the inner world pulls, so pipelining survives.

        When the inner world breaks, or the consumer stops listening, what was sent and not answered stays in
        doubt (``Recorder.in_doubt``). When it ends in good order, what it pulled and left out was not
        performed.
        """
        outcomes = self._inner.perform_all(self._journalled(calls), stop_on_failure=stop_on_failure)
        for outcome in outcomes:
            self._recorder.record(outcome)
            yield outcome
        self._recorder.withdraw()

    def _journalled(self, calls: CallStream) -> Iterator[Call | None]:
        for call in calls:
            if call is not None:
                self._recorder.dispatch(call)
            yield call

"""The world inside a container: calls go to the guest in order, several on their way at once.

The guest performs strictly one call after the other, so a window only hides the way there and back. What a
call may take is the guest's to enforce; the host waits a margin longer and then calls the sandbox broken.

One fault is a step's. A program may use up the memory that it shares with the guest (under gVisor with the
whole kernel) in ways that no limit of its own counts, and the kernel then ends whom it likes; under gVisor
it may also leave some behind that nobody frees. Where the Engine says that the sandbox went that way while a
call ran programs, or after one did, that call failed, and the calls after it are skipped: no trail can pass
its own doing off as a broken sandbox.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sandbox_runner.arguments import checked, wrong
from sandbox_runner.errors import ArgumentError, ChannelError, OutOfMemoryError
from sandbox_runner.guest.wire import BODY_LIMIT, OUTPUT_LIMIT
from sandbox_runner.sandbox.channel import Answer
from sandbox_runner.sandbox.engine import Engine
from sandbox_runner.sandbox.fast_json import encode
from sandbox_runner.sandbox.fill import fill
from sandbox_runner.sandbox.sandbox import Sandbox
from sandbox_runner.sandbox.spec import SandboxSpec
from sandbox_runner.world import Call, CallStream, Outcome, Printed, Status, World
from sandbox_runner.world.call import NUMBERS, misfit

__all__ = ["KEPT_BYTES", "PROGRAMS", "ContainerWorld"]

DEFAULT_WINDOW = 32
_INLINE_BYTES = 4_096  # longer texts travel as raw bytes, not as JSON
_UNSENT_BYTES = 4 << 20  # a stream that takes no more of this keeps the window from growing
_TEXT_LIMIT = 1 << 16
PROGRAMS = frozenset(("git_commit", "git_push", "search_code", "spell_cast", "test_run"))
"""The methods that start programs as the sandbox uid."""
_PRINTING = frozenset(("spell_cast", "test_run"))  # whose answers carry what the programs printed
_DETAILS_KEYS = 256  # at the top of an answer's details; no method has a tenth of them
KEPT_BYTES = 256 << 20
"""What a replay keeps of all answers of a sandbox, bytes: their texts, at four each character, and details.

A guest that says more, and be it for a trail that makes it, has the rest left out of the outcomes, which say
so: the same for the same answers, so a replay repeats it."""
_SHORT = 200  # characters of a text that is left out
_WIDEST = 4  # bytes of a character in memory
_STATUSES = {status.value: status for status in Status}
_ALL_METHODS = {"push": "quarantine"}  # what a guest that is told nothing lacks of the fourteen
_GUEST_CALL_S, _GUEST_TEST_S = 300.0, 120.0  # what the guest allows itself where its configuration is silent


class ContainerWorld(World):
    """A ``World`` whose fourteen methods happen in a sandbox.

    ``perform_all`` keeps up to ``window`` calls on their way. A consumer that stops early leaves performed
    what was on its way; ``None`` in the stream of calls prevents that where it matters.

    Attributes:
        sandbox: where the calls happen.
        ended: why the sandbox is no more, where a call's programs ended it; later calls are skipped.
        ran_programs: whether a call that starts programs was performed.
    """

    def __init__(self, sandbox: Sandbox, *, window: int = DEFAULT_WINDOW) -> None:
        if not hasattr(sandbox, "guest"):
            raise wrong("sandbox", "a Sandbox", sandbox)
        if not isinstance(window, int):
            raise wrong("window", "a whole number", window)
        if window < 1:
            raise ArgumentError("window must be at least one: it holds the calls that are on their way")
        self.sandbox = sandbox
        self.ended: OutOfMemoryError | None = None
        self.ran_programs = False
        self._window = window
        self._batch = 0
        self._room = KEPT_BYTES
        guest = sandbox.guest
        self._call_s = float(guest.get("limits", {}).get("call_s", _GUEST_CALL_S))
        self._test_s = float(guest.get("tests", {}).get("timeout_s", _GUEST_TEST_S))

    @classmethod
    @checked
    def start(
        cls,
        workspace: str | Path | None = None,
        *,
        spec: SandboxSpec | None = None,
        engine: Engine | None = None,
        window: int = DEFAULT_WINDOW,
    ) -> Self:
        """Start a sandbox, copy a directory into it, and give its world. Use it as a context manager.

        Args:
            workspace: a directory to copy in, never written; ``None`` starts empty.
            spec: what the sandbox is to be; by default the default image with the default limits, and a
                quarantine for pushes.
            engine: the Docker Engine; by default the one of the environment.
            window: how many calls may be on their way at once.

        Raises:
            WorkspaceError: the directory is missing, unreadable or over its limits.
            SandboxError: no sandbox could be started.
        """
        sandbox = Sandbox.start(spec or SandboxSpec(guest=_ALL_METHODS), engine=engine)
        try:
            if workspace is not None:
                fill(sandbox, Path(workspace))
            elif sandbox.spec.bind is not None and sandbox.commits:
                sandbox.note_present()
            if not sandbox.spec.writes:
                sandbox.seal()
        except BaseException:
            sandbox.close()
            raise
        return cls(sandbox, window=window)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sandbox.close()

    def perform(self, call: Call) -> Outcome:
        """Perform one call, without the machinery for a stream of them."""
        self._begin()
        request = self._request(call, stop=False)
        if isinstance(request, Outcome):
            return request
        header, body = request
        try:
            self.sandbox.send("call", header, body, allowance_s=self.allowance_s(call.method))
            answer = self.sandbox.receive()
        except OutOfMemoryError as error:
            return self._end(call, error)
        except BaseException:
            self.sandbox.channel.abandon()
            raise
        return self._taken(answer, call)

    def perform_all(self, calls: CallStream, *, stop_on_failure: bool = False) -> Iterator[Outcome]:
        """Perform calls in order; see ``World.perform_all``."""
        self._begin()
        try:
            for outcome in self._outcomes(calls, stop=stop_on_failure):
                yield outcome
                if stop_on_failure and outcome.status.stops:
                    return
        finally:
            self.sandbox.channel.abandon()

    def _outcomes(self, calls: CallStream, *, stop: bool) -> Iterator[Outcome]:
        """Every outcome in order, with a window of calls on their way."""
        flight: deque[Call] = deque()
        for call in calls:
            request = None if call is None else self._request(call, stop=stop)
            # What cannot travel has its outcome already, and it must not overtake those on their way.
            room = self._window - 1 if isinstance(request, tuple) else 0
            while len(flight) > room or (flight and self.sandbox.channel.unsent > _UNSENT_BYTES):
                yield self._outcome(flight)
            if isinstance(request, Outcome):
                yield request
            elif request is not None and call is not None:
                if self.ended is not None:  # while room was made for it
                    yield _skipped(call)
                    continue
                header, body = request
                self.sandbox.send("call", header, body, allowance_s=self.allowance_s(call.method))
                flight.append(call)
        while flight:
            yield self._outcome(flight)

    def _begin(self) -> None:
        """Give the next calls a number of their own, by which the guest knows what belongs together.

        Raises:
            RuntimeError: outcomes of other calls are still on their way and would be taken for these.
        """
        if self.sandbox.channel.outstanding:
            raise RuntimeError(
                "other calls are on their way: take all their outcomes, or close that iterator"
            )
        self._batch += 1

    def allowance_s(self, method: str) -> float:
        """How long the host waits for a call of this method: the guest's own limit and a margin."""
        allowed = max(self._call_s, self._test_s) if method == "test_run" else self._call_s
        return allowed + self.sandbox.spec.deadlines.margin

    def _request(self, call: Call, *, stop: bool) -> tuple[dict[str, Any], bytes] | Outcome:
        """A call as header and body; or its outcome at once, where it cannot travel."""
        if self.ended is not None:
            return _skipped(call)
        header: dict[str, Any] = {
            "method": call.method,
            "batch": self._batch,
            "stop": stop,
            "step": call.step,
        }
        arguments: dict[str, str | int | float] = {}
        blobs: dict[str, int] = {}
        parts: list[bytes] = []
        for name, value in call.arguments.items():
            if type(value) is str and name not in NUMBERS:
                try:
                    encoded = value.encode()
                except UnicodeEncodeError:
                    return _failed(call, f"{name} is not Unicode text")
                if len(encoded) > _INLINE_BYTES:
                    blobs[name] = len(encoded)
                    parts.append(encoded)
                    continue
            else:
                reason = misfit({name: value})
                if reason is not None:
                    return _failed(call, reason)
            arguments[name] = value
        body = b"".join(parts)
        if len(body) > BODY_LIMIT:
            return _failed(call, f"over {BODY_LIMIT >> 20} MiB of text in one call")
        header["args"] = arguments
        if blobs:
            header["blobs"] = blobs
        return header, body

    def _outcome(self, flight: deque[Call]) -> Outcome:
        """The outcome of the oldest call on its way."""
        if self.ended is not None:
            return _skipped(flight.popleft())
        try:
            answer = self.sandbox.receive()
        except OutOfMemoryError as error:
            return self._end(flight.popleft(), error)
        call = flight.popleft()
        return self._taken(answer, call)

    def _taken(self, answer: Answer, call: Call) -> Outcome:
        """The outcome that an answer tells of a call, as it is kept."""
        self.ran_programs = self.ran_programs or call.method in PROGRAMS
        return self._kept(_judged(answer, call))

    def _kept(self, outcome: Outcome) -> Outcome:
        """An outcome as it may be kept: short, once there is no more room for long ones."""
        told = len(encode(outcome.details)) if outcome.details else 0
        self._room -= len(outcome.text) * _WIDEST + told
        if self._room >= 0:
            return outcome
        text = outcome.text
        if len(text) > _SHORT:
            text = f"{text[:_SHORT]}… ({len(text)} characters)"
        details = (
            {"left_out": f"{told} bytes; all answers were more than {KEPT_BYTES >> 20} MiB"} if told else {}
        )
        return replace(outcome, text=text, details=details)

    def _end(self, call: Call, error: OutOfMemoryError) -> Outcome:
        """The outcome of the call under way when the memory ran out; a fault where no program ever ran."""
        if call.method not in PROGRAMS and not self.ran_programs:
            raise error
        self.ended = error
        self.sandbox.channel.abandon()
        return Outcome(
            Status.FAILED,
            f"{call.method}: ERROR out of memory, and the sandbox ended with it",
            {"exhausted": ["memory"], "sandbox_ended": True},
        )


def _judged(answer: Answer, call: Call) -> Outcome:
    """Check what the guest says about a call; a guest that says nonsense is broken, not a failed step."""
    told = answer.header.get
    status, text, details, spent = told("status"), told("text"), told("details"), told("ns")
    known = _STATUSES.get(status) if type(status) is str else None
    if known is None or type(text) is not str:
        raise ChannelError(f"The guest's answer to {call.method} is not of the agreed form.")
    if type(details) is not dict or type(spent) is not int:
        raise ChannelError(f"The guest's answer to {call.method} is not of the agreed form.")
    if len(text) > _TEXT_LIMIT or spent < 0:
        raise ChannelError(f"The guest's answer to {call.method} is beyond its limits.")
    if len(details) > _DETAILS_KEYS:
        raise ChannelError(f"The guest's answer to {call.method} has more than {_DETAILS_KEYS} details.")
    # What differs from one replay to the next is recorded beside the call, never proved.
    meta = details.pop("meta", {})
    if type(meta) is not dict:
        raise ChannelError(f"The guest's answer to {call.method} is not of the agreed form.")
    if "output" in details:
        meta = {**meta, "output": details.pop("output")}
    return Outcome(known, text, details, spent, meta, _printed(answer, call))


def _printed(answer: Answer, call: Call) -> Printed | None:
    """What the call's programs printed: the answer's body, and what the guest says of it."""
    told = answer.header.get("printed")
    if told is None and not answer.body:
        return None
    kept = len(answer.body)
    if type(told) is not dict or call.method not in _PRINTING or kept > OUTPUT_LIMIT:
        raise ChannelError(f"The guest's answer to {call.method} is beyond its limits.")
    total, cut_at = told.get("bytes"), told.get("cut_at")
    if type(total) is not int or type(cut_at) is not int or not 0 <= cut_at <= kept <= total < 1 << 53:
        raise ChannelError(f"The guest's answer to {call.method} is not of the agreed form.")
    return Printed(answer.body, total, cut_at)


def _skipped(call: Call) -> Outcome:
    return Outcome(Status.SKIPPED, f"{call.method}: skipped, the sandbox has ended", {"sandbox_ended": True})


def _failed(call: Call, reason: str) -> Outcome:
    return Outcome(Status.FAILED, f"{call.method}: ERROR {reason}")

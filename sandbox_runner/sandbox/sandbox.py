"""A sandbox: one container, its guest, and the stream between; used once and then gone.

The owner of a ``Sandbox`` holds the only connection to the guest. When that ends, by ``close`` or because the
process died, the guest reads the end of its stdin and leaves, and Docker removes the container and its
volume.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, NoReturn, Self

from sandbox_runner.arguments import checked
from sandbox_runner.errors import (
    ChannelError,
    DockerError,
    GuestError,
    ImageChangedError,
    OutOfMemoryError,
    SandboxError,
    SandboxRunnerError,
)
from sandbox_runner.guest.bundle import bundle
from sandbox_runner.guest.wire import PUSHES_BYTES, PUSHES_LIMIT
from sandbox_runner.sandbox.bind import owner_of
from sandbox_runner.sandbox.channel import Answer, Channel
from sandbox_runner.sandbox.classify import Cause, Finding, classify, memory_ended, starved
from sandbox_runner.sandbox.confinement import SHARED_KERNEL, WORKSPACE, random_uid
from sandbox_runner.sandbox.container import Container, image_changed, launch
from sandbox_runner.sandbox.engine import Engine
from sandbox_runner.sandbox.images import Image, ensure_image
from sandbox_runner.sandbox.receipt import CleanupReceipt, remove
from sandbox_runner.sandbox.runtimes import RuntimeChoice
from sandbox_runner.sandbox.spec import SandboxSpec

__all__ = ["Sandbox"]

_log = logging.getLogger(__name__)
FACTS_KEYS, _FACT_CHARACTERS = 64, 4_096  # what a guest tells of itself; it is kept for the sandbox's life
_PUT_WINDOW = 4  # bodies of a tree on their way at once; each is about a mebibyte
_SCAN_BYTES = 256 << 20  # a million entries with long names
_SETTLE_S = 5.0  # how long Docker may take to notice that a guest is gone, and why
_KILLED = 128 + signal.SIGKILL
_KILLED_LATER = "the guest was killed, some time after its memory limit was reached"
_UNSETTLED = {Cause.ALIVE, Cause.MEMORY_HIT, Cause.GONE, Cause.KILLED}  # Docker may know more in a moment


class Sandbox:
    """A running sandbox. Use it as a context manager; one thread at a time.

    Attributes:
        spec: what was asked for.
        image: the image it runs.
        runtime: the runtime that was chosen, and why.
        uid: the uid that belongs to this sandbox alone.
        resources: the limits it got: those of ``spec``, as far as the Engine's machine has so much.
        container_id: Docker's id of the container.
        guest: the configuration the guest was given.
        facts: what the guest told about itself: Python's version, process id, uid.
        started_s: seconds from the request to the guest's first answer.

    Every method that talks to the guest raises ``SandboxError`` when the sandbox broke: ``GuestError`` where
    the guest died or reported a fault of its own (``OutOfMemoryError`` where it went with what a call used
    up), ``ChannelError`` where the stream carried nonsense or stalled. After that the sandbox answers nothing
    but ``close``.
    """

    def __init__(
        self,
        engine: Engine,
        spec: SandboxSpec,
        *,
        image: Image,
        runtime: RuntimeChoice,
        uid: int,
        container: Container,
        own_engine: bool = False,
    ) -> None:
        self.spec = spec
        self.image = image
        self.runtime = runtime
        self.uid = uid
        self.resources = container.resources
        self.container_id = container.id
        self.guest: Mapping[str, Any] = {}
        self.facts: Mapping[str, Any] = {}
        self.started_s = 0.0
        self.channel = Channel(container.attachment)
        self._engine = engine
        self._own_engine = own_engine
        self._began = time.time()
        self._memory_reached_s = 0.0
        self._volumes: tuple[str, ...] = ()
        self._fault: SandboxError | None = None
        self._receipt: CleanupReceipt | None = None
        self._closing = threading.Lock()

    @classmethod
    @checked
    def prepare(cls, spec: SandboxSpec | None = None, *, engine: Engine | None = None) -> Self:
        """Start a sandbox whose guest boots and waits; ``set_up`` tells it whose it is.

        Raises:
            ImageError: no usable image.
            ConfigurationError: limits that cannot work, or a runtime that Docker does not know.
            SandboxError: anything else that kept it from starting; nothing is left behind.
        """
        sandbox = cls._begin(spec or SandboxSpec(), engine)
        try:
            sandbox.hand_over()
        except BaseException:
            sandbox.close()
            raise
        return sandbox

    @classmethod
    @checked
    def start(cls, spec: SandboxSpec | None = None, *, engine: Engine | None = None) -> Self:
        """Start a sandbox and wait for its guest; raises what ``prepare`` and ``set_up`` raise."""
        began = time.monotonic()
        sandbox = cls._begin(spec or SandboxSpec(), engine)
        try:
            # The configuration follows the guest's code on the stream: one wait serves for both.
            sandbox.set_up(sandbox.spec.run_id, sandbox.spec.guest)
        except BaseException:
            sandbox.close()
            raise
        sandbox.started_s = time.monotonic() - began
        return sandbox

    @classmethod
    def _begin(cls, spec: SandboxSpec, engine: Engine | None) -> Self:
        """Choose image and runtime and launch; the guest may not have all of its code yet."""
        own = engine is None
        engine = engine or Engine.connect()
        try:
            try:
                image = ensure_image(engine, spec.image, remembered=True)
                return cls._begin_from(image, engine, spec, own=own)
            except ImageChangedError:  # what was remembered is no longer so
                image = ensure_image(engine, spec.image)
                return cls._begin_from(image, engine, spec, own=own)
        except BaseException:
            if own:
                engine.close()
            raise

    @classmethod
    def _begin_from(cls, image: Image, engine: Engine, spec: SandboxSpec, *, own: bool) -> Self:
        def trial(runtime: str) -> None:
            plain = SandboxSpec(image=spec.image, run_id=spec.run_id, deadlines=spec.deadlines)
            with cls._launch(engine, plain, image, RuntimeChoice(runtime, "start test")) as sandbox:
                sandbox.set_up(plain.run_id, {})

        choice = engine.runtimes().choose(spec.runtime, image.id, trial, cache=spec.runtime_cache)
        return cls._launch(engine, spec, image, choice, own_engine=own)

    @classmethod
    def _launch(
        cls,
        engine: Engine,
        spec: SandboxSpec,
        image: Image,
        choice: RuntimeChoice,
        *,
        own_engine: bool = False,
    ) -> Self:
        if spec.bind is None:
            uid = random_uid(engine.info().get("SecurityOptions") or ())
        else:
            uid = owner_of(spec.bind)
            _log.warning("trails change %s in place: nothing is copied, limited or undone", spec.bind)
        container = launch(engine, spec, image=image, runtime=choice.name, uid=uid)
        sandbox = cls(
            engine, spec, image=image, runtime=choice, uid=uid, container=container, own_engine=own_engine
        )
        try:
            sandbox._boot()
        except BaseException:
            sandbox.close()
            raise
        return sandbox

    def _boot(self) -> None:
        with self._explained():
            self.channel.write(bundle())
            self.channel.flush()
            self._look_at_container()  # the guest's Python starts meanwhile

    def hand_over(self) -> None:
        """See that the guest has all of its code: without the last byte it waits, however long that takes."""
        with self._explained():
            self.channel.flush(allowance_s=self.spec.deadlines.start)

    def set_up(self, run_id: str, guest: Mapping[str, Any]) -> None:
        """Give the guest its configuration, once, and wait for its first answer.

        Args:
            run_id: names the run in the guest, unless ``guest`` does.
            guest: the guest's configuration; ``uid``, ``workspace`` and ``shared`` are filled in here.
        """
        given = {"workspace": WORKSPACE, "uid": self.uid, "shared": self.spec.bind is not None}
        config = {"run_id": run_id, **guest, **given}
        answer = self.request("setup", {"config": config}, allowance_s=self.spec.deadlines.start)
        with self._explained():
            facts = answer.header.get("facts")
            if not isinstance(facts, dict):
                raise ChannelError("The guest's first answer holds no facts.")
            if len(facts) > FACTS_KEYS or len(repr(facts)) > _FACT_CHARACTERS:
                raise ChannelError(
                    f"The guest's first answer holds more than {FACTS_KEYS} facts"
                    f" or {_FACT_CHARACTERS} characters of them."
                )
        self.facts = facts
        self.guest = guest

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def tree_fault(self) -> type[SandboxRunnerError]:
        """What it is when a tree from here does not hold together: the guest's fault."""
        return GuestError

    @property
    def broken(self) -> bool:
        """Whether a fault ended it."""
        return self._fault is not None

    @property
    def waiting(self) -> bool:
        """Whether nothing has gone wrong since the last answer, as far as the stream tells."""
        return self._fault is None and self.channel.quiet

    def send(self, kind: str, header: Mapping[str, Any], body: bytes = b"", *, allowance_s: float) -> None:
        """Queue one request without waiting for its answer; see ``Channel.send``."""
        if self._fault is not None:
            raise self._fault
        try:
            self.channel.send(kind, header, body, allowance_s=allowance_s)
        except SandboxError as error:
            self._fail(error)

    def receive(self) -> Answer:
        """Wait for the answer to the oldest open request."""
        if self._fault is not None:
            raise self._fault
        try:
            answer = self.channel.receive()
        except SandboxError as error:
            self._fail(error)
        reached = answer.header.get("memory_reached")
        if type(reached) is int:  # by a call that is over: no fault from here on is its doing
            self._memory_reached_s = reached / 1e9
        return answer

    def request(
        self,
        kind: str,
        header: Mapping[str, Any] | None = None,
        body: bytes = b"",
        *,
        allowance_s: float | None = None,
    ) -> Answer:
        """Send one request and wait for its answer."""
        allowed = self.spec.deadlines.transfer if allowance_s is None else allowance_s
        with self._explained():
            return self.channel.request(kind, header or {}, body, allowance_s=allowed)

    def scan(self, options: Mapping[str, int]) -> Iterator[bytes]:
        """The bodies of the answers to one scan of the workspace; hostile until checked."""
        return self._parts("scan", {**options, "lift": True})

    def fetch(self, wants: bytes) -> Iterator[bytes]:
        """The bodies of the answers to one request for contents; hostile until checked."""
        return self._parts("fetch", {"lift": True}, wants)

    def put(self, bodies: Iterable[bytes]) -> Iterator[bytes]:
        """Fill the workspace: send bodies of put records, yield the answer to each, some bodies ahead."""
        try:
            for body in bodies:
                self.send("put", {}, body, allowance_s=self.spec.deadlines.transfer)
                if self.channel.outstanding >= _PUT_WINDOW:
                    yield self.receive().body
            while self.channel.outstanding:
                yield self.receive().body
        finally:
            self.channel.abandon()

    @property
    def commits(self) -> bool:
        """Whether calls may commit here, so that the guest has to know what was there before."""
        return "git_commit" not in self.guest.get("withheld", ())

    def note_origin(self, bodies: Iterable[bytes], *, filled: bool) -> None:
        """Tell the guest what the run's work began with, see ``guest/origin.py``; before the first call.

        Args:
            bodies: scan records, each body of about a mebibyte.
            filled: whether the workspace was just filled with this very tree.
        """
        try:
            for body in bodies:
                self.send("origin", {"filled": filled}, body, allowance_s=self.spec.deadlines.transfer)
                if self.channel.outstanding >= _PUT_WINDOW:
                    self.receive()
            while self.channel.outstanding:
                self.receive()
        finally:
            self.channel.abandon()

    def note_present(self) -> None:
        """Let the guest take down what is there now: what a run in a shared directory begins with."""
        with self._explained():
            for _answer in self._stream("origin", {"here": True}):
                pass

    def seal(self) -> None:
        """The workspace is filled and nothing is to write: there is no way to write from here on."""
        self.request("seal")

    def ledger(self) -> Answer:
        """The run's ledger and bottles, as the guest kept them."""
        return self.request("ledger")

    def bundles(self) -> Iterator[Answer]:
        """What was pushed into quarantine: per branch ``bundle`` in the header, git's bundle as body."""
        left, count = PUSHES_BYTES, 0
        with self._explained():
            for answer in self._stream("bundles", {}):
                if answer.header.get("more") is not True:
                    return
                left, count = left - len(answer.body), count + 1
                if left < 0 or count > PUSHES_LIMIT:
                    raise ChannelError(
                        f"The guest hands out more than {PUSHES_LIMIT} pushes"
                        f" or {PUSHES_BYTES >> 20} MiB of them."
                    )
                yield answer

    def quiesce(self) -> Answer:
        """End every process that the trail left behind, so that nothing writes any more."""
        return self.request("quiesce")

    def abort(self) -> None:
        """Make the thread that waits for this sandbox stop at once; any thread may call this."""
        self.channel.hang_up()

    def close(self) -> CleanupReceipt:
        """End the sandbox and see its container and volume off. Does not raise; may be called again."""
        with self._closing:
            if self._receipt is None:
                # While its stream is open and unread, Docker answers nothing about a container: close it
                # first.
                self.channel.close()
                patience = self.spec.deadlines.stop if self._fault is None else 0.5
                self._receipt = remove(self._engine, self.container_id, self._volumes, patience_s=patience)
                if self._own_engine:
                    self._engine.close()
            return self._receipt

    def _look_at_container(self) -> None:
        """Learn the names of its volumes, and that it runs the image it was meant to run."""
        inspected = self._engine.container(self.container_id) or {}
        mounts = inspected.get("Mounts") or ()
        self._volumes = tuple(
            mount["Name"] for mount in mounts if mount.get("Type") == "volume" and mount.get("Name")
        )
        if inspected.get("Image", self.image.id) != self.image.id:
            raise image_changed(self.image)

    def _parts(self, kind: str, header: Mapping[str, Any], body: bytes = b"") -> Iterator[bytes]:
        left = _SCAN_BYTES if kind == "scan" else None  # contents are bounded by what the scan promised
        with self._explained():
            for answer in self._stream(kind, header, body):
                if left is not None and (left := left - len(answer.body)) < 0:
                    raise ChannelError(f"The guest's {kind} is longer than {_SCAN_BYTES >> 20} MiB.")
                yield answer.body

    def _stream(self, kind: str, header: Mapping[str, Any], body: bytes = b"") -> Iterator[Answer]:
        """An answer in parts, which must come to its end in time."""
        deadlines = self.spec.deadlines
        end = time.monotonic() + deadlines.transfer_total
        for answer in self.channel.stream(kind, header, body, allowance_s=deadlines.transfer):
            if time.monotonic() > end:
                raise ChannelError(f"The guest did not end its {kind} within {deadlines.transfer_total:g} s.")
            yield answer

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn whatever breaks into one remembered error that says why."""
        if self._fault is not None:
            raise self._fault
        try:
            yield
        except SandboxError as error:
            self._fail(error)

    def _fail(self, error: SandboxError) -> NoReturn:
        self._fault = self._explain(error)
        if self._fault is error:
            raise error
        raise self._fault from error

    def _explain(self, error: SandboxError) -> SandboxError:
        """Ask Docker what became of the container; its answer says more than a stream that ended."""
        if not isinstance(error, ChannelError):
            return error
        words = self.channel.last_words
        self.channel.close()
        try:
            finding = self._finding()
        except DockerError as unknown:
            return DockerError(f"{error} {unknown}", hint=unknown.hint)
        if not finding.fault:
            return error
        told = f"; its last words: {words.splitlines()[-1][:300]}" if words else ""
        kind = OutOfMemoryError if finding.cause is Cause.OUT_OF_MEMORY else GuestError
        hint = finding.hint
        if hint is None and not self.facts and self.image.volumes:
            places = ", ".join(self.image.volumes)
            hint = f"the image declares volumes, and no sandbox gets what it holds there: {places}"
        return kind(f"The sandbox broke: {finding.sentence}{told}.", hint=hint)

    def _finding(self) -> Finding:
        """What became of the container, once Docker has had the time to notice."""
        end = time.monotonic() + _SETTLE_S
        while True:
            state = (self._engine.container(self.container_id) or {}).get("State")
            history = self._engine.history(self.container_id, since=self._began - 1)
            finding = classify(state, history)
            starving = starved(history, after_s=self._memory_reached_s)
            finding = self._in_memory_terms(finding, starving=starving)
            by_hand = any(event.get("Action") == "kill" for event in history)
            own_kernel = self.runtime.name not in SHARED_KERNEL
            unsettled = finding.cause in _UNSETTLED or (own_kernel and finding.cause is Cause.CRASHED)
            unsettled = unsettled and self.channel.ended and not by_hand
            if not unsettled or time.monotonic() > end:
                return finding
            time.sleep(0.02)

    def _in_memory_terms(self, finding: Finding, *, starving: bool) -> Finding:
        """Say "out of memory" where the guest ended of it in the call at hand, and nowhere else.

        The kernel ends a guest with SIGKILL. A runtime with a kernel of its own may also lose one of that
        kernel's processes, and ends in ways of its own.
        """
        if not finding.fault or finding.exit_code is None:
            return finding
        ends_so = finding.exit_code == _KILLED or self.runtime.name not in SHARED_KERNEL
        if starving and ends_so and finding.exit_code != 0:
            return memory_ended(finding.exit_code)
        if finding.cause is Cause.OUT_OF_MEMORY:  # reached by an earlier call; what ended it is not known
            return replace(finding, cause=Cause.KILLED, sentence=_KILLED_LATER)
        return finding

"""One trail in, one run record out: the only place where the layers are put together.

trail ─► admission ─► base snapshot, sandbox ─► replay ─► at rest ─► snapshot ─► removal ─► sealed record
"""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Self

from sandbox_runner.arguments import checked, checked_but
from sandbox_runner.errors import ConfigurationError, SnapshotError, WorkspaceError
from sandbox_runner.policy import Policy, Resources, admit, withhold
from sandbox_runner.record import Log, RunRecord, SigningKey, new_run_id, signing_key
from sandbox_runner.runner.cancelling import Cancellation
from sandbox_runner.runner.home import DEFAULT_TENANT, Home
from sandbox_runner.runner.inputs import TrailInput, read_input
from sandbox_runner.runner.layouts import check_layouts, needs_of
from sandbox_runner.runner.plan import Wishes, may_run, principal_of, runtime_of
from sandbox_runner.runner.progress import OnProgress, Phase, Progress, silent
from sandbox_runner.runner.run import Run
from sandbox_runner.runner.starting import StartSandbox
from sandbox_runner.sandbox import (
    Engine,
    Sandbox,
    SandboxSpec,
    clean,
    ensure_environment,
    ensure_image,
    read_demands,
)
from sandbox_runner.trail import Trail

__all__ = ["Runner"]


class Runner:
    """Replays trails under one policy and keeps their records. Several threads may run trails at once.

    ``cancellation`` stops all of them: their records close as interrupted.

    Args:
        policy: what a trail may do: a policy, or the name or path of one.
        home: the state directory.
        tenant: whose runs and snapshots these are.
        image: the sandbox image; None for the default one, which is built where it is missing.
        requirements: what the image is to have beside: a requirements file, a lock file or a project. The
            environment is made on ``image`` where it is missing, before the first run.
        runtime: the container runtime; None leaves it to the policy.
        principal: the agent on whose behalf trails act; None takes each trail's own.
        sign: whether records are signed.
        key: the signing key; None for the state directory's, made on first use.
        start: where sandboxes come from: started for each run, or taken from a warm pool.
        on_progress: told what a run does.
        log: the people's log, told of every call as it is recorded.

    Raises:
        InputError: the policy or the state directory is unusable.
        RefusedError: the policy names another runtime.
    """

    @checked
    def __init__(
        self,
        *,
        policy: Policy | str | os.PathLike[str],
        home: Home | str | os.PathLike[str] | None = None,
        tenant: str = DEFAULT_TENANT,
        image: str | None = None,
        requirements: str | Path | None = None,
        runtime: str | None = None,
        principal: str | None = None,
        sign: bool = True,
        key: SigningKey | None = None,
        start: StartSandbox = Sandbox.start,
        on_progress: OnProgress = silent,
        log: Log | None = None,
    ) -> None:
        self.policy = policy = _policy(policy)
        self.home = home if isinstance(home, Home) else Home(_path(home, "home"))
        self.tenant = tenant
        self.image = image
        self._demands = None if requirements is None else read_demands(Path(requirements))
        self._environment: str | None = None
        self._environment_lock = threading.Lock()
        self.runtime = runtime_of(policy, runtime)
        self.principal = principal
        self.start = start
        self.on_progress = on_progress
        self.cancellation = Cancellation()
        self._sign = sign
        self._key = key
        self._log = log
        self._lock = threading.Lock()
        self._swept = False

    @checked_but("trail", "workspace", "base", "exclude", "runs", "labels")
    def run(
        self,
        trail: str | os.PathLike[str] | bytes | Trail | Sequence[Mapping[str, Any]] | TrailInput,
        *,
        workspace: str | os.PathLike[str] | None = None,
        base: str | None = None,
        origin: str | None = None,
        bind: bool = False,
        exclude: str | Iterable[str] = (),
        gitignore: bool = False,
        fail_fast: bool = False,
        dry_run: bool = False,
        runs: str | os.PathLike[str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> RunRecord:
        """Replay a trail; the record says how it went, ``record.result.status`` first of all.

        Args:
            trail: a trail's or worklog's file, or its bytes, or a worklog's entries.
            workspace: directory whose copy the trail works on; it is never written.
            base: a snapshot to work on instead, by digest, prefix or tag.
            origin: the digest of the snapshot that commits are measured against, as a record has it in its
                options; empty for an empty tree. None for the base, or for what the run began with that left
                the base behind.
            bind: work in ``workspace`` itself. For trails you trust: nothing protects the directory.
            exclude: gitignore-style patterns of what the copy leaves out.
            gitignore: leave out what the directory's ``.gitignore`` files name.
            fail_fast: stop at the first step that fails or is refused.
            dry_run: admit the trail and list what it would call; nothing runs.
            runs: folder for the record, instead of the tenant's own.
            labels: free words kept in the record.

        Raises:
            InputError: trail, workspace, snapshot or another argument is unusable; nothing was run and there
                is no record.
            SandboxError: no sandbox could be had at all; there is no record. A sandbox that breaks later is
                told by the record's status ``error``.
            InterruptedRunError: the user stopped the run; its record is closed.
            StoreError: the state directory cannot be written.
        """
        wishes = Wishes(
            workspace=_path(workspace, "workspace"),
            base=_texts((base,), "base")[0] if base is not None else None,
            origin=origin,
            bind=bind,
            exclude=_texts((exclude,) if isinstance(exclude, str) else exclude, "exclude"),
            gitignore=gitignore,
            fail_fast=fail_fast,
            dry_run=dry_run,
            runs=_path(runs, "runs"),
            labels=_labels(labels),
        )
        return self._prepared(read_input(trail), wishes).execute()

    @checked
    def starting_with(self, start: StartSandbox) -> Self:
        """The same runner with another source of sandboxes; both share the cancellation."""
        other = copy.copy(self)
        other.start = start
        return other

    @checked
    def resources_for(self, source: TrailInput) -> Resources | None:
        """The limits that a trail's sandbox would get; None where it would not get one."""
        admission = admit(source.trail, self.policy)
        if not may_run(self.policy, admission):
            return None
        return withhold(self.policy, admission.manifest).resources

    @checked
    def sandbox_like(self, resources: Resources) -> SandboxSpec:
        """What a run of this runner asks for under these limits, but for what is the run's own."""
        return SandboxSpec(
            image=self._image_like(),
            runtime=self.runtime,
            resources=resources,
            runtime_cache=self._runtime_cache,
        )

    @property
    def _runtime_cache(self) -> Path:
        return self.home.path / "runtimes.json"

    def _prepared(self, source: TrailInput, wishes: Wishes) -> Run:
        _check(wishes)
        store = self.home.store(self.tenant)
        if wishes.base is not None:
            store.show(wishes.base)  # an unknown name is the user's mistake, told before anything starts
        admission = admit(source.trail, self.policy)
        privileges = withhold(self.policy, admission.manifest)
        if may_run(self.policy, admission):
            check_layouts(wishes, needs_of(self.policy, admission, privileges))
        run_id = new_run_id()
        verdict = Phase.ADMITTED if may_run(self.policy, admission) else Phase.REFUSED
        total = len(source.trail.steps)
        self.on_progress(Progress(verdict, source.source, total=total, run_id=run_id, trail=source.source))
        return Run(
            run_id=run_id,
            source=source,
            policy=self.policy,
            admission=admission,
            privileges=privileges,
            wishes=wishes,
            principal=principal_of(source.trail, self.principal),
            tenant=self.tenant,
            runs=wishes.runs or self.home.runs(self.tenant),
            earlier=self.home.runs(self.tenant),
            store=store,
            image=self.image,
            image_for=self._image_for,
            runtime=self.runtime,
            runtime_cache=self._runtime_cache,
            signer=self._signer(),
            start=self.start,
            sweep=self._sweep,
            cancellation=self.cancellation,
            tell=self.on_progress,
            log=self._log,
        )

    def _image_for(self, engine: Engine, tell: Callable[[str], None]) -> str | None:
        """The image that runs start from: there when this returns, and an environment made only once."""
        with self._environment_lock:
            if self._environment is None:
                base = ensure_image(engine, self.image, on_progress=tell)
                if self._demands is None:
                    return self.image
                self._environment = ensure_environment(
                    engine, self._demands, base=base, on_progress=tell
                ).name
            return self._environment

    def _image_like(self) -> str | None:
        if self._demands is None:
            return self.image
        with closing(Engine.connect()) as engine:
            return self._image_for(engine, lambda line: self.on_progress(Progress(Phase.IMAGE, line)))

    def _sweep(self, engine: Engine) -> None:
        """Remove what dead runs left, once for each runner: it takes some milliseconds."""
        with self._lock:
            due, self._swept = not self._swept, True
        if due:
            clean(engine)

    def _signer(self) -> SigningKey | None:
        if not self._sign:
            return None
        if self._key is None:
            self._key = signing_key(self.home.keys)
        return self._key


def _check(wishes: Wishes) -> None:
    workspace = wishes.workspace
    if workspace is not None and wishes.base is not None:
        raise SnapshotError("a run works on a directory or on a snapshot, not on both; leave one of them out")
    if workspace is None and wishes.bind:
        raise WorkspaceError("working in place needs a workspace; name the directory")
    if workspace is not None and not workspace.is_dir():
        what = "is no directory" if workspace.exists() else "does not exist"
        raise WorkspaceError(f"the workspace {workspace} {what}; name the directory the trail works on")


def _policy(given: object) -> Policy:
    if isinstance(given, Policy):
        return given
    if isinstance(given, (str, os.PathLike)):
        return Policy.load(given)
    raise _wrong("policy", "a Policy, or the name or path of one", given)


def _path(given: object, name: str) -> Path | None:
    if given is None:
        return None
    if not isinstance(given, (str, os.PathLike)):
        raise _wrong(name, "the path of a directory", given)
    path = Path(given)
    if "\0" in str(path):
        raise ConfigurationError(f"{name} holds a NUL byte; give the path of a directory")
    return path


def _texts(given: object, name: str) -> tuple[str, ...]:
    if not isinstance(given, Iterable) or isinstance(given, (bytes, bytearray, Mapping)):
        raise _wrong(name, "text", given)
    texts = tuple(given)
    for text in texts:
        if not isinstance(text, str):
            raise _wrong(name, "text", text)
    return texts


def _labels(given: object) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise _wrong("labels", "a mapping of text to text", given)
    return dict(zip(_texts(list(given), "labels"), _texts(list(given.values()), "labels"), strict=True))


def _wrong(name: str, wanted: str, given: object) -> ConfigurationError:
    return ConfigurationError(f"{name} must be {wanted}, not {type(given).__name__}")

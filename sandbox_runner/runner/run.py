"""One run, from the admitted trail to the sealed record."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sandbox_runner.errors import ExitCode, InterruptedRunError, OutOfMemoryError, SandboxRunnerError
from sandbox_runner.guest.origin import pack_origin
from sandbox_runner.guest.tree_records import OMISSION
from sandbox_runner.policy import Admission, GuardedWorld, Policy, Privileges, refused_outcome
from sandbox_runner.record import (
    ImageInfo,
    Log,
    PolicyInfo,
    RecordedWorld,
    RunDirectory,
    RunInfo,
    RunRecord,
    RunStatus,
    SigningKey,
    TrailInfo,
    forms_of,
    now_text,
    subject_in,
)
from sandbox_runner.replay import TrailEvent, TrailExecutor, TrailResult
from sandbox_runner.runner.artifacts import keep_ledger, keep_pushes
from sandbox_runner.runner.cancelling import Cancellation
from sandbox_runner.runner.inputs import TrailInput
from sandbox_runner.runner.layouts import source_of
from sandbox_runner.runner.lineage import origin_of
from sandbox_runner.runner.plan import Wishes, may_run, sandbox_spec
from sandbox_runner.runner.progress import OnProgress, Phase, Progress
from sandbox_runner.runner.starting import StartingSandbox, StartSandbox
from sandbox_runner.runner.summary import (
    clipped_limits,
    counts_of,
    facts_of_snapshot,
    left_out_of,
    outcome_of,
    refusals_of,
    verdict_source,
)
from sandbox_runner.sandbox import ContainerWorld, Engine, Sandbox, seccomp_sha256
from sandbox_runner.snapshot import Limits, Snapshot, SnapshotStore
from sandbox_runner.trail import OPERATIONS, TrailOpcodes
from sandbox_runner.world import MockWorld, call_for

__all__ = ["Run"]

_TIMED = frozenset({TrailOpcodes.SPELL_CAST, TrailOpcodes.TEST_RUN})  # steps that have the tests' time
_SUBJECT = 200  # characters of a subject that is told
_LOST = "What ran in it used the memory up; its workspace, ledger and pushes are lost."


@dataclass(slots=True)
class _Ending:
    """What is known of the end, filled in as the run comes to it."""

    status: RunStatus = RunStatus.ERROR
    exit_code: ExitCode = ExitCode.SANDBOX_FAILED
    executor: TrailExecutor | None = None
    result: TrailResult | None = None  # of a replay that came to its end
    snapshot: Snapshot | None = None
    cleanup: dict[str, Any] | None = None
    error: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def fault(self, problem: SandboxRunnerError) -> None:
        """The run did not come to its end; it neither passed nor failed."""
        self.status, self.exit_code = RunStatus.ERROR, problem.exit_code
        self.error = f"{problem} ({problem.hint})" if problem.hint else str(problem)

    def interrupt(self) -> None:
        """The user stopped the run."""
        self.status, self.exit_code = RunStatus.INTERRUPTED, ExitCode.INTERRUPTED


@dataclass(kw_only=True)
class Run:
    """Everything one run needs, put together by ``Runner``."""

    run_id: str
    source: TrailInput
    policy: Policy
    admission: Admission
    privileges: Privileges
    wishes: Wishes
    principal: str
    tenant: str
    runs: Path
    earlier: Path
    store: SnapshotStore
    image: str | None
    image_for: Callable[[Engine, Callable[[str], None]], str | None]
    runtime: str
    runtime_cache: Path
    signer: SigningKey | None
    start: StartSandbox
    sweep: Callable[[Engine], None]
    cancellation: Cancellation
    tell: OnProgress
    log: Log | None

    def execute(self) -> RunRecord:
        """Replay, or refuse, or only list; seal the record in every case. Raises like ``Runner.run``."""
        self._began = time.monotonic()
        self._started_at = now_text()
        if not may_run(self.policy, self.admission):
            return self._without_sandbox(RunStatus.REFUSED, ExitCode.REFUSED)
        if self.wishes.dry_run:
            return self._without_sandbox(RunStatus.DRY_RUN, ExitCode.OK)
        return self._in_sandbox()

    # -- the two ways ---------------------------------------------------------------------------------------

    def _without_sandbox(self, status: RunStatus, exit_code: ExitCode) -> RunRecord:
        ending = _Ending(status, exit_code)
        with self._open() as directory:
            if status is RunStatus.DRY_RUN:
                ending.executor = TrailExecutor(
                    MockWorld(), self.source.trail, dry_run=True, principal=self.principal
                )
                ending.result = ending.executor.execute()
                if not self.admission.admitted:
                    ending.exit_code = ExitCode.REFUSED
            else:
                self._log_refusals(directory)
            self._seal(directory, ending)
        return self._closed(directory)

    def _log_refusals(self, directory: RunDirectory) -> None:
        """Nothing runs, and yet every refused call is on the record like one that the guard stops."""
        recorder = directory.recorder(log=self.log)
        for index, violation in sorted(self.admission.refused.items()):
            if index >= 0 and OPERATIONS[self.source.trail.steps[index].opcode].method is not None:
                call = call_for(self.source.trail.steps[index], self.principal)
                recorder.dispatch(call)
                recorder.record(refused_outcome(call, violation.rule, violation.message))

    def _in_sandbox(self) -> RunRecord:
        engine = Engine.connect()
        self.sweep(engine)
        image = self.image_for(engine, lambda line: self._report(Phase.IMAGE, line))
        spec = sandbox_spec(
            self.source.trail,
            self.policy,
            self.privileges,
            run_id=self.run_id,
            image=image,
            runtime=self.runtime,
            principal=self.principal,
            bind=self.wishes.workspace if self.wishes.bind else None,
            runtime_cache=self.runtime_cache,
        )
        ending = _Ending()
        with StartingSandbox(self.start, spec) as starting:
            base = self._base()
            # A sandbox that cannot be had is the caller's to know; the record begins with the run.
            sandbox = starting.sandbox()
            origin = self._origin(base)
            with self._open(base, origin) as directory:
                try:
                    with self.cancellation.covering(sandbox):
                        self._replay(sandbox, base, origin, directory, ending)
                except SandboxRunnerError as problem:
                    if self.cancellation.cancelled:
                        ending.interrupt()
                    else:
                        ending.fault(problem)
                except KeyboardInterrupt:
                    ending.interrupt()
                receipt = starting.close()
                ending.cleanup = None if receipt is None else dict(receipt.as_dict())
                self._seal(directory, ending)
        if ending.status is RunStatus.INTERRUPTED:
            raise InterruptedRunError(
                f"the run was interrupted; its record is {directory.path}", record=str(directory.path)
            )
        return self._closed(directory)

    # -- in the sandbox -------------------------------------------------------------------------------------

    def _base(self) -> Snapshot | None:
        """The snapshot that the run begins with."""
        if self.wishes.base is not None:
            return self.store.show(self.wishes.base)
        if self.wishes.workspace is None:
            return None
        self._report(Phase.WORKSPACE, f"taking {self.wishes.workspace}")
        source, linked = source_of(self.wishes, self.wishes.workspace)
        with linked or nullcontext():
            if linked is not None:
                self._report(Phase.WORKSPACE, "its .git names a repository elsewhere: that comes along")
            return self.store.capture(source, label=f"base of {self.run_id}")

    def _origin(self, base: Snapshot | None) -> str | None:
        """The digest of the tree that commits are measured against; None for an empty one."""
        if self.wishes.origin is not None:
            return self.wishes.origin or None
        if base is None or self.wishes.base is None:
            return None if base is None else base.digest
        return origin_of(base, self.store, self.earlier)

    def _fill(self, sandbox: Sandbox, base: Snapshot | None, origin: str | None) -> None:
        """Bring the base into the sandbox, and tell the guest what the work began with."""
        if base is not None and not self.wishes.bind:
            self.store.fill(base.digest, sandbox)
        if not sandbox.commits:
            return
        if self.wishes.bind:  # what a base leaves out is in the user's directory all the same
            sandbox.note_present()
        elif origin is not None:
            entries = ((e.kind, e.executable, e.digest, e.path) for e in self.store.entries(origin))
            omissions = self.store.show(origin).omissions
            left_out = ((OMISSION, omission.reason, bytes(32), omission.path) for omission in omissions)
            packed = pack_origin((*left_out, *entries))
            sandbox.note_origin(packed, filled=base is not None and origin == base.digest)

    def _replay(
        self,
        sandbox: Sandbox,
        base: Snapshot | None,
        origin: str | None,
        directory: RunDirectory,
        ending: _Ending,
    ) -> None:
        clipped = clipped_limits(self.privileges.resources, sandbox.resources)
        told = f"; this machine has less than the policy allows: {', '.join(clipped)}" if clipped else ""
        self._report(Phase.SANDBOX, f"{sandbox.runtime.name}, started in {sandbox.started_s:.2f} s{told}")
        directory.update(
            limits=sandbox.resources.model_dump(mode="json"),
            options={**directory.info.options, **({"clipped": clipped} if clipped else {})},
            image=ImageInfo(
                reference=sandbox.image.name, id=sandbox.image.id, packages=sandbox.image.packages
            ),
            seccomp_sha256=seccomp_sha256(),
            runtime=sandbox.runtime.name,
        )
        self._fill(sandbox, base, origin)
        if not self.privileges.writes:
            sandbox.seal()
        recorder = directory.recorder(log=self.log, context={"container": sandbox.container_id[:12]})
        world = ContainerWorld(sandbox)
        guarded = GuardedWorld(world, self.policy, refusals=self.admission.refused)
        ending.executor = TrailExecutor(
            RecordedWorld(guarded, recorder),
            self.source.trail,
            fail_fast=self.wishes.fail_fast,
            principal=self.principal,
            on_event=self._on_event,
            chain_head=lambda: recorder.head,
            refusals=refusals_of(self.source.trail, self.admission),
        )
        self._tell_begin(0)
        ending.result = ending.executor.execute()
        lost = world.ended or self._kept(world, directory, ending)
        ending.status, ending.exit_code = outcome_of(ending.result.events)
        if lost is not None:
            ending.error = f"{lost} {_LOST}"
            if ending.status is RunStatus.SUCCESS:  # no step has it on its account, and the run has
                ending.status, ending.exit_code = RunStatus.FAILED, ExitCode.STEP_FAILED

    def _kept(
        self, world: ContainerWorld, directory: RunDirectory, ending: _Ending
    ) -> OutOfMemoryError | None:
        """Keep what the run leaves; or say how the sandbox went, where what ran in it is to blame."""
        try:
            self._keep(world.sandbox, directory, ending)
        except OutOfMemoryError as error:
            if not world.ran_programs:
                raise
            return error
        return None

    def _keep(self, sandbox: Sandbox, directory: RunDirectory, ending: _Ending) -> None:
        """Keep what the run leaves behind, once nothing in the sandbox moves any more."""
        sandbox.quiesce()
        ending.facts["ledger"] = keep_ledger(sandbox, directory)
        if self.privileges.push:
            keep_pushes(sandbox, directory, ending.facts.setdefault("pushes", []))
        self._report(Phase.SNAPSHOT, "keeping the workspace")
        limits = Limits(
            max_entries=self.policy.resources.workspace_inodes + 1,
            max_total_bytes=self.policy.resources.workspace,
        )
        ending.snapshot = self.store.capture(
            sandbox, label=self.run_id, limits=Limits() if self.wishes.bind else limits
        )
        ending.facts["snapshot"] = facts_of_snapshot(ending.snapshot)

    def _on_event(self, event: TrailEvent) -> None:
        self.tell(
            Progress(
                Phase.STEP,
                f"{event.opcode_name} {event.result}",
                step=event.step_index + 1,
                total=len(self.source.trail.steps),
                status=event.status,
                run_id=self.run_id,
                trail=self.source.source,
            )
        )
        self._tell_begin(event.step_index + 1)

    def _tell_begin(self, index: int) -> None:
        """The step that is performed now: of the calls on their way the first whose outcome is not there."""
        if index >= len(self.source.trail.steps):
            return
        step = self.source.trail.steps[index]
        subject = subject_in(OPERATIONS[step.opcode].method or "", step.arguments)
        self.tell(
            Progress(
                Phase.RUNNING,
                f"{step.opcode.name} {subject[:_SUBJECT]}".rstrip(),
                step=index + 1,
                total=len(self.source.trail.steps),
                run_id=self.run_id,
                trail=self.source.source,
                limit_s=self.policy.tests.timeout_s if step.opcode in _TIMED else 0.0,
            )
        )

    # -- the record -----------------------------------------------------------------------------------------

    def _open(self, base: Snapshot | None = None, origin: str | None = None) -> RunDirectory:
        trail, known = self.source.trail, None if base is None else base.digest
        info = RunInfo(
            run_id=self.run_id,
            tenant=self.tenant,
            created_at=self._started_at,
            trail=TrailInfo(
                sha256=trail.sha256,
                bytes=len(trail.data),
                version=trail.version,
                steps=len(trail.steps),
                agent=trail.agent,
                trail_id=trail.trail_id,
                source=self.source.source,
            ),
            policy=PolicyInfo(name=self.policy.name, sha256=self.policy.sha256),
            base_snapshot=known,
            left_out=left_out_of(base),
            principal=self.principal,
            limits=self.privileges.resources.model_dump(mode="json"),
            options={**self._options(), **({} if origin == known else {"origin": origin or ""})},
            versions={"sandbox_runner": version("sandbox-runner"), "python": platform.python_version()},
            labels=dict(self.wishes.labels),
        )
        return RunDirectory.create(self.runs, info, trail=trail.data, policy=self.policy.canonical())

    def _options(self) -> dict[str, Any]:
        return {
            "fail_fast": self.wishes.fail_fast,
            "dry_run": self.wishes.dry_run,
            "bind": self.wishes.bind,
            "image": self.image,
            "meta_style": "bound",
            "privileges": self.privileges.to_json(),
        }

    def _seal(self, directory: RunDirectory, ending: _Ending) -> None:
        result = ending.result
        if result is None and ending.executor is not None:
            result = ending.executor.result()
        ending.executor = ending.result = None  # a long run's events are let go with this call
        events = () if result is None else result.events
        directory.seal(
            signer=self.signer,
            meta_trail=None if result is None else result.execution_trail,
            status=ending.status,
            exit_code=int(ending.exit_code),
            steps=counts_of(len(self.source.trail.steps), events, refused=len(self.admission.refused)),
            events=forms_of(events),
            snapshot=None if ending.snapshot is None else ending.snapshot.digest,
            verdict_source=verdict_source(self.policy, self.privileges),
            cleanup=ending.cleanup,
            violations=tuple(violation.to_json() for violation in self.admission.violations),
            error=ending.error,
            started_at=self._started_at,
            duration_s=round(time.monotonic() - self._began, 6),
            facts={**ending.facts, "needs": self.admission.manifest.to_json()},
        )

    def _closed(self, directory: RunDirectory) -> RunRecord:
        record = RunRecord.load(directory.path)
        self._report(Phase.CLOSED, str(directory.path))
        return record

    def _report(self, phase: Phase, message: str) -> None:
        total = len(self.source.trail.steps)
        self.tell(Progress(phase, message, total=total, run_id=self.run_id, trail=self.source.source))

"""Verification of a run record, offline: its directory, the trusted keys, the snapshot's store, no more.

The checks, in order. A check whose premise failed says so and is not ok.

    structure    the files of a sealed record are there, regular, bounded, well formed; nothing is added
    trail        ``trail.flux`` is the trail that ``run.json`` names and may be replayed
    policy       ``policy.json`` is the policy that ``run.json`` names
    chain        every line of ``calls.jsonl`` follows from the one before, the first from trail, policy and
                 base; head, length and digest are those of ``result.json``
    calls        every line is the call that its step of the trail asks for
    result       every event follows from the one before, is a step of the trail, and says what its line says;
                 the counts are those of the events
    meta-trail   ``meta-trail.flux`` is, byte for byte, what trail, events and chain head compile to
    artifacts    the files under ``artifacts/`` are those of ``result.json``
    outputs      every output and every push that the record names is one of these files, with the digest that
                 its line says; and every one of these files is named
    snapshot     the store has the snapshot and every blob of it, where a store is given; what ``run.json``
                 says was left out of the base is what that snapshot says
    attestation  the statement in ``attestation.json`` is the one this record makes
    signature    every signature on it is by a trusted key, and there is one
"""

from __future__ import annotations

import gc
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sandbox_runner.errors import SandboxRunnerError, VerificationError
from sandbox_runner.record import layout
from sandbox_runner.record.attestation import attested_files, check_attestation, read_envelope
from sandbox_runner.record.documents import LeftOutInfo, RunResult, RunState
from sandbox_runner.record.evidence import LogWalk, walk_log
from sandbox_runner.record.files import sha256_of
from sandbox_runner.record.keys import PublicKey
from sandbox_runner.record.proof import check_counts, check_events, check_meta_trail, read_events
from sandbox_runner.record.run_record import RunRecord
from sandbox_runner.replay import TrailEvent
from sandbox_runner.trail import Trail, load, step_number
from sandbox_runner.visible import visible

__all__ = ["Check", "SnapshotCheck", "verify_record"]


@dataclass(frozen=True, slots=True)
class SnapshotCheck:
    """What somebody who has a store can say of snapshots; both raise a ``SandboxRunnerError`` otherwise.

    Attributes:
        whole: given a snapshot's digest: reads every blob of it and says so.
        left_out: given the base's digest and what a record says was left out of it: sees that this is so.
    """

    whole: Callable[[str], str]
    left_out: Callable[[str, Sequence[LeftOutInfo]], None]


_LEDGER: Final = frozenset({"ledger.jsonl", "bottles.jsonl"})
_REQUIRED: Final = frozenset(
    {layout.RUN, layout.TRAIL, layout.POLICY, layout.CALLS, layout.RESULT, layout.ATTESTATION}
)


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a verification: its name, whether it holds, and what was seen or is wrong."""

    name: str
    ok: bool
    detail: str


@dataclass(slots=True)
class _Case:
    """What is asked, and what the checks have established so far."""

    path: Path
    trusted: Sequence[PublicKey]
    snapshot_check: SnapshotCheck | None
    require_signature: bool
    sealed: RunRecord | None = None
    verified: Trail | None = None
    walk: LogWalk | None = None
    events: list[TrailEvent] = field(default_factory=list)

    @property
    def record(self) -> RunRecord:
        if self.sealed is None:
            raise VerificationError("the record's structure does not hold")
        return self.sealed

    @property
    def result(self) -> RunResult:
        if self.record.result is None:
            raise VerificationError("the record was never sealed")
        return self.record.result

    @property
    def trail(self) -> Trail:
        if self.verified is None:
            raise VerificationError("the trail does not hold")
        return self.verified

    @property
    def log(self) -> LogWalk:
        if self.walk is None:
            self.events = read_events(self.result, self.verified, self.record.info.principal)
            self.walk = walk_log(self.record, self.verified, self.events)
        return self.walk


def verify_record(
    path: str | os.PathLike[str],
    *,
    trusted: Sequence[PublicKey] = (),
    snapshot_check: SnapshotCheck | None = None,
    require_signature: bool = True,
) -> list[Check]:
    """Verify a record; every check is in the answer, the record holds iff all are ok.

    Never raises for what is or is not at ``path``: whatever cannot be checked is not ok.

    Args:
        path: the record's directory, wherever it was copied to.
        trusted: the public keys whose signature is accepted.
        snapshot_check: looks into snapshots; without it only their digests are bound.
        require_signature: whether an unsigned record fails.
    """
    case = _Case(Path(path), tuple(trusted), snapshot_check, require_signature)
    checks: dict[str, Check] = {}
    with _collector_paused():
        for name, premises, check in _CHECKS:
            failed = next((premise for premise in premises if not checks[premise].ok), None)
            checks[name] = (
                _run(name, check, case)
                if failed is None
                else Check(name, ok=False, detail=f"not checked: {failed} does not hold")
            )
    return list(checks.values())


@contextmanager
def _collector_paused() -> Iterator[None]:
    """A long record is a million small objects and no cycle; the search for cycles is a third of the time."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _run(name: str, check: Callable[[_Case], str], case: _Case) -> Check:
    try:
        return Check(name, ok=True, detail=visible(check(case)))
    except SandboxRunnerError as error:
        return Check(name, ok=False, detail=visible(str(error)))
    except Exception as error:  # noqa: BLE001  # fail closed: what breaks a check does not pass it
        return Check(name, ok=False, detail=visible(f"cannot be checked: {type(error).__name__}: {error}"))


def _structure(case: _Case) -> str:
    case.sealed = RunRecord.load(case.path, whole=True)
    if case.sealed.result is None:
        ended = "is still running" if case.sealed.state is RunState.RUNNING else "was interrupted"
        raise VerificationError(f"the run {ended}: its record was never sealed")
    if case.result.run_id != case.record.run_id:
        raise VerificationError(
            f"{layout.RESULT} is of run {case.result.run_id}, not of {case.record.run_id}"
        )
    if case.record.info.state is not case.result.status.state:
        raise VerificationError(
            f"{layout.RUN} says {case.record.info.state}, the result {case.result.status}"
        )
    expected = _expected_files(case.result)
    found = set(_files(case.path))
    if missing := sorted(expected - found):
        raise VerificationError(f"{missing[0]} is missing")
    if added := sorted(found - expected - set(layout.OPEN_ONLY)):
        raise VerificationError(f"{added[0]} is not part of the record")
    return f"{len(found)} files, run {case.record.run_id}, {case.record.state}"


def _trail(case: _Case) -> str:
    info, data = case.record.info.trail, case.record.trail()
    if hashlib.sha256(data).hexdigest() != info.sha256:
        raise VerificationError(f"{layout.TRAIL} is not the trail that {layout.RUN} names")
    trail = load(data)
    stated = (info.bytes, info.version, info.steps, info.agent, info.trail_id)
    if stated != (len(data), trail.version, len(trail.steps), trail.agent, trail.trail_id):
        raise VerificationError(f"{layout.RUN} describes the trail differently from what it is")
    case.verified = trail
    return f"version {trail.version}, {len(trail.steps)} steps, sha256 {trail.sha256}"


def _policy(case: _Case) -> str:
    info = case.record.info.policy
    case.record.policy()
    if sha256_of(case.path / layout.POLICY, layout.SIZE_LIMITS[layout.POLICY]) != info.sha256:
        raise VerificationError(f"{layout.POLICY} is not the policy that {layout.RUN} names")
    return f"{info.name}, sha256 {info.sha256}"


def _chain(case: _Case) -> str:
    walk, result = case.log, case.result
    if walk.chain_fault:
        raise VerificationError(walk.chain_fault)
    if (walk.head, walk.length) != (result.chain_head, result.chain_length):
        raise VerificationError(
            f"{layout.CALLS} has {walk.length} lines and head {walk.head}, "
            f"the result says {result.chain_length} and {result.chain_head}"
        )
    if walk.sha256 != result.calls_sha256:
        raise VerificationError(
            f"the meta part of a line of {layout.CALLS} was changed: its SHA-256 is another"
        )
    return f"{walk.length} calls, head {walk.head}"


def _calls(case: _Case) -> str:
    if case.log.calls_fault:
        raise VerificationError(case.log.calls_fault)
    return f"{case.log.length} calls are those of the trail"


def _result(case: _Case) -> str:
    check_events(case.events, case.trail, case.record.info.principal)
    if case.log.events_fault:
        raise VerificationError(case.log.events_fault)
    check_counts(case.result, case.events)
    return f"{case.result.status}, {len(case.events)} events agree with the log"


def _meta_trail(case: _Case) -> str:
    return check_meta_trail(case.record, case.result, case.trail, case.events)


def _artifacts(case: _Case) -> str:
    for artifact in case.result.artifacts:
        path = case.path / layout.ARTIFACTS / artifact.path
        if sha256_of(path, artifact.bytes) != artifact.sha256:
            raise VerificationError(f"{layout.ARTIFACTS}/{artifact.path} is not the file that was recorded")
    return f"{len(case.result.artifacts)} files"


def _outputs(case: _Case) -> str:
    walk, result = case.log, case.result
    if walk.outputs_fault:
        raise VerificationError(walk.outputs_fault)
    files = {artifact.path: (artifact.bytes, artifact.sha256) for artifact in result.artifacts}
    for path, file in walk.outputs.items():
        if path not in files:
            raise VerificationError(f"{layout.CALLS} names {path}, which is not among the artifacts")
        if files[path] != (file.size, file.sha256):
            raise VerificationError(f"{layout.ARTIFACTS}/{path} is not the file that {layout.CALLS} names")
    pushes = _pushes(result)
    if missing := sorted(pushes - files.keys()):
        raise VerificationError(f"{layout.RESULT} names the push {missing[0]}, which is not an artifact")
    named = {*walk.outputs, *pushes}
    if "ledger" in result.facts or case.record.state is not RunState.COMPLETE:
        named |= _LEDGER
    if case.record.state is not RunState.COMPLETE:  # kept just before the line that would have named it
        named |= {f"outputs/step-{step_number(call.step)}.out" for call in result.in_doubt}
        named |= {f"outputs/call-{call.seq}.out" for call in result.in_doubt}
    if strange := sorted(files.keys() - named):
        raise VerificationError(
            f"{layout.ARTIFACTS}/{strange[0]} is there, and nothing in the record names it"
        )
    return f"{len(walk.outputs)} outputs and {len(pushes)} pushes, each in its file"


def _pushes(result: RunResult) -> set[str]:
    """The artifacts that a result says pushes are in."""
    listed = result.facts.get("pushes", [])
    if not isinstance(listed, list) or not all(isinstance(push, dict) for push in listed):
        raise VerificationError(f"{layout.RESULT} does not say what was pushed in a form that is known")
    paths = [push.get("artifact") for push in listed]
    found = {path for path in paths if isinstance(path, str) and path.startswith("pushes/")}
    if len(found) != len(paths):
        raise VerificationError(f"{layout.RESULT} names a push without a file of its own")
    return found


def _snapshot(case: _Case) -> str:
    digests = [
        digest for digest in (case.record.info.base_snapshot, case.result.snapshot) if digest is not None
    ]
    base, left_out = case.record.info.base_snapshot, case.record.info.left_out
    if base is None and left_out:
        raise VerificationError(f"{layout.RUN} says what was left out of a base, and names none")
    if not digests:
        return "the run took none"
    if case.snapshot_check is None:
        return f"{digests[-1]}; its blobs were not read, no store was given"
    told = [case.snapshot_check.whole(digest) for digest in dict.fromkeys(digests)]
    if base is not None:
        case.snapshot_check.left_out(base, left_out)
    return "; ".join(told)


def _attestation(case: _Case) -> str:
    info, result = case.record.info, case.result
    files = attested_files(case.path, info, result)
    files[layout.RUN] = sha256_of(case.path / layout.RUN, layout.SIZE_LIMITS[layout.RUN])
    check_attestation(read_envelope(case.path), info, result, files)
    return f"binds {len(files)} files"


def _signature(case: _Case) -> str:
    envelope = read_envelope(case.path)
    if not envelope.signatures and not case.require_signature:
        return "not signed; the files agree with each other, their origin is not proved"
    return f"signed by {', '.join(envelope.verify(case.trusted))}"


_CHECKS: Final[tuple[tuple[str, tuple[str, ...], Callable[[_Case], str]], ...]] = (
    ("structure", (), _structure),
    ("trail", ("structure",), _trail),
    ("policy", ("structure",), _policy),
    ("chain", ("structure",), _chain),
    ("calls", ("trail", "chain"), _calls),
    ("result", ("trail", "chain"), _result),
    ("meta-trail", ("result",), _meta_trail),
    ("artifacts", ("structure",), _artifacts),
    ("outputs", ("chain", "artifacts"), _outputs),
    ("snapshot", ("structure",), _snapshot),
    ("attestation", ("structure",), _attestation),
    ("signature", ("structure",), _signature),
)


def _expected_files(result: RunResult) -> set[str]:
    expected = {*_REQUIRED, *(f"{layout.ARTIFACTS}/{artifact.path}" for artifact in result.artifacts)}
    return expected | {layout.META_TRAIL} if result.meta_trail_sha256 else expected


def _files(directory: Path) -> list[str]:
    """Every file below a directory by its relative path; anything but a file or folder is refused."""
    found: list[str] = []
    seen = 0
    for folder, folders, names in os.walk(directory):
        seen += len(folders) + len(names)
        if seen > layout.FILES_LIMIT:
            raise VerificationError(f"it holds more than {layout.FILES_LIMIT} files and folders")
        for name in (*folders, *names):
            path = Path(folder, name)
            mode = path.lstat().st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise VerificationError(f"{path.relative_to(directory)} is no regular file")
        found += [str(Path(folder, name).relative_to(directory)) for name in names]
    return found

"""The two JSON documents of a run record, ``run.json`` and ``result.json``, as strict frozen types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_serializer,
)

from sandbox_runner.bounded_json import check_values
from sandbox_runner.errors import VerificationError
from sandbox_runner.record.encoding import compact
from sandbox_runner.record.layout import RUN, VALUE_LIMITS
from sandbox_runner.visible import visible

__all__ = [
    "Artifact",
    "ImageInfo",
    "InDoubt",
    "LeftOutInfo",
    "PolicyInfo",
    "RunInfo",
    "RunResult",
    "RunState",
    "RunStatus",
    "StepCounts",
    "TrailInfo",
]

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
RunId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Timestamp = Annotated[
    str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|\+00:00)$")
]
Digest = Annotated[str, StringConstraints(pattern=r"^(sha256:)?[0-9a-f]{64}$")]


def _shown(text: Any, context: ValidationInfo) -> Any:
    """A document that was written is read as it stands: its digest is attested."""
    return visible(text) if isinstance(text, str) and context.mode == "python" else text


Shown = Annotated[str, BeforeValidator(_shown)]
"""Text from a command line or a file's name: what is no UTF-8 or is not seen is kept as its escape."""
Count = Annotated[int, Field(ge=0, le=2**53 - 1)]
Json = dict[str, Any]


class RunState(StrEnum):
    """Where a run is. ``running`` on disk means interrupted once its owner is dead."""

    RUNNING = "running"
    COMPLETE = "complete"
    INTERRUPTED = "interrupted"
    ERROR = "error"


class RunStatus(StrEnum):
    """How a run ended; the word of ``run --json``."""

    SUCCESS = "success"
    FAILED = "failed"
    REFUSED = "refused"
    ERROR = "error"
    INTERRUPTED = "interrupted"
    DRY_RUN = "dry-run"

    @property
    def state(self) -> RunState:
        """The state of a record that is sealed with this status."""
        if self is RunStatus.INTERRUPTED:
            return RunState.INTERRUPTED
        return RunState.ERROR if self is RunStatus.ERROR else RunState.COMPLETE


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    PLAIN: ClassVar[frozenset[str]] = frozenset()
    """Fields that hold nothing but JSON and may be large: they are written as they are, without a copy."""

    def render(self) -> bytes:
        """The stored bytes: ASCII, sorted keys, one top-level key (and one element of a list) per line."""
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """What ``render`` gives, bit by bit: a long run's events need not be in memory as JSON."""
        members = dict(self) | self.model_dump(mode="json", exclude=set(self.PLAIN))
        separator = b"{\n"
        for key in sorted(members):
            yield separator + compact(key) + b": "
            yield from _value(members[key])
            separator = b",\n"
        yield b"\n}\n"

    @classmethod
    def parse(cls, data: bytes, name: str) -> Self:
        """Read a stored document.

        Raises:
            VerificationError: it is no JSON, of too many values, a key is missing or unknown, or a value has
                the wrong type.
        """
        try:
            check_values(data, VALUE_LIMITS.get(name, VALUE_LIMITS[RUN]))
        except ValueError as error:
            raise VerificationError(f"{name}: {error}") from error
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "its JSON"
            raise VerificationError(f"{name} is malformed at {where}: {first['msg']}") from error


class TrailInfo(BaseModel):
    """What was replayed."""

    model_config = _Document.model_config
    sha256: Sha256
    bytes: Count
    version: Annotated[int, Field(ge=1, le=2)]
    steps: Count
    agent: str | None = None
    trail_id: str | None = None
    source: Shown | None = None  # the name the user gave: a file's name, never its directory


class PolicyInfo(BaseModel):
    """What it was allowed to do; the whole policy is ``policy.json``."""

    model_config = _Document.model_config
    name: str
    sha256: Sha256


class ImageInfo(BaseModel):
    """Where it ran; ``packages`` are those of an environment, ``name==version``."""

    model_config = _Document.model_config
    reference: str
    id: Digest
    packages: Annotated[tuple[Annotated[str, Field(max_length=260)], ...], Field(max_length=2_000)] = ()


class LeftOutInfo(BaseModel):
    """What the workspace's snapshot at the beginning leaves out for one reason.

    ``first`` are the first paths, printable and cut where they are long; the snapshot names more.
    """

    model_config = _Document.model_config
    reason: str
    count: Count
    first: tuple[Shown, ...] = ()


class RunInfo(_Document):
    """``run.json``: the request and the facts of a run.

    Attributes:
        record: version of the record's schema.
        run_id: unique on this machine; also the directory's name.
        tenant: who asked for the run.
        state: see ``RunState``.
        created_at: ISO 8601, UTC.
        trail, policy, image: identities by digest; ``image`` is null before one is chosen and in a dry run.
        seccomp_sha256: digest of the seccomp profile in force, null where none is.
        base_snapshot: digest of the snapshot the workspace began with, null for an empty one.
        left_out: what was there and is not in that snapshot, by reason: unreadable, excluded.
        principal: the agent in whose name levels and commits are made.
        runtime: the container runtime in use.
        limits: the resource limits in force, by name with unit as in the policy.
        options: how the replay was asked for: fail_fast, dry_run, meta_style and the like.
        versions: of this program, Python, the Engine.
        labels: free words of the user.
    """

    record: Literal[1] = 1
    run_id: RunId
    tenant: str = "default"
    state: RunState = RunState.RUNNING
    created_at: Timestamp
    trail: TrailInfo
    policy: PolicyInfo
    image: ImageInfo | None = None
    seccomp_sha256: Sha256 | None = None
    base_snapshot: Digest | None = None
    left_out: tuple[LeftOutInfo, ...] = ()
    principal: str = "executor"
    runtime: str | None = None
    limits: Json = Field(default_factory=dict)
    options: Json = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    labels: dict[Shown, Shown] = Field(default_factory=dict)


class StepCounts(BaseModel):
    """Steps by status; ``total`` is their sum."""

    model_config = _Document.model_config
    total: Count = 0
    ok: Count = 0
    failed: Count = 0
    refused: Count = 0
    skipped: Count = 0


class Artifact(BaseModel):
    """A file under ``artifacts/``; ``path`` is relative to it."""

    model_config = _Document.model_config
    path: str
    sha256: Sha256
    bytes: Count


class InDoubt(BaseModel):
    """A call that was sent and never answered: it may have happened."""

    model_config = _Document.model_config
    seq: Count
    step: Annotated[int, Field(ge=-1, le=2**31)]
    method: str


class RunResult(_Document):
    """``result.json``: how a run ended.

    Attributes:
        status, exit_code: as the command line reports them.
        steps: counts over the trail's steps.
        events: one object per executed step, in order (``TrailEvent.to_dict``); a record that is read back
            parses them when somebody walks over them.
        chain_head, chain_length, calls_sha256: the log this result belongs to.
        meta_trail_sha256: null when nothing was replayed.
        snapshot: digest of the workspace's snapshot at the end, null where none was taken.
        verdict_source: who says that a test passed: what ran, and how its exit was seen.
        cleanup: what was removed at the end and whether it is gone.
        violations: what the policy refused at admission.
        in_doubt: calls sent and never answered.
        error: the sentence of the error that ended the run.
        facts: anything else worth keeping, for example the guest's ledger.
    """

    PLAIN = frozenset({"events"})

    record: Literal[1] = 1
    run_id: RunId
    status: RunStatus
    exit_code: Annotated[int, Field(ge=0, le=255)]
    steps: StepCounts
    events: Sequence[Json] = ()
    chain_head: Sha256
    chain_length: Count
    calls_sha256: Sha256
    meta_trail_sha256: Sha256 | None = None
    snapshot: Digest | None = None
    verdict_source: str | None = None
    cleanup: Json | None = None
    violations: tuple[Json, ...] = ()
    in_doubt: tuple[InDoubt, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    error: str | None = None
    started_at: Timestamp | None = None
    finished_at: Timestamp
    duration_s: Annotated[float, Field(ge=0)] = 0.0
    facts: Json = Field(default_factory=dict)

    @field_serializer("events")
    def _listed(self, events: Sequence[Json]) -> list[Json]:
        return list(events)


def _value(value: Any) -> Iterator[bytes]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        yield compact(value)
        return
    if not value:
        yield b"[]"
        return
    for number, item in enumerate(value):
        yield b",\n  " if number else b"[\n  "
        yield compact(item)
    yield b"\n]"

"""What one replayed step came to, and the proofs that bind it to every step before it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, Self

from sandbox_runner.arguments import check_fields, wrong
from sandbox_runner.errors import ArgumentError, VerificationError
from sandbox_runner.replay.details import PackedDetails
from sandbox_runner.replay.markers import ShownOperands
from sandbox_runner.trail.operations import TrailOpcodes
from sandbox_runner.trail.resolved import step_number
from sandbox_runner.world.call import Status
from sandbox_runner.world.canonical import canonical_digest, canonical_json, json_string

__all__ = [
    "TrailEvent",
    "chain_link",
    "kept_operands",
    "outcome_digest",
    "reading_form",
    "reference_proof",
    "verify_chain",
]

_NO_DETAILS = canonical_digest({})
_NUMBERS = frozenset({int, TrailOpcodes})
_REFERENCE_PROOF = re.compile(r"[0-9a-f]{16}")


@contextmanager
def reading_form(kind: type, name: str) -> Iterator[None]:
    """Within it a form that is none of this kind's is an argument that is wrong."""
    try:
        yield
    except ArgumentError:
        raise
    except KeyError as error:
        raise ArgumentError(f"{kind.__name__}: {name} has no key {error}") from error
    except (AttributeError, TypeError, ValueError, RecursionError) as error:
        raise ArgumentError(f"{kind.__name__}: {name} is no {kind.__name__}'s: {error}") from error


def reference_proof(step_index: int, opcode: int, result: str) -> str:
    """The format's own proof: 16 hex digits over index, opcode and result; unchained, blind to operands."""
    return sha256(f"{step_index}:{opcode:d}:{result}".encode()).hexdigest()[:16]


def outcome_digest(status: str, result: str, details: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON of ``{details, result, status}``, where ``details`` is a digest too."""
    digest = canonical_digest(dict(details)) if details else _NO_DETAILS
    # Written out because every step pays for it; a test holds it against canonical_json.
    text = f'{{"details":"{digest}","result":{json_string(result)},"status":"{status}"}}'
    return sha256(text.encode()).hexdigest()


def chain_link(previous: str, index: int, opcode: int, operands: Mapping[str, Any], outcome: str) -> str:
    """SHA-256 over the canonical JSON of ``{index, opcode, operands, outcome, previous}``, digests as hex."""
    shown = canonical_json(dict(operands)).decode()
    link = f'"operands":{shown},"outcome":"{outcome}","previous":"{previous}"'
    text = f'{{"index":{index},"opcode":{opcode:d},{link}}}'
    return sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class TrailEvent:
    """One step of a replay.

    Attributes:
        step_index: position in the trail, from 0.
        opcode: the operation's number.
        operands: the resolved operands by name, a ``dict``; for LEVEL_UP also the agent that was levelled.
        result: the full text of the outcome.
        duration_ms: what the step took, milliseconds; 0.0 for a marker.
        timestamp: wall clock at the end of the step, seconds since the epoch.
        proof: the format's unchained proof; computed unless given.
        status: decides whether the step failed; the text never does.
        details: facts beyond the text, JSON-able.
        chain: SHA-256 over the previous event's ``chain`` (of the first: the trail's own SHA-256), index,
            opcode, operands and outcome digest, all as canonical JSON. Empty in an event that was made by
            hand.
    """

    step_index: int
    opcode: int
    operands: Mapping[str, Any] = field(default_factory=dict)
    result: str = ""
    duration_ms: float = 0.0
    timestamp: float = 0.0
    proof: str = ""
    status: Status = Status.OK
    details: Mapping[str, Any] = field(default_factory=dict)
    chain: str = ""

    def __post_init__(self) -> None:
        # Every step of every run has one: what nearly all are is told from what to look at in no time.
        texts = type(self.result) is type(self.proof) is type(self.chain) is str
        if not texts or type(self.step_index) is not int or type(self.opcode) not in _NUMBERS:
            check_fields(self)
        if not self.proof:
            try:
                proof = reference_proof(self.step_index, self.opcode, self.result)
            except ValueError:  # a lone surrogate, or a number of thousands of digits
                check_fields(self)
                raise
            object.__setattr__(self, "proof", proof)

    @property
    def opcode_name(self) -> str:
        """The operation's name."""
        return TrailOpcodes(self.opcode).name

    @property
    def failed(self) -> bool:
        """Whether the step failed or was refused."""
        return self.status.stops

    @property
    def outcome_digest(self) -> str:
        """Digest of the full outcome: status, text and details."""
        return outcome_digest(self.status, self.result, self.details)

    def chained_to(self, previous: str) -> str:
        """The value ``chain`` must have when the event before it has ``previous``."""
        try:
            return chain_link(previous, self.step_index, self.opcode, self.operands, self.outcome_digest)
        except (TypeError, ValueError, RecursionError) as error:
            raise ArgumentError(f"TrailEvent: what is no JSON has no digest: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """The format's dictionary form; status, details and chain follow if the event is part of a chain."""
        form = {
            "step_index": self.step_index,
            "opcode": int(self.opcode),
            "opcode_name": self.opcode_name,
            "operands": dict(self.operands),
            "result": self.result,
            "duration_ms": self.duration_ms,
            "timestamp": self.timestamp,
            "proof": self.proof,
        }
        if self.chain:
            form |= {"status": str(self.status), "details": dict(self.details), "chain": self.chain}
        return form

    def to_json(self) -> str:
        """The dictionary form as JSON, indented by two."""
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> Self:
        """Read the dictionary form back.

        A missing proof is computed. One of the format's form must fit its event; any other text is the
        maker's own and kept. ``chain`` can only be checked among its neighbours: see ``verify_chain``.

        Raises:
            VerificationError: the proof does not fit the event.
            ArgumentError: the form is none of an event.
        """
        with reading_form(cls, "form"):
            event = cls(
                step_index=form["step_index"],
                opcode=form["opcode"],
                operands=dict(form["operands"]),
                result=form["result"],
                duration_ms=form.get("duration_ms", 0.0),
                timestamp=form.get("timestamp", 0.0),
                proof=form.get("proof", ""),
                status=Status(form.get("status", Status.OK)),
                details=dict(form.get("details", {})),
                chain=form.get("chain", ""),
            )
        expected = reference_proof(event.step_index, event.opcode, event.result)
        if event.proof != expected and _REFERENCE_PROOF.fullmatch(event.proof):
            raise VerificationError(
                f"the proof {event.proof} of step {step_number(event.step_index)} does not fit its event"
            )
        return event

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the JSON form back; raises like ``from_dict``."""
        with reading_form(cls, "text"):
            form = json.loads(text)
        return cls.from_dict(form)


def kept_operands(event: TrailEvent) -> Mapping[str, Any]:
    """An event's operands as it holds them, not read: what they take in memory can be measured."""
    kept: Mapping[str, Any] = _OPERANDS.__get__(event)
    return kept


def _dict_of_operands(event: TrailEvent) -> dict[str, Any]:
    kept = _OPERANDS.__get__(event)
    if type(kept) is dict:
        return kept
    if isinstance(kept, (ShownOperands, PackedDetails)):
        return dict(kept.read())
    if not isinstance(kept, Mapping):
        raise wrong("operands", "a mapping", kept)
    return dict(kept)


# The slot itself stays where the operands are held; who asks the event for them gets a dict.
_OPERANDS: Final = TrailEvent.__dict__["operands"]
setattr(TrailEvent, "operands", property(_dict_of_operands, _OPERANDS.__set__))  # noqa: B010 - mypy


def verify_chain(events: Iterable[TrailEvent], start: str) -> str:
    """Check that every event follows from the one before it, beginning at ``start``; return the chain's head.

    Raises:
        VerificationError: an event was changed, dropped, repeated or moved; the text names the first one.
    """
    head = start
    for event in events:
        if event.chain != event.chained_to(head):
            raise VerificationError(
                f"step {step_number(event.step_index)} does not follow from the steps before it"
            )
        head = event.chain
    return head

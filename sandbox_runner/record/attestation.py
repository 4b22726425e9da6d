"""``attestation.json``: the statement about a record, made when it is sealed, checked when it is verified."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sandbox_runner.bounded_json import read_json
from sandbox_runner.errors import VerificationError
from sandbox_runner.record import layout
from sandbox_runner.record.compare import first_difference
from sandbox_runner.record.documents import RunInfo, RunResult
from sandbox_runner.record.dsse import Envelope
from sandbox_runner.record.files import read_bounded, sha256_of
from sandbox_runner.record.keys import SigningKey
from sandbox_runner.record.statement import PAYLOAD_TYPE, statement_of
from sandbox_runner.world.canonical import canonical_json

__all__ = ["attest", "attested_files", "check_attestation", "read_envelope"]


def attest(info: RunInfo, result: RunResult, files: Mapping[str, str], signer: SigningKey | None) -> Envelope:
    """The envelope about a record; without a signer it carries no signature."""
    keys: Iterable[SigningKey] = () if signer is None else (signer,)
    return Envelope.sign(canonical_json(statement_of(info, result, files)), PAYLOAD_TYPE, keys)


def attested_files(directory: Path, info: RunInfo, result: RunResult) -> dict[str, str]:
    """SHA-256 of every file that the run wrote, by its path in the record.

    ``run.json`` is taken from ``info``: it gets its final form after the attestation is written.

    Raises:
        VerificationError: a file is missing or none of a record's.
    """
    files = {layout.RUN: hashlib.sha256(info.render()).hexdigest()}
    names = [layout.CALLS, layout.RESULT, *([layout.META_TRAIL] if result.meta_trail_sha256 else [])]
    for name in names:
        files[name] = sha256_of(directory / name, layout.SIZE_LIMITS[name])
    for artifact in result.artifacts:
        name = f"{layout.ARTIFACTS}/{artifact.path}"
        files[name] = sha256_of(directory / name, artifact.bytes)
    return files


def read_envelope(directory: Path) -> Envelope:
    """The record's envelope.

    Raises:
        VerificationError: it is missing, malformed, or not in the form in which it was written.
    """
    data = read_bounded(directory / layout.ATTESTATION, layout.SIZE_LIMITS[layout.ATTESTATION])
    envelope = Envelope.parse(data)
    if envelope.render() != data:
        raise VerificationError(f"{layout.ATTESTATION} is not in the form in which it was written")
    return envelope


def check_attestation(envelope: Envelope, info: RunInfo, result: RunResult, files: Mapping[str, str]) -> None:
    """Compare what was attested with the record as it is now.

    Raises:
        VerificationError: the payload has another type or says something else; the text names the place.
    """
    if envelope.payload_type != PAYLOAD_TYPE:
        raise VerificationError(f"the payload is of type {envelope.payload_type[:80]!r}, not {PAYLOAD_TYPE}")
    expected = statement_of(info, result, files)
    if envelope.payload == canonical_json(expected):
        return
    difference = first_difference(_json(envelope.payload), _json(canonical_json(expected)), "statement")
    if difference is None:
        raise VerificationError("the statement is not in canonical form")
    where, attested, found = difference
    raise VerificationError(f"{where} attests {_short(attested)}, the record has {_short(found)}")


def _json(payload: bytes) -> Any:
    try:
        return read_json(payload, values=layout.VALUE_LIMITS[layout.ATTESTATION])
    except ValueError as error:
        raise VerificationError(f"the payload is no JSON: {error}") from error


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 100 else f"{text[:99]}…"

"""The statement of an attestation: in-toto Statement v1 with a predicate of our own.

``_type``          https://in-toto.io/Statement/v1
``predicateType``  ``PREDICATE_TYPE``; a change of meaning gets a new version
``subject``        what the run produced, each with its SHA-256: every file of the record that the run wrote
                   (``run.json``, ``calls.jsonl``, ``result.json``, ``meta-trail.flux``, ``artifacts/...``)
                   and ``snapshot``, the digest of the workspace at the end. A file or snapshot that does not
                   exist is not listed.
``predicate``      what the record says about how they came to be:

    record         version of the record's schema, 1
    run            id, tenant, status, exitCode, startedAt, finishedAt (ISO 8601, UTC; startedAt is null where
                   nothing was started)
    materials      what went in, resource descriptors with SHA-256: ``trail`` (the replayed bytes), ``policy``
                   (the effective policy, canonical JSON), ``image`` (with its reference as uri), ``seccomp``
                   (the profile in force), ``base-snapshot`` (the workspace at the start); absent ones are not
                   listed
    chain          version (of the chain's definition), head, length: the log cannot be cut without changing
                   them
    principal      the agent in whose name the run acted
    runtime        the container runtime, null where none was used
    limits         the resource limits in force, as in the policy
    options        how the replay was asked for
    counts         steps by status, as in ``result.json``
    inDoubt        how many calls were sent and never answered
    verdictSource  who says that a test passed; null where no test ran. The attestation says what was seen,
                   for example that pytest exited 0 and reported 12 passed, never that the tests are right
    cleanup        the receipt: what was removed at the end and whether it is gone; null where nothing was
                   started
    versions       of this program, Python, the Engine

The payload is canonical JSON (RFC 8785). It is a function of the record: verification computes it anew and
compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox_runner.record.chain import CHAIN_VERSION
from sandbox_runner.record.documents import RunInfo, RunResult

__all__ = ["PAYLOAD_TYPE", "PREDICATE_TYPE", "STATEMENT_TYPE", "statement_of"]

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:x-sandbox-runner:attestation:replay:v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"


def statement_of(info: RunInfo, result: RunResult, files: Mapping[str, str]) -> dict[str, Any]:
    """The statement about a sealed record.

    Args:
        info: ``run.json`` in its final form.
        result: ``result.json``.
        files: SHA-256 of every file the run wrote, by its path in the record.
    """
    subjects = [_descriptor(name, files[name]) for name in sorted(files)]
    if result.snapshot is not None:
        subjects.append(_descriptor("snapshot", result.snapshot))
    return {
        "_type": STATEMENT_TYPE,
        "predicateType": PREDICATE_TYPE,
        "subject": subjects,
        "predicate": _predicate(info, result),
    }


def _predicate(info: RunInfo, result: RunResult) -> dict[str, Any]:
    return {
        "record": info.record,
        "run": {
            "id": info.run_id,
            "tenant": info.tenant,
            "status": result.status.value,
            "exitCode": result.exit_code,
            "startedAt": result.started_at,
            "finishedAt": result.finished_at,
        },
        "materials": _materials(info),
        "chain": {"version": CHAIN_VERSION, "head": result.chain_head, "length": result.chain_length},
        "principal": info.principal,
        "runtime": info.runtime,
        "limits": info.limits,
        "options": info.options,
        "counts": result.steps.model_dump(),
        "inDoubt": len(result.in_doubt),
        "verdictSource": result.verdict_source,
        "cleanup": result.cleanup,
        "versions": info.versions,
    }


def _materials(info: RunInfo) -> list[dict[str, Any]]:
    materials = [_descriptor("trail", info.trail.sha256), _descriptor("policy", info.policy.sha256)]
    if info.image is not None:
        materials.append({**_descriptor("image", info.image.id), "uri": info.image.reference})
    if info.seccomp_sha256 is not None:
        materials.append(_descriptor("seccomp", info.seccomp_sha256))
    if info.base_snapshot is not None:
        materials.append(_descriptor("base-snapshot", info.base_snapshot))
    return materials


def _descriptor(name: str, digest: str) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}

"""What a run leaves in the sandbox beside its workspace: the ledger, dropped bottles, quarantined pushes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from sandbox_runner.errors import GuestError
from sandbox_runner.guest.wire import FrameError, split_blobs
from sandbox_runner.record import RunDirectory
from sandbox_runner.record.encoding import ascii_lines
from sandbox_runner.sandbox import Sandbox

__all__ = ["keep_ledger", "keep_pushes"]

_UNSAFE = re.compile(r"[^a-z0-9]+")
_SLUG = 40  # characters of a name that stay readable in a file name


def keep_ledger(sandbox: Sandbox, directory: RunDirectory) -> dict[str, Any]:
    """Keep the guest's ledger and bottles as ``ledger.jsonl`` and ``bottles.jsonl``.

    Both are stored in ASCII, as ``calls.jsonl`` is: a line says the same, and whoever reads it with any tool
    sees all of it. The ledger's chain is over the canonical form (RFC 8785) of an entry without its
    ``digest``, which is the same for both spellings.

    Raises:
        GuestError: what the guest handed out is not of the agreed form.
    """
    answer = sandbox.ledger()
    try:
        parts = split_blobs(answer.header.get("blobs", {}), answer.body)
    except FrameError as problem:
        raise GuestError(f"the guest's ledger cannot be read: {problem}") from problem
    for name in ("ledger", "bottles"):
        if parts.get(name):
            try:
                lines = ascii_lines(parts[name])
            except ValueError as problem:
                raise GuestError(f"the guest's {name} is not of the agreed form: {problem}") from problem
            directory.add_artifact(f"{name}.jsonl", lines)
    return {"entries": _count(answer.header, "entries"), "head": _hex(answer.header, "head")}


def keep_pushes(sandbox: Sandbox, directory: RunDirectory) -> list[dict[str, Any]]:
    """Keep each quarantined push as a git bundle under ``pushes/``. Nothing on the host opens them.

    Raises:
        GuestError: what the guest handed out is not of the agreed form.
    """
    kept = []
    for answer in sandbox.bundles():
        facts = answer.header.get("bundle")
        if not isinstance(facts, Mapping) or not isinstance(facts.get("repository"), str):
            raise GuestError("the guest handed out a push without saying whose it is")
        artifact = directory.add_artifact(f"pushes/{_file_name(facts['repository'])}.bundle", answer.body)
        if facts.get("sha256") != artifact.sha256:
            raise GuestError("the guest handed out a push that is not the one it saw")
        kept.append({"repository": facts["repository"], "refs": facts.get("refs"), "artifact": artifact.path})
    return kept


def _file_name(name: str) -> str:
    """Names are data: what a trail calls a thing never becomes a path."""
    slug = _UNSAFE.sub("-", name.lower()).strip("-")[:_SLUG]
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{slug or 'repository'}-{digest}"


def _count(header: Mapping[str, Any], key: str) -> int:
    value = header.get(key)
    if type(value) is not int or value < 0:
        raise GuestError(f"the guest's answer has no usable {key}")
    return value


def _hex(header: Mapping[str, Any], key: str) -> str:
    value = header.get(key)
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{64}", value):
        raise GuestError(f"the guest's answer has no usable {key}")
    return value

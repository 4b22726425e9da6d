"""What a run leaves in the sandbox beside its workspace: the ledger, dropped bottles, quarantined pushes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from sandbox_runner.errors import GuestError
from sandbox_runner.guest.wire import BODY_LIMIT, FrameError, split_blobs
from sandbox_runner.record import RunDirectory
from sandbox_runner.record.encoding import ascii_lines
from sandbox_runner.sandbox import Sandbox
from sandbox_runner.sandbox.channel import MEMORY_BYTES as ANSWER_BYTES

__all__ = ["MEMORY_BYTES", "keep_ledger", "keep_pushes"]

MEMORY_BYTES = ANSWER_BYTES + BODY_LIMIT + (32 << 20)
"""The most memory that keeping a run's ledger or its pushes takes, bytes: one answer, its parts, and what is
said of a thousand pushes."""

_UNSAFE = re.compile(r"[^a-z0-9]+")
_NAME_CHARACTERS = 8_192  # of a repository's name, as of every name in a call
_REFERENCE_CHARACTERS = 4_352  # of a branch's full name and its commit; git makes files of such names
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


def keep_pushes(sandbox: Sandbox, directory: RunDirectory, kept: list[dict[str, Any]]) -> None:
    """Keep each quarantined push as a git bundle under ``pushes/``. Nothing on the host opens them.

    Args:
        sandbox: where they are.
        directory: of the record.
        kept: gets a description of each as soon as it is kept, so that none is there without one.

    Raises:
        GuestError: what the guest handed out is not of the agreed form.
    """
    for answer in sandbox.bundles():
        facts = answer.header.get("bundle")
        if not isinstance(facts, Mapping) or not _is_name(facts.get("repository"), _NAME_CHARACTERS):
            raise GuestError("the guest handed out a push without saying whose it is")
        refs = _references(facts.get("refs"))
        name = _file_name(facts["repository"], *refs)
        if facts.get("sha256") != hashlib.sha256(answer.body).hexdigest():
            raise GuestError("the guest handed out a push that is not the one it saw")
        artifact = directory.add_artifact(f"pushes/{name}.bundle", answer.body)
        kept.append({"repository": facts["repository"], "refs": refs, "artifact": artifact.path})


def _references(refs: Any) -> dict[str, str]:
    """The one branch of a push and its commit."""
    if not isinstance(refs, dict) or len(refs) != 1:
        raise GuestError("the guest handed out a push without saying of which branch")
    ((name, commit),) = refs.items()
    if not isinstance(commit, str) or len(name) + len(commit) > _REFERENCE_CHARACTERS:
        raise GuestError(f"the guest names a branch in more than {_REFERENCE_CHARACTERS} characters")
    return {name: commit}


def _is_name(name: Any, most: int) -> bool:
    return isinstance(name, str) and len(name) <= most


def _file_name(name: str, branch: str) -> str:
    """Names are data: what a trail calls a thing never becomes a path. Two branches are two files."""
    slug = _UNSAFE.sub("-", name.lower()).strip("-")[:_SLUG]
    digest = hashlib.sha256(f"{name}\0{branch}".encode("utf-8", "surrogatepass")).hexdigest()[:16]
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

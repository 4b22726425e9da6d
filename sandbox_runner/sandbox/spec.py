"""What a caller asks of a sandbox, and how long each thing may take."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox_runner.arguments import checked
from sandbox_runner.policy.schema import Resources

__all__ = ["Deadlines", "SandboxSpec", "new_run_id"]


def new_run_id() -> str:
    """A fresh identifier for one run: 16 hex digits."""
    return secrets.token_hex(8)


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """How long the host waits, in seconds. The guest's limits are shorter: these end only a broken one.

    Attributes:
        start: from the container's start to the guest's first answer.
        margin: added to what the guest allows itself for a call.
        transfer: for one part of a file tree on its way in or out.
        transfer_total: for a whole file tree.
        stop: for the guest to leave after the stream closed, before it is killed.
        lifetime: after this the janitor may remove the container whatever its owner does.
    """

    start: float = 60.0
    margin: float = 15.0
    transfer: float = 60.0
    transfer_total: float = 900.0
    stop: float = 3.0
    lifetime: float = 24 * 3600.0


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    """One sandbox to be.

    Attributes:
        image: name of an image with Python 3.8+; ``None`` is the default image, built where missing.
        runtime: ``auto``, or a runtime that the Engine knows.
        resources: limits of the container.
        guest: the guest's configuration; ``run_id`` and ``uid`` are filled in here.
        run_id: names the run in labels and in the guest.
        labels: further labels of the container, for the caller's own use.
        bind: a directory of the host to work in place of a copy. For trusted trails only: what runs in the
            sandbox changes it, and it has no size limit.
        writes: whether anything writes in the workspace once it is filled. Without, who fills it seals it
            (``Sandbox.seal``), and a directory of the host is mounted read-only.
        deadlines: see ``Deadlines``.
        runtime_cache: a file that keeps what ``auto`` found out, ``None`` to ask again in every process. What
            was read of the image is kept beside it, as ``image.json``.
    """

    image: str | None = None
    runtime: str = "auto"
    resources: Resources = field(default_factory=Resources)
    guest: Mapping[str, Any] = field(default_factory=dict)
    run_id: str = field(default_factory=new_run_id)
    labels: Mapping[str, str] = field(default_factory=dict)
    bind: Path | None = None
    writes: bool = True
    deadlines: Deadlines = field(default_factory=Deadlines)
    runtime_cache: Path | None = None

"""A warm pool as a runner's source of sandboxes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sandbox_runner.runner.starting import StartSandbox
from sandbox_runner.sandbox import Sandbox, SandboxPool, SandboxSpec

__all__ = ["warm_start"]


@contextmanager
def warm_start(size: int, like: SandboxSpec, *, uses: int) -> Iterator[StartSandbox]:
    """Sandboxes started ahead of need for runs whose spec is like the given one; others start cold.

    A sandbox that waits has its image, runtime and limits already, so it only fits a run that wants the same
    ones. It has no identity, no configuration and an empty workspace: those it gets when it is taken. It is
    used once.

    Args:
        size: how many wait at most.
        like: what most runs will ask for.
        uses: how many runs there will be.
    """
    with SandboxPool(size, like, uses=uses) as pool:

        def start(spec: SandboxSpec) -> Sandbox:
            fits = (
                spec.image == like.image
                and spec.runtime == like.runtime
                and spec.resources == like.resources
                and spec.bind is None
                and like.bind is None
            )
            return pool.take(spec.run_id, spec.guest) if fits else Sandbox.start(spec)

        yield start

"""Proof that a sandbox is gone: what was there, what is left, and how it went."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sandbox_runner.errors import DockerError
from sandbox_runner.sandbox.engine import Engine

__all__ = ["CleanupReceipt", "force_container", "force_volume", "remove"]

_KILLED_S = 15.0  # from a forced removal to Docker's own word that nothing is left
_GLANCE_S = 0.02


@dataclass(frozen=True, slots=True)
class CleanupReceipt:
    """What is left of a sandbox, as Docker tells it.

    Attributes:
        container: id of the container.
        volumes: names of its anonymous volumes.
        container_gone: Docker no longer knows the container.
        volumes_gone: Docker no longer knows any of the volumes.
        how: ``left`` (the guest ended when its stream closed), ``removed`` (by force), ``remains``.
        exit_code: of the guest, where Docker told it.
        seconds: how long it took.
    """

    container: str
    volumes: tuple[str, ...]
    container_gone: bool
    volumes_gone: bool
    how: str
    exit_code: int | None
    seconds: float

    @property
    def clean(self) -> bool:
        """Whether nothing is left."""
        return self.container_gone and self.volumes_gone

    def as_dict(self) -> Mapping[str, Any]:
        """JSON-able form for a run record."""
        return {**asdict(self), "volumes": list(self.volumes)}


def remove(engine: Engine, container: str, volumes: tuple[str, ...], *, patience_s: float) -> CleanupReceipt:
    """See a container off whose stream is closed: wait for it to leave, force it otherwise, then look again.

    Never raises for what it could not remove; the receipt says so.
    """
    began = time.monotonic()
    how, exit_code = "left", None
    container_gone = volumes_gone = False
    try:
        left = engine.find(
            "wait for a container", engine.api.wait, container, timeout=patience_s, condition="removed"
        )
        exit_code = None if left is None else left.get("StatusCode")
        container_gone = True  # what was waited for is its removal
    except DockerError:
        how = "removed"
        force_container(engine, container)
    end = time.monotonic() + _KILLED_S
    while not (container_gone and volumes_gone) and time.monotonic() < end:
        try:
            container_gone = container_gone or engine.container(container) is None
            volumes_gone = all(engine.volume(name) is None for name in volumes)
        except DockerError:
            break
        if not (container_gone and volumes_gone):
            time.sleep(_GLANCE_S)
            # A volume outlives its container by a moment only; what stays is removed by name.
            if container_gone and time.monotonic() > began + patience_s:
                for name in volumes:
                    force_volume(engine, name)
    return CleanupReceipt(
        container=container,
        volumes=volumes,
        container_gone=container_gone,
        volumes_gone=volumes_gone,
        how=how if container_gone and volumes_gone else "remains",
        exit_code=exit_code,
        seconds=round(time.monotonic() - began, 3),
    )


def force_container(engine: Engine, container: str) -> None:
    """Remove a container in whatever state, and its anonymous volumes; look afterwards."""
    # A paused container cannot die before it is thawed.
    for what, ask, options in (
        ("unpause a container", engine.api.unpause, {}),
        ("remove a container", engine.api.remove_container, {"force": True, "v": True}),
    ):
        try:
            engine.find(what, ask, container, **options)
        except DockerError:
            continue  # not paused, or somebody else is removing it


def force_volume(engine: Engine, name: str) -> None:
    """Remove a volume that nothing uses; look afterwards."""
    try:
        engine.find("remove a volume", engine.api.remove_volume, name, force=True)
    except DockerError:
        return  # in use, or somebody else is removing it

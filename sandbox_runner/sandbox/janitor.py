"""Finds and removes what no living owner uses.

A container outlives its runner when it was paused, not yet started, or Docker itself crashed; a volume may
stay behind it. Both say by their labels who owns them and how long they may live at most (see ``owner``).
What a living process owns is never touched, nor what carries no label of ours, nor what carries our label
without having it from us: inherited from an image, given by hand, or from an image that is gone, so that
nobody can tell.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sandbox_runner.errors import DockerError
from sandbox_runner.sandbox.engine import Engine
from sandbox_runner.sandbox.owner import LABEL, Life, is_claimed, life_of
from sandbox_runner.sandbox.receipt import force_container, force_volume

__all__ = ["Leftover", "Stranger", "clean", "find_leftovers", "find_strangers"]

_RUN = f"{LABEL}.run"
_GONE_S = 10.0
_GLANCE_S = 0.05


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing without a living owner.

    Attributes:
        kind: ``container`` or ``volume``.
        id: Docker's id or name.
        run: the run it belonged to.
        state: of a container: ``running``, ``paused``, ``created``, ...; of a volume ``unused``.
        life: why it counts as left over.
        removed: whether it is gone now.
    """

    kind: str
    id: str
    run: str
    state: str
    life: Life
    removed: bool = False


@dataclass(frozen=True, slots=True)
class Stranger:
    """One thing that carries our label and is not ours to remove; ``kind`` and ``id`` as of a leftover."""

    kind: str
    id: str


def find_leftovers(engine: Engine) -> tuple[Leftover, ...]:
    """Everything of ours that no living process owns, containers first.

    Raises:
        DockerError: Docker does not answer.
    """
    found = []
    for kind, entry in _labelled(engine):
        labels = entry.get("Labels") or {}
        life = life_of(labels)
        if life in {Life.DEAD, Life.OVERDUE} and _is_ours(engine, kind, entry):
            state = str(entry.get("State", "")) if kind == "container" else "unused"
            found.append(Leftover(kind, _name(kind, entry), str(labels[_RUN]), state, life))
    return tuple(found)


def find_strangers(engine: Engine) -> tuple[Stranger, ...]:
    """What carries the label of our runs and is left alone, because no runner of ours has put it there.

    Raises:
        DockerError: Docker does not answer.
    """
    return tuple(
        Stranger(kind, _name(kind, entry))
        for kind, entry in _labelled(engine)
        if not _is_ours(engine, kind, entry)
    )


def clean(engine: Engine, *, dry_run: bool = False) -> tuple[Leftover, ...]:
    """Remove what ``find_leftovers`` finds, paused containers too, and say what came of each.

    Raises:
        DockerError: Docker does not answer.
    """
    found = find_leftovers(engine)
    if dry_run:
        return found
    cleaned = [_removed(engine, leftover) for leftover in found]
    # A volume becomes unused only when its container is gone, so those of the containers above show up now.
    freed = find_leftovers(engine) if any(leftover.kind == "container" for leftover in found) else ()
    known = {leftover.id for leftover in found}
    return (*cleaned, *(_removed(engine, leftover) for leftover in freed if leftover.id not in known))


def _labelled(engine: Engine) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Containers, and volumes that nothing uses, with our label: their kind and how Docker lists them."""
    filters = {"label": _RUN}
    containers = engine.call("list containers", engine.api.containers, all=True, filters=filters)
    yield from (("container", entry) for entry in containers)
    volumes = engine.call("list volumes", engine.api.volumes, filters={**filters, "dangling": True})
    yield from (("volume", entry) for entry in volumes.get("Volumes") or ())


def _name(kind: str, entry: Mapping[str, Any]) -> str:
    return str(entry["Id" if kind == "container" else "Name"])


def _is_ours(engine: Engine, kind: str, entry: Mapping[str, Any]) -> bool:
    inherited: Mapping[str, str] = {}
    if kind == "container":
        image = engine.image(str(entry.get("ImageID", "")))
        if image is None:
            return False
        inherited = (image.get("Config") or {}).get("Labels") or {}
    return is_claimed(entry.get("Labels") or {}, inherited)


def _removed(engine: Engine, leftover: Leftover) -> Leftover:
    force, look = (
        (force_container, engine.container) if leftover.kind == "container" else (force_volume, engine.volume)
    )
    force(engine, leftover.id)
    return replace(leftover, removed=_gone(look, leftover.id))


def _gone(look: Callable[[str], object], name: str) -> bool:
    """Whether Docker forgets it within a bounded time; it says yes to a removal before it is over."""
    end = time.monotonic() + _GONE_S
    while time.monotonic() < end:
        try:
            if look(name) is None:
                return True
        except DockerError:
            return False
        time.sleep(_GLANCE_S)
    return False

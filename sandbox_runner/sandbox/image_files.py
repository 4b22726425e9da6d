"""What is read of an image before a sandbox starts from it: its users, and where paths in it really lead.

A container of it is created for that and removed; nothing in it ever runs. What was read holds for the
image's id for ever, so it is kept: in memory, and in a file for the next process.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sandbox_runner.errors import ConfigurationError, DockerError, ImageError
from sandbox_runner.sandbox.cache import recall, remember
from sandbox_runner.sandbox.engine import Engine, PathFacts
from sandbox_runner.sandbox.images import Image
from sandbox_runner.sandbox.receipt import force_container
from sandbox_runner.sandbox.synthetic import GROUP, PASSWD

__all__ = ["ImageFiles", "read_image"]

_LARGEST = 1 << 20  # bytes of a file that lists users; the longest seen in an image has 4,000
_LARGEST_CACHE = 3 * _LARGEST
_DEEPEST = 256  # names on the way to a place


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """What an image holds.

    Attributes:
        users: its ``/etc/passwd``, each byte a character; empty where it has none.
        groups: its ``/etc/group`` likewise.
        places: from the paths asked about to where they lead once every link is followed; empty for one that
            leads to something that is not a directory.
    """

    users: str
    groups: str
    places: Mapping[str, str]


def read_image(
    engine: Engine,
    image: Image,
    *,
    volumes: Iterable[str],
    ask: Iterable[str],
    labels: Mapping[str, str],
    cache: Path | None,
) -> ImageFiles:
    """Read an image, or recall what was read of it.

    Args:
        engine: the Engine.
        image: the image.
        volumes: absolute paths where it declares volumes; none is made.
        ask: absolute paths in normal form, whose real places are wanted.
        labels: of the container.
        cache: a file that keeps what was read last, ``None`` for memory alone.

    Raises:
        ConfigurationError: the links on the way to a place lead nowhere.
        ImageError: the files that list users are no such files.
        DockerError: Docker refused or did not answer.
    """
    with engine.finding:
        known = engine.findings.get(image.id)
        if not isinstance(known, ImageFiles):
            known = _recall(cache, image.id) or _read(engine, image, tuple(volumes), tuple(ask), labels)
            engine.findings[image.id] = known
            remember(cache, image.id, asdict(known))
    return known


def _read(
    engine: Engine, image: Image, volumes: Iterable[str], ask: Iterable[str], labels: Mapping[str, str]
) -> ImageFiles:
    settings: dict[str, Any] = engine.api.create_container_config(
        image.id, ["true"], network_disabled=True, labels=dict(labels)
    )
    # A file system in memory takes a volume's place, and is only ever mounted where a container starts.
    settings["HostConfig"] = {"NetworkMode": "none", "Tmpfs": dict.fromkeys(volumes, "")}
    created = engine.call(
        "create a container to read an image", engine.api.create_container_from_config, settings
    )
    container = str(created["Id"])

    def facts(path: str) -> PathFacts | None:
        try:
            return engine.path_facts(container, path)
        except DockerError as error:
            raise ConfigurationError(
                f"No sandbox can start from image {image.name}: {path!r} in it leads nowhere. {error}",
                hint="build the image without that link",
            ) from error

    try:
        users, groups = (_listed(engine, container, image, path, facts) for path in (PASSWD, GROUP))
        places = {path: _real(path, facts) for path in ask}
    finally:
        force_container(engine, container)
    return ImageFiles(users.decode("latin-1"), groups.decode("latin-1"), places)


def _listed(
    engine: Engine, container: str, image: Image, path: str, facts: Callable[[str], PathFacts | None]
) -> bytes:
    """What a file of users or groups holds; one that is not there is empty."""
    place = _real(path, facts, last_is_file=True)
    found = facts(place) if place else None
    if place and found is None:
        return b""
    content = engine.read_file(container, place, _LARGEST) if found is not None and found.is_file else None
    if content is None:
        raise ImageError(
            f"No sandbox can start from image {image.name}: its {path} is not a file of up to"
            f" {_LARGEST >> 20} MiB.",
            hint="build the image with a plain file there, or none",
        )
    return content


def _real(path: str, facts: Callable[[str], PathFacts | None], *, last_is_file: bool = False) -> str:
    """Where a path leads once every link is followed; what is not there has no links."""
    place, names = "/", [name for name in path.split("/") if name]
    if len(names) > _DEEPEST:
        return ""
    for number, name in enumerate(names, start=1):
        place = posixpath.join(place, name)
        found = facts(place)
        if found is None:
            return posixpath.join(place, *names[number:])
        if found.link:
            place = posixpath.normpath(found.link)
            found = facts(place)
        if found is not None and not found.is_directory and not (last_is_file and number == len(names)):
            return ""
    return place


def _recall(cache: Path | None, image: str) -> ImageFiles | None:
    """What an earlier process read of an image."""
    document = recall(cache, image, _LARGEST_CACHE)
    try:
        users, groups, places = document["users"], document["groups"], document["places"]
        texts = [users, groups, *places, *places.values()]
        if not all(type(text) is str for text in texts):
            return None
        users.encode("latin-1"), groups.encode("latin-1")
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    return ImageFiles(users, groups, dict(places))

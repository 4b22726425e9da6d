"""The volumes that an image declares, which no sandbox gets; pure.

Docker would make a volume for each that can be written, without limit and on the host's disk, and nothing
makes it leave one out but another mount with the same path. So an empty directory in memory takes the place
of each, or the sandbox's own mount where that has the same path. Docker compares paths as they are written;
where a path leads is decided later, by the runtime, which follows links in the image. An image whose links
would lay one mount over another, or whose volume is in the way of something, is refused.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from sandbox_runner.errors import ConfigurationError
from sandbox_runner.sandbox.confinement import WORKSPACE

__all__ = ["OURS", "asked_for", "covered"]

_EMPTY = "size=4096,mode=0555"
_OPENED = (WORKSPACE, "/tmp")  # noqa: S108 - what the guest opens without following links
OURS = (*_OPENED, "/dev/shm")  # noqa: S108 - what a sandbox mounts itself
"""What every sandbox mounts itself."""
# Nothing works once an empty directory lies over one of these, or over what is above it.
_NEEDED = (
    *OURS,
    *("/bin", "/dev/pts", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr/bin", "/usr/lib"),
)
_CLOSED = (WORKSPACE, "/dev", "/proc", "/sys")  # nothing may lie over a part of these


def asked_for(volumes: Iterable[str]) -> tuple[str, ...]:
    """The paths whose real places must be known to judge volumes, which are in normal form."""
    known = tuple(volumes)
    return tuple(dict.fromkeys((*known, *map(posixpath.dirname, known), *_OPENED)))


def covered(
    image: str, volumes: Iterable[str], real: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """Where an empty directory takes the place of a volume that an image declares, with its mount's options.

    A directory is read-only, unless another volume lies in it: then it has just the inodes that the way there
    uses up.

    Args:
        image: its name.
        volumes: as the image spells them.
        real: from paths in normal form to where links in the image lead, empty for what is not a directory.
            A path that is not in it leads to itself.

    Raises:
        ConfigurationError: there must be something else at that place, or nothing can be.
    """
    _check_own_places(image, real)
    places: dict[str, str] = {}
    for volume in volumes:
        path = "/" + posixpath.normpath(volume).lstrip("/")
        if why := _unfit(volume, path, real):
            raise ConfigurationError(
                f"No sandbox can start from image {image}: it declares a volume at {volume!r}, {why}.",
                hint="build the image without that VOLUME, or with another path; one that is built `FROM "
                f"scratch` with `COPY --from={image} / /` has the same files and declares none",
            )
        if path not in OURS:
            places[path] = real.get(path, path)
    _check_links(image, places)
    return {path: f"{_EMPTY},{_room(place, [*places.values()])}" for path, place in places.items()}


def _check_own_places(image: str, real: Mapping[str, str]) -> None:
    for place in _OPENED:
        if real.get(place, place) != place:
            led = f"a link to {real[place]!r}" if real[place] else "not a directory"
            raise ConfigurationError(
                f"No sandbox can start from image {image}: its {place} is {led}.",
                hint=f"build the image with a directory at {place}, or nothing",
            )


def _unfit(volume: str, path: str, real: Mapping[str, str]) -> str:
    """Why nothing can be at a volume's path, as the end of a sentence; empty where it can."""
    place, folder = real.get(path, path), posixpath.dirname(path)
    if not volume.startswith("/"):
        return "which is not an absolute path"
    if path in OURS:
        return ""
    if not place:
        return "where it has something that is not a directory"
    led = "" if place == path else f"which leads to {place!r}"
    if _in_the_way(place):
        return f"{led}{led and ', '}where the sandbox has something of its own"
    # Runtimes differ in what they make of a link on the way; at its end all of them follow one.
    if led and (real.get(folder, folder) != folder or any(_within(place, our) for our in OURS)):
        return led
    return ""


def _check_links(image: str, places: Mapping[str, str]) -> None:
    """Refuse a volume behind a link that has to do with another one: nobody says which lies over which."""
    for path, place in places.items():
        for other, there in places.items():
            if path not in {place, other} and (_within(place, there) or _within(there, place)):
                raise ConfigurationError(
                    f"No sandbox can start from image {image}: it declares volumes at {other!r} and at"
                    f" {path!r}, which leads to {place!r}.",
                    hint="build the image without one of them, or without the link",
                )


def _room(place: str, places: Sequence[str]) -> str:
    """No room at all, or for the directories between a volume and those that lie in it."""
    between: set[str] = set()
    for inner in places:
        way: list[str] = []
        while inner != place and _within(inner, place):
            way = [inner] if inner in places else [*way, inner]  # beyond another volume, it is that one's way
            inner = posixpath.dirname(inner)  # noqa: PLW2901 - one step up at a time
        between.update(way)
    return f"nr_inodes={1 + len(between)}" if between else "nr_inodes=2,ro"


def _in_the_way(place: str) -> bool:
    covers = any(_within(needed, place) for needed in _NEEDED)
    return covers or any(_within(place, closed) for closed in _CLOSED)


def _within(inner: str, outer: str) -> bool:
    return f"{inner}/".startswith(f"{outer.rstrip('/')}/")

"""Sandbox images: the default one, named by the hash of its recipe, and any other that has Python 3.8+.

Making the default image is in ``build``; this module finds, lists and ensures.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox_runner.errors import ImageError
from sandbox_runner.resources import resource
from sandbox_runner.sandbox.build import Progress, make_image
from sandbox_runner.sandbox.engine import Engine

__all__ = [
    "ENVIRONMENTS",
    "ENVIRONMENT_LABEL",
    "LATEST",
    "REPOSITORY",
    "Image",
    "build_image",
    "default_tag",
    "ensure_image",
    "find_image",
    "layers_of",
    "list_images",
    "one_at_a_time",
]

REPOSITORY = "sandbox-runner/python"
LATEST = f"{REPOSITORY}:latest"
"""The default image under a name that stays: it moves to this version's recipe when that is built or used."""
ENVIRONMENTS = "sandbox-runner/env"
ENVIRONMENT_LABEL = "sandbox-runner.environment"
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}==[A-Za-z0-9][A-Za-z0-9.!+_-]{0,127}")
_MOST_PACKAGES = 2_000
_LABEL_CHARACTERS = 1 << 20
_LOCK_S = 1_800.0  # longer than any build that still goes on
_GLANCE_S = 0.5


@dataclass(frozen=True, slots=True)
class Image:
    """An image a sandbox can start from.

    Attributes:
        name: the name it was asked for by.
        id: digest of its configuration, ``sha256:`` and 64 hex digits; a name may move, this never does.
        size: bytes.
        created: RFC 3339 time, as Docker tells it.
        current: whether it is the default image of this version of the recipe.
        base: what it was built on, empty where unknown.
        volumes: where it declares volumes of its own, which no sandbox gets.
        packages: what an environment (``environments``) has beside our own image, ``name==version``, sorted.
    """

    name: str
    id: str
    size: int
    created: str
    current: bool
    base: str = ""
    volumes: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


def default_tag(recipe: Path | None = None) -> str:
    """The default image's name: its tag is the first 12 hex digits of the SHA-256 over names and contents."""
    return _shipped_tag() if recipe is None else _tag_of(recipe)


@functools.cache
def _shipped_tag() -> str:
    return _tag_of(resource("images", "python"))


def _tag_of(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return f"{REPOSITORY}:{digest.hexdigest()[:12]}"


def find_image(engine: Engine, name: str, *, remembered: bool = False) -> Image | None:
    """The image of that name, or ``None``; with ``remembered`` what it was when it was last looked up."""
    found = engine.image(name, remembered=remembered)
    if found is None:
        return None
    config = found.get("Config") or {}
    labels = config.get("Labels") or {}
    return Image(
        name=name,
        id=str(found["Id"]),
        size=int(found.get("Size", 0)),
        created=str(found.get("Created", "")),
        current=name == default_tag(),
        base=str(labels.get("sandbox-runner.base", "")),
        volumes=tuple(config.get("Volumes") or ()),
        packages=_packages(labels, len(layers_of(found))),
    )


def layers_of(image: Mapping[str, Any] | None) -> list[str]:
    """The digests of an image's layers, the lowest first, from what Docker tells of it."""
    return list(((image or {}).get("RootFS") or {}).get("Layers") or ())


def _packages(labels: Mapping[str, str], layers: int) -> tuple[str, ...]:
    """The packages that an image's label names; anybody's image may carry one, so it may say anything.

    An image built on an environment inherits the label, and may have changed what it tells of: it has more
    layers than the label counts.
    """
    label = str(labels.get(f"{ENVIRONMENT_LABEL}.packages", "[]"))
    if str(labels.get(f"{ENVIRONMENT_LABEL}.layers")) != str(layers):
        return ()
    try:
        listed = json.loads(label) if len(label) <= _LABEL_CHARACTERS else []
        names = [str(name) for name, _digest in listed[:_MOST_PACKAGES]]
    except (ValueError, TypeError, LookupError, RecursionError):
        return ()
    return tuple(sorted(name for name in names if _PACKAGE.fullmatch(name)))


def build_image(engine: Engine, *, base: str | None = None, on_progress: Progress | None = None) -> Image:
    """Build the default image, whether it is there or not.

    Args:
        engine: where to build.
        base: a Debian image to build on, local or of a registry; by default a registry's Debian where one
            answers within a bounded wait, else one made from Debian's packages.
        on_progress: called with one line of text for each thing that happens.

    Raises:
        ImageError: with the last words of what failed, and the way out.
    """
    make_image(engine, default_tag(), base=base, on_progress=on_progress)
    return _latest(engine, _present(engine, default_tag()))


def _latest(engine: Engine, image: Image) -> Image:
    """Let the name that stays mean this image."""
    if (engine.image(LATEST) or {}).get("Id") != image.id:
        repository, _, tag = LATEST.rpartition(":")
        engine.call("name an image", engine.api.tag, image.id, repository, tag=tag, force=True)
    return image


def ensure_image(
    engine: Engine,
    name: str | None = None,
    *,
    remembered: bool = False,
    on_progress: Progress | None = None,
) -> Image:
    """Find an image; build the default one (``name`` None) where it is missing, which takes about a minute.

    With ``remembered`` an image that was found before is taken for granted: whoever starts a container from
    it has to see which one it got.

    Raises:
        ImageError: a named image is not there, or the default one cannot be built.
    """
    if name is not None and name != LATEST:
        return _present(engine, name, remembered=remembered)
    found = find_image(engine, default_tag(), remembered=remembered)
    if found is None:
        with one_at_a_time():
            # Whoever held the lock may have built it meanwhile.
            found = find_image(engine, default_tag()) or build_image(engine, on_progress=on_progress)
    return found if remembered else _latest(engine, found)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Two first runs at once build one image; a lock that cannot be had only costs the second build."""
    path = Path(tempfile.gettempdir(), f"sandbox-runner-build-{os.getuid()}.lock")
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        yield
        return
    try:
        end = time.monotonic() + _LOCK_S
        while not _locked(lock) and time.monotonic() < end:
            time.sleep(_GLANCE_S)
        yield
    finally:
        os.close(lock)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _present(engine: Engine, name: str, *, remembered: bool = False) -> Image:
    image = find_image(engine, name, remembered=remembered)
    if image is None:
        raise ImageError(
            f"There is no image {name} on this Docker Engine.",
            hint=f"get it with `docker pull {name}`, or leave --image out to use the default image",
        )
    return image


def list_images(engine: Engine) -> tuple[Image, ...]:
    """Every image made by this recipe in any version, and every environment, the newest first."""
    listed = [
        *engine.call("list images", engine.api.images, name=REPOSITORY),
        *engine.call("list images", engine.api.images, name=ENVIRONMENTS),
    ]
    tags = {tag for entry in listed for tag in entry.get("RepoTags") or ()}
    names = {tag for tag in tags if re.fullmatch(f"({REPOSITORY}|{ENVIRONMENTS}):[0-9a-f]{{12}}", tag)}
    found = (find_image(engine, name) for name in names)
    return tuple(sorted((image for image in found if image), key=lambda image: image.created, reverse=True))

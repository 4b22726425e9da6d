"""One container from creation to its guest's first words: create, attach, start."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker.errors import ImageNotFound
from docker.types import Healthcheck

from sandbox_runner.errors import ConfigurationError, DockerError, ImageChangedError, ImageError
from sandbox_runner.guest.bundle import COMMAND
from sandbox_runner.policy.schema import Resources
from sandbox_runner.sandbox.classify import Cause, classify
from sandbox_runner.sandbox.confinement import SOCKET_SHARE, WORKSPACE, clip, host_config, terminals
from sandbox_runner.sandbox.engine import Attachment, Engine
from sandbox_runner.sandbox.images import Image
from sandbox_runner.sandbox.owner import owner_labels
from sandbox_runner.sandbox.receipt import remove
from sandbox_runner.sandbox.spec import SandboxSpec

__all__ = ["Container", "image_changed", "launch"]

# The guest speaks UTF-8 without a locale (``-X utf8``): one is three more files of a cold image to read.
_ENVIRONMENT = {"LC_ALL": "C"}
_HOSTNAME = "sandbox"  # the same everywhere, because a test may print it
# Where cgroup v1 has a container's memory group, as Docker's two drivers name it.
_GROUPS = (
    "/sys/fs/cgroup/memory/docker/{}",
    "/sys/fs/cgroup/memory/system.slice/docker-{}.scope",
)
_EMPTY = "size=4096,mode=0555"
_OURS = (WORKSPACE, "/tmp", "/dev/shm")  # noqa: S108 - what a sandbox mounts itself
# Nothing works once an empty directory lies over one of these, or over what is above it.
_NEEDED = (
    *_OURS,
    *("/bin", "/dev/pts", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr/bin", "/usr/lib"),
)
_CLOSED = (WORKSPACE, "/dev", "/proc", "/sys")  # nothing may lie over a part of these


@dataclass(frozen=True, slots=True)
class Container:
    """A started container, its stream, and the limits it got."""

    id: str
    attachment: Attachment
    resources: Resources


def launch(
    engine: Engine,
    spec: SandboxSpec,
    *,
    image: Image,
    runtime: str,
    uid: int,
    command: tuple[str, ...] = COMMAND,
) -> Container:
    """Create a container, attach to it, start it. Nothing is left behind when that fails.

    Args:
        engine: the Engine.
        spec: what is asked for.
        image: what to start.
        runtime: a runtime that the Engine knows.
        uid: the uid that the guest will wear.
        command: the arguments of process 1, the guest's by default.

    Raises:
        ConfigurationError: limits that cannot work, or an image that declares a volume where the sandbox has
            something of its own.
        ImageError: the image has no Python, or (``ImageChangedError``) is gone.
        DockerError: Docker refused or did not answer.
    """
    resources = clip(spec.resources, engine.machine())
    try:
        settings = _settings(engine, spec, resources, image=image, runtime=runtime, uid=uid)
    except ConfigurationError as error:
        if (engine.image(image.name) or {}).get("Id") != image.id:
            raise image_changed(image) from error  # it was remembered, and may be mended
        raise
    settings["Entrypoint"] = list(command)
    try:
        created = engine.call("create a container", engine.api.create_container_from_config, settings)
    except DockerError as error:
        if isinstance(error.__cause__, ImageNotFound):
            raise image_changed(image) from error
        raise
    container = str(created["Id"])
    attachment: Attachment | None = None
    try:
        attachment = engine.attach(container)
        engine.call("start a container", engine.api.start, container)
        _bound_sockets(container, resources)
    except BaseException as error:
        if attachment is not None:
            attachment.close()
        fault = _start_fault(image, error)
        remove(engine, container, (), patience_s=0.1)
        raise fault from error
    return Container(container, attachment, resources)


def _bound_sockets(container: str, resources: Resources) -> None:
    """Under cgroup v1 limit what sockets of TCP and UDP hold, which the memory limit there does not count.

    Docker and runc know no such limit any more, so it is written here, before the guest has its code, where
    the Engine's groups are this machine's and may be written. Else ``doctor`` says that it does not hold.
    """
    for group in _GROUPS:
        try:
            with Path(group.format(container), "memory.kmem.tcp.limit_in_bytes").open("w") as file:
                file.write(str(resources.memory // SOCKET_SHARE))
        except OSError:
            continue


def image_changed(image: Image) -> ImageChangedError:
    """The error for an image that is no longer what it was found to be."""
    return ImageChangedError(
        f"The image {image.name} was changed or removed while a sandbox was started from it.",
        hint="try again once nothing rebuilds or removes it",
    )


def _settings(
    engine: Engine, spec: SandboxSpec, resources: Resources, *, image: Image, runtime: str, uid: int
) -> dict[str, Any]:
    labels = {**spec.labels, **owner_labels(spec.run_id, lifetime_s=spec.deadlines.lifetime)}
    host = host_config(
        resources,
        runtime=runtime,
        uid=uid,
        labels=labels,
        bind=spec.bind,
        writes=spec.writes,
        core_limit=engine.machine().core_limit,
    )
    host["Mounts"] += terminals(runtime, labels)
    host["Tmpfs"].update(covered(image.name, image.volumes))
    settings: dict[str, Any] = engine.api.create_container_config(
        image.name,
        [],
        # Without ``detach`` docker-py also sets StdinOnce: the stream's end is the end of the guest's stdin.
        stdin_open=True,
        detach=False,
        tty=False,
        network_disabled=True,
        hostname=_HOSTNAME,
        user="0:0",
        working_dir="/",
        environment=_ENVIRONMENT,
        labels=labels,
        # An image's own check would run programs beside the guest.
        healthcheck=Healthcheck(test=["NONE"]),
    )
    settings["HostConfig"] = host
    return settings


def covered(image: str, volumes: Iterable[str]) -> dict[str, str]:
    """Where an empty directory takes the place of a volume that an image declares, with its mount's options.

    Docker would make a volume that can be written, without limit and on the host's disk. Where the sandbox
    has a mount of its own, that one stands already. A directory is read-only, unless another volume lies in
    it: then it has just the inodes that the way there uses up.

    Raises:
        ConfigurationError: there must be something else at that place.
    """
    places = []
    for volume in volumes:
        place = "/" + posixpath.normpath(volume).lstrip("/")
        if not volume.startswith("/") or (place not in _OURS and _in_the_way(place)):
            raise ConfigurationError(
                f"No sandbox can start from image {image}: it declares a volume at {volume!r}, where the "
                "sandbox has something of its own.",
                hint="build the image without that VOLUME, or with another path",
            )
        if place not in _OURS:
            places.append(place)
    return {place: f"{_EMPTY},{_room(place, places)}" for place in places}


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


def _start_fault(image: Image, error: BaseException) -> BaseException:
    """The error that names the cause of a failed start."""
    if isinstance(error, DockerError):
        finding = classify(None, start_error=str(error))
        if finding.cause is Cause.NO_PYTHON:
            return ImageError(
                f"No sandbox can start from image {image.name}: {finding.sentence}.", hint=finding.hint
            )
    return error

"""One container from creation to its guest's first words: create, attach, start."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker.errors import ImageNotFound
from docker.types import Healthcheck, Mount

from sandbox_runner.errors import ConfigurationError, DockerError, ImageChangedError, ImageError
from sandbox_runner.guest.bundle import COMMAND
from sandbox_runner.policy.schema import Resources
from sandbox_runner.sandbox.classify import Cause, classify
from sandbox_runner.sandbox.confinement import MASKED, SOCKET_SHARE, clip, host_config, terminals
from sandbox_runner.sandbox.engine import Attachment, Engine
from sandbox_runner.sandbox.image_files import ImageFiles, read_image
from sandbox_runner.sandbox.images import Image
from sandbox_runner.sandbox.owner import owner_labels
from sandbox_runner.sandbox.receipt import remove
from sandbox_runner.sandbox.spec import SandboxSpec
from sandbox_runner.sandbox.synthetic import HOSTNAME, bound, kernel_files, name_files
from sandbox_runner.sandbox.volumes import OURS, asked_for, covered

__all__ = ["Container", "image_changed", "launch"]

_log = logging.getLogger(__name__)
# The guest speaks UTF-8 without a locale (``-X utf8``): one is three more files of a cold image to read.
_ENVIRONMENT = {"LC_ALL": "C"}
# Where cgroup v1 has a container's memory group, as Docker's two drivers name it.
_GROUPS = (
    "/sys/fs/cgroup/memory/docker/{}",
    "/sys/fs/cgroup/memory/system.slice/docker-{}.scope",
)


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
        inside = _look_into(engine, spec, image)
        settings = _settings(engine, spec, resources, image=image, runtime=runtime, uid=uid, inside=inside)
    except (ConfigurationError, ImageError) as error:
        if _is_another(engine, image):
            raise image_changed(image) from error  # it was remembered, and may be mended
        raise
    except DockerError as error:
        _notice_change(image, error)
        raise
    settings["Entrypoint"] = list(command)
    names = name_files(uid, inside.users.encode("latin-1"), inside.groups.encode("latin-1"))
    with bound(
        {**names, **kernel_files(resources, engine.machine())} if engine.shares_files else {}
    ) as files:
        container = _create(engine, image, settings, files)
        return Container(container, _start(engine, image, container, resources), resources)


def _create(engine: Engine, image: Image, settings: dict[str, Any], files: list[Mount]) -> str:
    """Create a container with these files in it, or without where the Engine is on another machine."""
    host = settings["HostConfig"]
    given = {str(mount["Target"]) for mount in files}
    bare = {**settings, "HostConfig": {**host, "Mounts": list(host["Mounts"]), "MaskedPaths": list(MASKED)}}
    host["Mounts"] += files
    host["MaskedPaths"] = [path for path in MASKED if path not in given]
    try:
        created = engine.call("create a container", engine.api.create_container_from_config, settings)
    except DockerError as error:
        if any(str(mount["Source"]) in str(error) for mount in files):
            engine.shares_files = False
            _log.warning(
                "Docker does not see the files of this machine: in sandboxes their user has no name,"
                " and files of /proc that tell about the host are empty"
            )
            return _create(engine, image, bare, [])
        _notice_change(image, error)
        raise
    return str(created["Id"])


def _notice_change(image: Image, error: DockerError) -> None:
    if isinstance(error.__cause__, ImageNotFound):
        raise image_changed(image) from error


def _start(engine: Engine, image: Image, container: str, resources: Resources) -> Attachment:
    """Attach to a container and start it; one that cannot be started is removed."""
    attachment: Attachment | None = None
    try:
        attachment = engine.attach(container)
        engine.call("start a container", engine.api.start, container)
        _bound_sockets(container, resources)
    except BaseException as error:
        if attachment is not None:
            attachment.close()
        fault = _start_fault(engine, image, error)
        remove(engine, container, (), patience_s=0.1)
        raise fault from error
    return attachment


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


def _look_into(engine: Engine, spec: SandboxSpec, image: Image) -> ImageFiles:
    """What the image holds, as far as a start from it must know."""
    volumes = covered(image.name, image.volumes)  # where they cannot be, Docker is not even asked
    return read_image(
        engine,
        image,
        volumes=[*volumes, *OURS],
        ask=asked_for(volumes),
        labels=_labels(spec),
        cache=spec.runtime_cache and spec.runtime_cache.with_name("image.json"),
    )


def _labels(spec: SandboxSpec) -> dict[str, str]:
    return {**spec.labels, **owner_labels(spec.run_id, lifetime_s=spec.deadlines.lifetime)}


def _settings(
    engine: Engine,
    spec: SandboxSpec,
    resources: Resources,
    *,
    image: Image,
    runtime: str,
    uid: int,
    inside: ImageFiles,
) -> dict[str, Any]:
    labels = _labels(spec)
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
    host["Tmpfs"].update(covered(image.name, image.volumes, inside.places))
    settings: dict[str, Any] = engine.api.create_container_config(
        image.name,
        [],
        # Without ``detach`` docker-py also sets StdinOnce: the stream's end is the end of the guest's stdin.
        stdin_open=True,
        detach=False,
        tty=False,
        network_disabled=True,
        hostname=HOSTNAME,
        user="0:0",
        working_dir="/",
        environment=_ENVIRONMENT,
        labels=labels,
        # An image's own check would run programs beside the guest.
        healthcheck=Healthcheck(test=["NONE"]),
    )
    settings["HostConfig"] = host
    return settings


def _is_another(engine: Engine, image: Image) -> bool:
    """Whether the name means another image by now than the one that was remembered."""
    return (engine.image(image.name) or {}).get("Id") != image.id


def _start_fault(engine: Engine, image: Image, error: BaseException) -> BaseException:
    """The error that names the cause of a failed start."""
    if isinstance(error, DockerError):
        try:
            if _is_another(engine, image):
                return image_changed(image)
        except DockerError:
            return error  # it answers nothing any more
        finding = classify(None, start_error=str(error))
        if finding.cause is Cause.NO_PYTHON:
            lacks = (
                f"; a sandbox gets none of its volumes ({', '.join(image.volumes)})" if image.volumes else ""
            )
            return ImageError(
                f"No sandbox can start from image {image.name}: {finding.sentence}{lacks}.", hint=finding.hint
            )
    return error

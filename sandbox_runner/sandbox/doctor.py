"""Facts about this machine's Docker: whether a sandbox can run here, and how safely."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sandbox_runner.errors import SandboxRunnerError
from sandbox_runner.sandbox.engine import Engine
from sandbox_runner.sandbox.images import Image, default_tag, find_image
from sandbox_runner.sandbox.isolation import look_inside
from sandbox_runner.sandbox.janitor import find_leftovers
from sandbox_runner.sandbox.runtimes import STRONGEST_FIRST

__all__ = ["Check", "Health", "probe"]

_OLDEST_API = (1, 41)  # Engine 20.10


class Health(StrEnum):
    """How a check came out."""

    GOOD = "good"
    NOTE = "note"  # works, but a person should know
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Check:
    """One fact.

    Attributes:
        name: what was looked at, for example ``docker`` or ``runtime runsc``.
        health: how it came out.
        detail: one sentence.
        hint: the way out, where there is a problem.
    """

    name: str
    health: Health
    detail: str
    hint: str | None = None


def probe(connect: Callable[[], Engine] = Engine.connect, *, image: str | None = None) -> Iterator[Check]:
    """Look at everything a sandbox needs, one check after the other; starts a container for each runtime.

    Never raises for what it finds; a problem is a check with a way out.
    """
    try:
        engine = connect()
        version, info = engine.version(), engine.info()
    except SandboxRunnerError as error:
        yield Check("docker", Health.BAD, str(error), error.hint)
        return
    yield _docker(version)
    yield _cgroup(info)
    found = find_image(engine, image or default_tag())
    if found is None:
        hint = "`sandbox-runner image build` makes it, and so does the first run" if image is None else None
        yield Check("image", Health.NOTE, f"There is no image {image or default_tag()}.", hint)
    else:
        yield Check("image", Health.GOOD, f"{found.name}, {found.size >> 20} MiB, {found.id[7:19]}.")
    for name in dict.fromkeys((*STRONGEST_FIRST, *sorted(info.get("Runtimes") or ()))):
        if name == "io.containerd.runc.v2":
            continue  # Docker's other name for runc
        yield _runtime(engine, info, name, found)
    yield _leftovers(engine)


def _docker(version: Mapping[str, Any]) -> Check:
    told = "Engine {Version}, API {ApiVersion}, {Arch}".format_map({"Arch": "?", **version})
    parts = str(version.get("ApiVersion", "0")).split(".")
    if all(part.isdigit() for part in parts) and tuple(map(int, parts)) < _OLDEST_API:
        return Check("docker", Health.BAD, f"{told} is too old.", "install Docker Engine 20.10 or newer")
    return Check("docker", Health.GOOD, f"{told}.")


def _cgroup(info: Mapping[str, Any]) -> Check:
    version = str(info.get("CgroupVersion", "1"))
    missing = [
        name
        for name, key in (("memory", "MemoryLimit"), ("processes", "PidsLimit"), ("cpus", "CpuCfsQuota"))
        if info.get(key) is False
    ]
    if missing:
        return Check(
            "cgroups",
            Health.BAD,
            f"Version {version} without limits for {', '.join(missing)}.",
            "delegate these controllers to Docker (rootless Docker needs cgroup v2 and systemd)",
        )
    return Check("cgroups", Health.GOOD, f"Version {version}; memory, processes and cpus can be limited.")


def _runtime(engine: Engine, info: Mapping[str, Any], name: str, image: Image | None) -> Check:
    title = f"runtime {name}"
    if name not in (info.get("Runtimes") or {}):
        detail = "Not registered with Docker; sandboxes share the host's kernel."
        return Check(title, Health.NOTE, detail, "install gVisor and register runsc in Docker's daemon.json")
    if image is None:
        return Check(title, Health.NOTE, "Registered; not tried, because there is no image yet.")
    try:
        isolation = look_inside(engine, image=image, runtime=name)
    except SandboxRunnerError as error:
        return Check(title, Health.BAD, f"Cannot start a sandbox: {error}", error.hint)
    if not isolation.ok:
        hint = "do not run untrusted trails with it; see Docker's security options"
        return Check(title, Health.BAD, f"{'; '.join(isolation.problems)}.", hint)
    told = "only a loopback, three capabilities, read-only root"
    extra = isolation.notes or ("system calls filtered", "no new privileges", "host facts masked")
    return Check(
        title, Health.GOOD, f"Starts; {'; '.join((told, *extra))}; kernel {isolation.facts['kernel']}."
    )


def _leftovers(engine: Engine) -> Check:
    try:
        found = find_leftovers(engine)
    except SandboxRunnerError as error:
        return Check("leftovers", Health.BAD, str(error), error.hint)
    if found:
        return Check(
            "leftovers",
            Health.NOTE,
            f"{len(found)} without a living owner.",
            "`sandbox-runner clean` removes them",
        )
    return Check("leftovers", Health.GOOD, "None.")

"""Makes the default sandbox image from the recipe in ``images/python``.

The base comes from a registry where one answers within a bounded wait, else from Debian's packages: a root
file system made by mmdebstrap, imported as an image. The recipe then turns either into the sandbox's image.
Each step says in one sentence what is done and why.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from sandbox_runner.errors import DockerError, ImageError
from sandbox_runner.resources import resource
from sandbox_runner.sandbox.engine import Engine
from sandbox_runner.sandbox.temporary import temporary_folder

__all__ = ["REGISTRY_BASE", "Progress", "make_image"]

REGISTRY_BASE = "debian:bookworm-slim"
SUITE = "bookworm"
REGISTRY_ANSWER_S = 20  # how long a registry may stay silent before Debian's packages are used
REGISTRY_TOTAL_S = 300
BOOTSTRAP_S = 900
BUILD_S = 900

Progress = Callable[[str], None]


def make_image(
    engine: Engine, tag: str, *, base: str | None = None, on_progress: Progress | None = None
) -> None:
    """Build the default image and give it its tag.

    Args:
        engine: where to build.
        tag: the image's name, see ``images.default_tag``.
        base: a Debian image to build on, local or of a registry; ``None`` chooses.
        on_progress: called with one line of text for each thing that happens.

    Raises:
        ImageError: with the last words of what failed, and the way out.
    """
    say = on_progress or (lambda _line: None)
    recipe = resource("images", "python")
    if base is not None:
        if engine.image(base) is None:
            _pull(base, say)
        _build(engine, recipe, tag, base, base, say=say)
        return
    try:
        _pull(REGISTRY_BASE, say)
    except ImageError as error:
        say(f"{error} The base is made from Debian's packages with mmdebstrap instead, in about a minute.")
        bootstrapped = _bootstrap(engine, recipe, tag, say)
        try:
            _build(engine, recipe, tag, bootstrapped, f"mmdebstrap {SUITE}", say=say)
        finally:
            engine.find("remove the bootstrapped base", engine.api.remove_image, bootstrapped)
    else:
        _build(engine, recipe, tag, REGISTRY_BASE, REGISTRY_BASE, say=say)


def _pull(name: str, say: Progress) -> None:
    """Get an image from a registry, or say in a sentence why not."""
    repository, _, tag = name.rpartition(":") if ":" in name.rsplit("/", 1)[-1] else (name, "", "latest")
    say(f"Asking the registry for {name}, for at most {REGISTRY_ANSWER_S} s of silence.")
    impatient = Engine.connect(deadline_s=REGISTRY_ANSWER_S)
    try:
        events = impatient.stream(
            f"pull {name}",
            REGISTRY_TOTAL_S,
            impatient.api.pull,
            repository,
            tag=tag,
            stream=True,
            decode=True,
        )
        for event in events:
            if "error" in event:
                raise ImageError(f"The registry did not give {name}: {event['error']}.")
    except DockerError as error:
        raise ImageError(f"The registry did not give {name}: {error}") from error
    finally:
        impatient.close()


def _bootstrap(engine: Engine, recipe: Path, tag: str, say: Progress) -> str:
    """Make a Debian root with the recipe's packages, import it, and return the image's name."""
    program = _mmdebstrap(say)
    packages = ",".join((recipe / "packages").read_text().split())
    excluded = [f"--dpkgopt=path-exclude={line}/*" for line in (recipe / "excludes").read_text().split()]
    # A machine's own name and resolver have no place in an image.
    hooks = [f'--customize-hook=: >"$1/etc/{name}"' for name in ("hostname", "resolv.conf", "machine-id")]
    with temporary_folder() as folder:
        root = folder / "root.tar"
        command = [program, "--variant=minbase", f"--include={packages}", *excluded, *hooks, SUITE, str(root)]
        say(f"Making a Debian root with {packages}.")
        _run(command, BOOTSTRAP_S, say)
        name = f"{tag}-base-{secrets.token_hex(4)}"
        say("Importing it into Docker.")
        repository, _, version = name.rpartition(":")
        engine.call("import a base", engine.api.import_image_from_file, str(root), repository, version)
        if engine.image(name) is None:
            raise ImageError("Docker did not import the base that mmdebstrap made.")
    return name


def _mmdebstrap(say: Progress) -> str:
    """Where mmdebstrap is; as root on Debian it is installed where missing."""
    found = shutil.which("mmdebstrap")
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        say("Installing mmdebstrap.")
        _run(["apt-get", "update", "--quiet"], BOOTSTRAP_S, say)
        _run(["apt-get", "install", "--yes", "--no-install-recommends", "mmdebstrap"], BOOTSTRAP_S, say)
        found = shutil.which("mmdebstrap")
    if found is None:
        raise ImageError(
            "The sandbox image cannot be built: no registry answers and mmdebstrap is not installed.",
            hint="install it (`sudo apt-get install mmdebstrap`), or give a Debian image with "
            "`sandbox-runner image build --base IMAGE`",
        )
    return found


def _run(command: list[str], deadline_s: float, say: Progress) -> None:
    """Run a program of the host's, passing its lines on; the last ones explain a failure."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "SOURCE_DATE_EPOCH": "0"}
    last: deque[str] = deque(maxlen=5)
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
    ) as process:
        timer = threading.Timer(deadline_s, process.kill)
        timer.start()
        try:
            for line in process.stdout or ():
                last.append(line.strip())
                say(line.strip()[:200])
        finally:
            timer.cancel()
    if process.returncode != 0:
        raise ImageError(f"{Path(command[0]).name} failed with exit {process.returncode}: {' | '.join(last)}")


def _build(engine: Engine, recipe: Path, tag: str, base: str, origin: str, *, say: Progress) -> None:
    """Run the recipe on a base that is there."""
    say(f"Building {tag} on {base}.")
    labels = {"sandbox-runner.recipe": tag.rpartition(":")[2], "sandbox-runner.base": origin}
    build = secrets.token_hex(8)
    options = {"path": str(recipe), "tag": tag, "buildargs": {"BASE": base, "BUILD": build}, "labels": labels}
    last = ""
    for event in engine.stream(
        "build the image",
        BUILD_S,
        engine.api.build,
        **options,
        rm=True,
        forcerm=True,
        decode=True,
        timeout=BUILD_S,
    ):
        line = str(event.get("stream") or event.get("error") or "").strip()
        if "error" in event:
            raise ImageError(
                f"The image cannot be built on {base}: {line} ({last})",
                hint="the base must be Debian 12 or newer that can reach Debian's packages",
            )
        if line:
            last = line
            say(line[:200])
    _forget_stage(engine, build)


def _forget_stage(engine: Engine, build: str) -> None:
    """Remove the first stage of one build, which nothing uses any more."""
    filters = {"label": f"sandbox-runner.build={build}", "dangling": True}
    found = engine.call("list images", engine.api.images, filters=filters)
    for entry in found:
        engine.find("remove a build stage", engine.api.remove_image, entry["Id"])

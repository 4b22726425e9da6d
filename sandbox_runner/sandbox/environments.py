"""Images with a project's dependencies: one layer over another image, named by the digest of what is in it.

Theory of operation. The base image's Python says what it is from a confined container. The host's pip fetches
wheels for it (``wheels``). They go into a container of the base without a network, without capabilities, with
the sandboxes' system calls; there pip unpacks them beside each other into an empty root and compiles them. No
code of theirs runs. What lies in that root becomes one layer over the base. The tag is set last, by the build
that ends well, so nothing half can be taken for whole. A second tag, made from what was asked, finds the
environment again without asking an index.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import re
import tarfile
import tempfile
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from docker.types import Ulimit

from sandbox_runner.errors import ConfigurationError, DockerError, ImageError
from sandbox_runner.sandbox.build import Progress
from sandbox_runner.sandbox.confinement import MASKED, READ_ONLY, seccomp
from sandbox_runner.sandbox.engine import Engine
from sandbox_runner.sandbox.images import (
    ENVIRONMENT_LABEL,
    ENVIRONMENTS,
    Image,
    find_image,
    layers_of,
    one_at_a_time,
)
from sandbox_runner.sandbox.isolation import ask_inside
from sandbox_runner.sandbox.owner import owner_labels
from sandbox_runner.sandbox.receipt import force_container
from sandbox_runner.sandbox.requirements import Demands
from sandbox_runner.sandbox.spec import new_run_id
from sandbox_runner.sandbox.temporary import temporary_folder
from sandbox_runner.sandbox.wheels import PLATFORM_PROGRAM, Platform, Wheel, fetch_wheels

__all__ = ["add_environment", "ensure_environment"]

_INSTALL_S = 900
_LAYER_BYTES = 16 << 30
_MEMORY = 2 << 30
_PLACE = "/.sandbox-runner"
_LABEL = ENVIRONMENT_LABEL
_DISPLACED = 3  # exit status

# Runs in the base's Python, with ``_PLACE`` and ``_DISPLACED`` as its arguments. pip is the image's own, or
# the host's where it has none. Of what is there already only scripts of Python and data may be replaced: what
# stands in front of python3, git or the standard library would answer in the guest's place.
_INSTALL = """
import compileall, os, py_compile, runpy, shutil, sys
place, displaced = sys.argv[1:]
library = [entry for entry in sys.path if entry.startswith("/") and not entry.endswith("-packages")]
data = tuple(os.path.join(sys.prefix, name, "") for name in ("share", "etc", "include"))
root = place + "/root"
os.mkdir(root)
os.environ.update(PIP_BREAK_SYSTEM_PACKAGES="1", PIP_ROOT_USER_ACTION="ignore", PIP_CONFIG_FILE=os.devnull)
os.environ.update(HOME=place, TMPDIR=place)
try:
    import pip
except ImportError:
    sys.path.insert(0, place)
sys.argv = ["pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir", "--no-index",
    "--no-deps", "--ignore-installed", "--no-compile", "--no-warn-script-location", "--require-hashes",
    "--root", root, "--find-links", place + "/wheels", "-r", place + "/wanted.txt"]
try:
    runpy.run_module("pip", run_name="__main__", alter_sys=True)
except SystemExit as end:
    if end.code:
        raise
def is_script(path):
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        line = file.readline(300)
    return line.startswith(b"#!") and b"python" in line
def displaces(path):
    if {"site-packages", "dist-packages"} & set(path.split("/")) or path.startswith(data):
        return None
    if any(path == entry or path.startswith(entry + "/") for entry in library):
        return "standard library"
    known = [path]
    if os.path.dirname(path) in os.get_exec_path():
        known.append(shutil.which(os.path.basename(path)) or path)
    return next((old for old in known if os.path.lexists(old) and not is_script(old)), None)
for folder, _, names in os.walk(root):
    for path in (os.path.join(folder, name)[len(root):] for name in names):
        old = displaces(path)
        if old is not None:
            sys.stderr.write(path + " would take the place of the image's own " + old + "\\n")
            sys.exit(int(displaced))
options = {"stripdir": root, "prependdir": "/"} if sys.version_info >= (3, 9) else {}
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
options.update(maxlevels=30, quiet=2, workers=os.cpu_count() or 1, invalidation_mode=mode)
compileall.compile_dir(root, **options)
"""


def add_environment(
    engine: Engine,
    demands: Demands,
    *,
    base: Image,
    name: str | None = None,
    on_progress: Progress | None = None,
) -> Image:
    """The environment that the demands come to now; built where it is not there yet.

    Args:
        engine: where to build.
        demands: what is to be in it, see ``read_demands``.
        base: the image to build on.
        name: a further name for it.
        on_progress: called with one line of text for each thing that happens.

    Raises:
        ConfigurationError: the demands do not fit the base, or ``name`` is no name of an image.
        ImageError: packages cannot be fetched or installed; the text says which and what to do.
        DockerError: Docker refused or did not answer.
    """
    say = on_progress or (lambda _line: None)
    platform = _platform(engine, base)
    try:
        with temporary_folder() as folder:
            say(f"Fetching wheels for Python {platform.python} with pip.")
            wheels = fetch_wheels(demands, platform, folder)
            built = _ensured(engine, base, demands.kind, wheels, folder, say)
    except OSError as error:
        raise ImageError(f"The environment cannot be made: {error.strerror or error}.") from error
    _tag(engine, built.id, _asked(base, demands))
    if name is not None:
        try:
            _tag(engine, built.id, name)
        except DockerError as error:
            raise ConfigurationError(f"{name!r} cannot be the name of an image: {error}") from error
    return built


def ensure_environment(
    engine: Engine, demands: Demands, *, base: Image, on_progress: Progress | None = None
) -> Image:
    """The environment that was made for these very demands on this base; made now where there is none.

    Raises:
        ImageError: and what else ``add_environment`` raises.
    """
    known = engine.image(_asked(base, demands))
    tags = (known or {}).get("RepoTags") or ()
    for tag in tags:
        found = _known(engine, base, tag) if re.fullmatch(f"{ENVIRONMENTS}:[0-9a-f]{{12}}", tag) else None
        if found is not None:
            return found
    return add_environment(engine, demands, base=base, on_progress=on_progress)


def _asked(base: Image, demands: Demands) -> str:
    """The tag by which the same question finds its answer."""
    digest = sha256(f"{base.id} {demands.canonical()}".encode()).hexdigest()
    return f"{ENVIRONMENTS}:asked-{digest}"


def _platform(engine: Engine, base: Image) -> Platform:
    answer = ask_inside(engine, PLATFORM_PROGRAM, image=base, runtime="runc")
    try:
        return Platform.parse(json.loads(answer))
    except (ValueError, LookupError, TypeError) as error:
        raise ImageError(f"The Python of image {base.name} did not say which one it is.") from error


def _ensured(  # noqa: PLR0917 - a step of one function
    engine: Engine, base: Image, kind: str, wheels: tuple[Wheel, ...], folder: Path, say: Progress
) -> Image:
    listed = [[str(wheel), wheel.sha256] for wheel in wheels]
    names = {wheel.name for wheel in wheels}
    listed += [[below, ""] for below in base.packages if below.partition("==")[0] not in names]
    digest = _digest(base, listed)
    tag = f"{ENVIRONMENTS}:{digest[:12]}"
    with one_at_a_time():
        if _known(engine, base, tag) is None:
            _forget_parts(engine)
            say(f"Installing {len(wheels)} packages on {base.name}, without a network.")
            layer = folder / "layer.tar"
            _install(engine, base, wheels, layer)
            labels = {
                _LABEL: digest,
                f"{_LABEL}.source": kind,
                f"{_LABEL}.packages": json.dumps(listed),
                f"{_LABEL}.layers": str(len(layers_of(engine.image(base.id))) + 1),
                "sandbox-runner.base": base.name,
            }
            _layer(engine, base, layer, tag, labels, folder, say)
    found = _known(engine, base, tag)
    if found is None:
        raise ImageError(
            f"The environment {tag} was built and is gone, or is not what was built.",
            hint="see who removes or names images here; a base with ONBUILD triggers cannot be built on",
        )
    return found


def _forget_parts(engine: Engine) -> None:
    """Remove what builds that were cut off have left: parts that never became an environment."""
    filters = {"label": f"{_LABEL}.part", "dangling": True}
    for entry in engine.call("list images", engine.api.images, filters=filters):
        if _LABEL not in (entry.get("Labels") or {}):
            with contextlib.suppress(DockerError):  # another user's build may stand on it
                engine.find("remove a part of an environment", engine.api.remove_image, entry["Id"])


def _digest(base: Image, listed: Iterable[Sequence[str]]) -> str:
    """Over the base and every package with its wheel's digest."""
    own = (f"{name} {digest}" for name, digest in listed if digest)
    return sha256("\n".join([base.id, *own]).encode()).hexdigest()


def _known(engine: Engine, base: Image, tag: str) -> Image | None:
    """The environment on this base that a tag names; ``None`` where what it leads to is none."""
    found = engine.image(tag)
    labels = ((found or {}).get("Config") or {}).get("Labels") or {}
    try:
        digest = _digest(base, json.loads(labels.get(f"{_LABEL}.packages", "")))
    except (ValueError, TypeError, RecursionError):
        return None
    if labels.get(_LABEL) != digest or not tag.endswith(f":{digest[:12]}"):
        return None
    if layers_of(found)[:-1] != layers_of(engine.image(base.id)):
        return None
    return find_image(engine, tag)


def _install(engine: Engine, base: Image, wheels: Iterable[Wheel], layer: Path) -> None:
    """Unpack and compile the wheels in a container of the base, and fetch the root they came to."""
    tasks = 256
    settings = engine.api.create_container_config(
        base.id, ["-I", "-c", _INSTALL, _PLACE, str(_DISPLACED)], entrypoint=["python3"],
        network_disabled=True, user="0:0", working_dir="/", hostname="sandbox",
        environment={"LC_ALL": "C.UTF-8"},
        labels=owner_labels(new_run_id(), lifetime_s=2.0 * _INSTALL_S),
    )  # fmt: skip
    settings["HostConfig"] = {
        "CapDrop": ["ALL"],
        "IpcMode": "private",
        "MaskedPaths": list(MASKED),
        "Memory": min(_MEMORY, engine.machine().memory or _MEMORY),
        "NetworkMode": "none",
        "PidsLimit": tasks,
        "ReadonlyPaths": list(READ_ONLY),
        "Runtime": "runc",
        "SecurityOpt": ["no-new-privileges", f"seccomp={seccomp()}"],
        "Ulimits": [Ulimit(name="core", soft=0, hard=0)],
    }
    container = str(
        engine.call("create a container", engine.api.create_container_from_config, settings)["Id"]
    )
    try:
        with tempfile.TemporaryFile() as archive:
            _pack(archive, wheels)
            archive.seek(0)
            engine.call("fill a container", engine.api.put_archive, container, "/", archive)
        engine.call("start a container", engine.api.start, container)
        ended = engine.call("wait for pip", engine.api.wait, container, timeout=_INSTALL_S)
        status = ended.get("StatusCode")
        if status != 0:
            said: Any = engine.call("read what pip said", engine.api.logs, container, tail=5)
            told = re.sub(r"\s+", " ", said[-2_000:].decode("utf-8", "replace")).strip()
            raise ImageError(
                f"The packages cannot be installed on {base.name}: {told[:600] or 'it ended without a word'}",
                hint="leave out the package that brings it"
                if status == _DISPLACED
                else "the image's Python must be one that pip supports",
            )
        pieces, _ = engine.call("fetch a layer", engine.api.get_archive, container, f"{_PLACE}/root/.")
        size = 0
        with layer.open("wb") as file:
            for piece in pieces:
                size += len(piece)
                if size > _LAYER_BYTES:
                    raise ImageError(f"The environment is larger than {_LAYER_BYTES >> 30} GiB.")
                file.write(piece)
    finally:
        force_container(engine, container)


def _pack(archive: Any, wheels: Iterable[Wheel]) -> None:
    """What the container gets: the wheels, their names with hashes, and pip."""
    spec = importlib.util.find_spec("pip")
    if spec is None or not spec.submodule_search_locations:
        raise ImageError("This Python has no pip.", hint="install it with `python3 -m ensurepip`")
    wanted = "".join(f"{wheel} --hash=sha256:{wheel.sha256}\n" for wheel in wheels).encode()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(next(iter(spec.submodule_search_locations)), f"{_PLACE}/pip", filter=_plain)
        info = tarfile.TarInfo(f"{_PLACE}/wanted.txt")
        info.size = len(wanted)
        tar.addfile(info, io.BytesIO(wanted))
        for wheel in wheels:
            tar.add(wheel.path, f"{_PLACE}/wheels/{wheel.path.name}", filter=_plain)


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Root's, and without the host's bytecode."""
    if "__pycache__" in info.name:
        return None
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mode = 0o755 if info.isdir() else 0o644
    return info


def _layer(  # noqa: PLR0917 - likewise
    engine: Engine, base: Image, layer: Path, tag: str, labels: dict[str, str], folder: Path, say: Progress
) -> None:
    """Make the image: the base, labels, and one layer. The build's last act is the tag."""
    recipe = f"FROM {base.id}\nLABEL {_LABEL}.part=yes\nADD layer.tar /\n".encode()
    context = folder / "context.tar"
    with tarfile.open(context, "w") as tar:
        info = tarfile.TarInfo("Dockerfile")
        info.size = len(recipe)
        tar.addfile(info, io.BytesIO(recipe))
        tar.add(layer, "layer.tar")
    with context.open("rb") as file:
        events = engine.stream(
            "build the environment", _INSTALL_S, engine.api.build, fileobj=file, custom_context=True, tag=tag,
            labels=labels, network_mode="none", rm=True, forcerm=True, decode=True, timeout=_INSTALL_S,
        )  # fmt: skip
        for event in events:
            if "error" in event:
                raise ImageError(f"The environment cannot be built: {str(event['error']).strip()[:600]}")
    say(f"Built {tag}.")


def _tag(engine: Engine, image: str, name: str) -> None:
    repository, _, tag = name.rpartition(":") if ":" in name.rsplit("/", 1)[-1] else (name, "", "latest")
    engine.call("name an image", engine.api.tag, image, repository, tag=tag, force=True)

"""Fetches the wheels of an environment with the host's pip, for the image's Python and platform.

Theory of operation. pip chooses and downloads; it decides nothing else. It may start no program (an audit
hook in its process refuses, so no build, no version control, no setup script runs, whatever an index serves)
and takes wheels only. pip judges environment markers by the Python it runs under, which may differ from the
image's: so what it chose is checked against the wheels' own metadata under the image's markers; what is
missing is asked for in a further round, and what nothing needs is left out.
"""

from __future__ import annotations

import email.parser
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, NormalizedName, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from sandbox_runner.errors import ConfigurationError, ImageError
from sandbox_runner.sandbox.requirements import Demand, Demands, applies, chosen

__all__ = ["PLATFORM_PROGRAM", "Platform", "Wheel", "fetch_wheels"]

_FETCH_S = 900.0
_SILENCE_S = 20  # how long an index may say nothing
_BYTES = 4 << 30
_UNPACKED_BYTES = 16 << 30
_ROUNDS = 8
_METADATA_BYTES = 4 << 20
_SAID = 64 << 10
_OLDEST_GLIBC = 5

PLATFORM_PROGRAM = """
import json, os, platform, sys
version = "{0.major}.{0.minor}.{0.micro}".format(sys.version_info)
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
except (AttributeError, OSError, ValueError):
    libc = ""
print(json.dumps({
    "libc": libc, "threads": not getattr(sys, "_is_gil_enabled", lambda: True)(),
    "implementation_name": sys.implementation.name, "implementation_version": version, "os_name": os.name,
    "platform_machine": platform.machine(),
    "platform_python_implementation": platform.python_implementation(),
    "platform_release": "", "platform_system": platform.system(), "platform_version": "",
    "python_full_version": platform.python_version(), "python_version": "%d.%d" % sys.version_info[:2],
    "sys_platform": sys.platform}))
"""
"""Run by the image's Python; it prints what ``Platform.parse`` reads."""

# No build back end, no version control, no other program is started: that is how foreign code would run.
_PIP = """
import os, runpy, sys, threading
def leave_with_the_runner():
    os.read(0, 1)  # unbuffered: a lock of a buffer would end the interpreter badly
    os._exit(1)
threading.Thread(target=leave_with_the_runner, daemon=True).start()
def refuse(event, arguments):
    if event in {"subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn"}:
        raise PermissionError(1, "no program is started to fetch wheels (" + event + ")")
sys.addaudithook(refuse)
sys.argv[0] = "pip"
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True, slots=True)
class Platform:
    """The Python of an image and what its wheels may be made for.

    Attributes:
        markers: the environment of PEP 508 markers.
        libc: ``glibc 2.36``, or empty where it is another.
        threads: whether it is a free-threaded build.
    """

    markers: Mapping[str, str]
    libc: str
    threads: bool

    @classmethod
    def parse(cls, told: object) -> Platform:
        """Check what an image's Python said.

        Raises:
            ValueError: it makes no sense.
        """
        if not isinstance(told, dict) or not all(
            isinstance(v, str | bool) and len(str(v)) < 100 for v in told.values()
        ):
            raise ValueError("no table of short texts")
        markers = {key: value for key, value in told.items() if key not in {"libc", "threads"}}
        if not all(isinstance(value, str) for value in markers.values()):
            raise ValueError("a marker that is no text")
        Version(markers["python_full_version"])
        return cls(markers, str(told["libc"]), told["threads"] is True)

    @property
    def python(self) -> str:
        """As in ``3.11``."""
        return self.markers["python_version"]

    @property
    def abi(self) -> str:
        """As in ``cp311``."""
        return f"cp{self.python.replace('.', '')}{'t' if self.threads else ''}"

    @property
    def platforms(self) -> tuple[str, ...]:
        """Platform tags, the most specific first."""
        machine = self.markers["platform_machine"]
        name, _, version = self.libc.partition(" ")
        if name == "glibc" and version.startswith("2.") and version[2:].isdigit():
            many = [
                f"manylinux_2_{minor}_{machine}" for minor in range(int(version[2:]), _OLDEST_GLIBC - 1, -1)
            ]
            many += [f"manylinux{old}_{machine}" for old in ("2014", "2010", "1")]
        else:
            many = [f"musllinux_1_{minor}_{machine}" for minor in (2, 1, 0)]
        return (*many, f"linux_{machine}")

    def accepts(self, tags: Iterable[object]) -> bool:
        """Whether a wheel with one of these tags works here."""
        version = tuple(int(part) for part in self.python.split("."))
        mine = {*cpython_tags(version, [self.abi], self.platforms)}
        mine |= {*compatible_tags(version, f"cp{self.python.replace('.', '')}", self.platforms)}
        return any(tag in mine for tag in tags)


@dataclass(frozen=True, slots=True)
class Wheel:
    """One wheel on the host's disk."""

    path: Path
    name: NormalizedName
    version: Version
    sha256: str
    requires: tuple[Requirement, ...]

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


def fetch_wheels(
    demands: Demands, platform: Platform, folder: Path, *, deadline_s: float = _FETCH_S
) -> tuple[Wheel, ...]:
    """Fetch what the demands come to on a platform; nothing foreign is run.

    Args:
        demands: what is wanted.
        platform: for which Python.
        folder: an empty directory of the caller's.
        deadline_s: for all of it.

    Returns:
        The wheels, sorted by name.

    Raises:
        ConfigurationError: the demands do not fit the platform.
        ImageError: they cannot be had: no index, no wheel, another hash, versions that contradict each other.
    """
    if platform.markers["implementation_name"] != "cpython":
        raise ImageError("The image's Python is no CPython, and no wheels are chosen for another.")
    if not demands.python.contains(platform.markers["python_full_version"], prereleases=True):
        raise ConfigurationError(
            f"What is asked for needs Python {demands.python}, and the image has "
            f"{platform.markers['python_full_version']}.",
            hint="give an image with such a Python: --base IMAGE",
        )
    wanted, limits = chosen(demands, platform.markers)
    pinned = any(demand.hashes for demand in wanted)
    end = time.monotonic() + deadline_s
    more: list[Requirement] = []
    if not wanted:
        return ()
    for number in range(_ROUNDS):
        place = folder / f"round-{number}"
        place.mkdir()
        lines = [*map(str, wanted), *map(str, more)]
        _download(lines, limits, platform, place, pinned=pinned, deadline_s=end - time.monotonic())
        wheels = _read(place, platform)
        found, missing = _closure([demand.requirement for demand in wanted], wheels, platform.markers)
        if not missing:
            return tuple(sorted(found, key=lambda wheel: wheel.name))
        if pinned or any(str(one) in map(str, more) for one in missing):
            raise ImageError(
                f"What is asked for is not whole: {'; '.join(map(str, missing))[:500]} "
                "is needed and not there.",
                hint="lock it again for the image's Python" if pinned else None,
            )
        more += missing
        shutil.rmtree(place)
    raise ImageError("The versions that are asked for could not be brought together.")


def _closure(
    roots: Sequence[Requirement], wheels: Mapping[NormalizedName, Wheel], markers: Mapping[str, str]
) -> tuple[set[Wheel], list[Requirement]]:
    """The wheels that are needed under these markers, and the requirements that none of them meets."""
    needed: set[Wheel] = set()
    missing: dict[str, Requirement] = {}
    waiting, seen = list(roots), set()
    while waiting:
        requirement = waiting.pop()
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        wheel = wheels.get(canonicalize_name(requirement.name))
        plain = Requirement(str(requirement))
        plain.marker = None
        if requirement.url is not None:
            raise ImageError(f"A package needs {str(requirement)[:200]}, and nothing is taken from a URL.")
        if wheel is None or not requirement.specifier.contains(wheel.version, prereleases=True):
            missing[str(plain)] = plain
            continue
        needed.add(wheel)
        for inner in wheel.requires:
            contexts = [{**markers, "extra": extra} for extra in ("", *requirement.extras)]
            if any(applies(inner.marker, context, f"{wheel}'s {inner.name}") for context in contexts):
                waiting.append(inner)
    return needed, sorted(missing.values(), key=str)


def _read(place: Path, platform: Platform) -> dict[NormalizedName, Wheel]:
    wheels, unpacked = {}, 0
    for path in sorted(place.glob("*.whl")):
        try:
            name, version, _, tags = parse_wheel_filename(path.name)
            with zipfile.ZipFile(path) as archive:
                (member,) = (
                    info
                    for info in archive.infolist()
                    if info.filename.count("/") == 1 and info.filename.endswith(".dist-info/METADATA")
                )
                if member.file_size > _METADATA_BYTES:
                    raise ValueError("its metadata is too long")  # noqa: TRY301 - told below
                text = archive.read(member).decode("utf-8", "replace")
                # A reader takes no more of a member than this says, so neither will pip.
                unpacked += sum(info.file_size for info in archive.infolist())
            metadata = email.parser.HeaderParser().parsestr(text)
            requires = metadata.get_all("Requires-Dist") or []
            told = canonicalize_name(str(metadata["Name"])), Version(str(metadata["Version"]))
            if told != (name, version):
                raise ValueError(f"its metadata is of {told[0]} {told[1]}")  # noqa: TRY301
            with path.open("rb") as file:
                digest = file_digest(file, "sha256").hexdigest()
            wheels[name] = Wheel(path, name, version, digest, tuple(map(Requirement, requires)))
        except (InvalidWheelFilename, InvalidRequirement, ValueError, OSError, zipfile.BadZipFile) as error:
            raise ImageError(f"The wheel {path.name} cannot be used: {error}.") from error
        if not platform.accepts(tags):
            raise ImageError(f"The wheel {path.name} is for another platform than the image's.")
        if unpacked > _UNPACKED_BYTES:
            raise ImageError(
                f"The packages come to more than {_UNPACKED_BYTES >> 30} GiB unpacked, with {path.name}."
            )
    return wheels


def _download(
    lines: Sequence[str],
    limits: Sequence[Demand],
    platform: Platform,
    place: Path,
    *,
    pinned: bool,
    deadline_s: float,
) -> None:
    """Run pip once, bounded in time and bytes."""
    scratch = place.with_name(f"{place.name}-pip")
    scratch.mkdir()
    (scratch / "wanted.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (scratch / "limits.txt").write_text("\n".join(map(str, limits)) + "\n", encoding="utf-8")
    command = [
        sys.executable, "-I", "-c", _PIP, "download", "--quiet", "--no-input", "--disable-pip-version-check",
        "--no-color", f"--timeout={_SILENCE_S}", "--retries=2", "--only-binary=:all:", "--implementation=cp",
        f"--python-version={platform.markers['python_full_version']}", f"--abi={platform.abi}",
        *(f"--platform={name}" for name in platform.platforms), f"--dest={place}",
        f"--requirement={scratch / 'wanted.txt'}", f"--constraint={scratch / 'limits.txt'}",
        *(["--no-deps", "--require-hashes"] if pinned else []),
    ]  # fmt: skip
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,  # ends when this process does, and pip with it
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=scratch,
        env={**os.environ, "TMPDIR": str(scratch)},
        start_new_session=True,
    )
    said = bytearray()
    listener = threading.Thread(target=_listen, args=(process, said), daemon=True)
    listener.start()
    try:
        end = time.monotonic() + deadline_s
        while process.poll() is None:
            if time.monotonic() > end:
                raise ImageError(
                    f"The packages could not be fetched within {_FETCH_S:.0f} s.",
                    hint="see that your index answers: `python -m pip download NAME`",
                )
            if _size(place) + _size(scratch) > _BYTES:
                raise ImageError(f"The packages come to more than {_BYTES >> 30} GiB.")
            time.sleep(0.05)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        listener.join(5)
        if process.stdin is not None:
            process.stdin.close()
        if process.stdout is not None:
            process.stdout.close()
    shutil.rmtree(scratch, ignore_errors=True)
    if process.returncode != 0:
        raise _why(bytes(said).decode("utf-8", "replace"), platform)


def _listen(process: subprocess.Popen[bytes], said: bytearray) -> None:
    while process.stdout is not None and (data := os.read(process.stdout.fileno(), 8192)):
        said += data
        del said[:-_SAID]


def _size(folder: Path) -> int:
    total = 0
    for top, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(top, name)).st_size  # noqa: PTH118 - it may vanish
            except OSError:
                continue
    return total


def _why(said: str, platform: Platform) -> ImageError:  # noqa: PLR0911 - one for each cause
    """Pip's reason in our words, with the way out."""
    errors = [
        line.removeprefix("ERROR: ").strip() for line in said.splitlines() if line.startswith("ERROR: ")
    ]
    if errors == ["Exception:"]:  # pip broke; the end of its traceback says over what
        errors = said.strip().splitlines()[-1:]
    told = (" ".join(errors) or said.strip() or "it said nothing")[:600]
    if "No module named pip" in said:
        return ImageError(
            "The packages cannot be fetched: this Python has no pip.",
            hint=f"install it: `{sys.executable} -m ensurepip`, or your system's python3-pip",
        )
    if "DO NOT MATCH THE HASHES" in said or "--require-hashes" in said:
        return ImageError(f"A package is not the one that its hash names: {' '.join(said.split())[-600:]}")
    if "ResolutionImpossible" in said or "conflicting dependencies" in said:
        return ImageError(
            f"The versions that are asked for contradict each other: {' '.join(said.split())[-600:]}",
            hint="loosen one of them",
        )
    if any(
        word in said
        for word in ("NewConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ProxyError")
    ):
        return ImageError(
            f"The package index does not answer: {told}", hint="see your network and `pip config list`"
        )
    if "No space left" in said:
        return ImageError("The packages do not fit on this machine's disk: no space left.")
    if "no matching distribution" in said.lower():
        return ImageError(
            f"There is no wheel for Python {platform.python} on "
            f"{platform.markers['platform_machine']}: {told}",
            hint="only wheels are taken, since a build would run the package's code; ask for a version that "
            "has one, or build it yourself with `pip wheel` and name its folder in pip's find-links setting",
        )
    return ImageError(f"pip could not fetch the packages: {told}")

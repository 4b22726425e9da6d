"""What an environment is to hold: read from a requirements file, a lock file or a project, not believed.

A requirements file is a small program for pip: its options name indexes, run builds, read other files. Here
it is a list of names. Allowed are plain requirements (PEP 508) with hashes, and ``-r`` and ``-c`` of files
in the same directory or below it; every other line is refused by its number. Where packages come from is
said by the user's own pip configuration and by nothing in these files.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.markers import Marker, UndefinedComparison, UndefinedEnvironmentName
from packaging.pylock import Pylock, PylockValidationError, is_valid_pylock_path
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from sandbox_runner.errors import ConfigurationError

__all__ = ["Demand", "Demands", "applies", "chosen", "read_demands"]

_FILE_BYTES = 4 << 20  # lock files of large projects have one
_FILES = 32
_DEMANDS = 2_000
_EXPORTS = {
    "uv.lock": "uv export --format pylock.toml -o pylock.toml",
    "poetry.lock": "poetry export --with dev -o requirements.txt",
    "pdm.lock": "pdm export -o requirements.txt",
    "pipfile.lock": "pipenv requirements --dev > requirements.txt",
    "pipfile": "pipenv requirements --dev > requirements.txt",
}
_HASH = re.compile(r"\s--hash(?:=|\s+)(\S+)")
_SHA = re.compile(r"sha(256:[0-9a-f]{64}|384:[0-9a-f]{96}|512:[0-9a-f]{128})")
_INCLUDE = re.compile(r"(-r|--requirement|-c|--constraint)(?:\s*=\s*|\s*)(\S.*)")
_VARIABLE = re.compile(r"\$\{[A-Z0-9_]+\}")
_COMMENT = re.compile(r"(?:^|(?<=\s))#.*$")  # no run of blanks before it: that would take quadratic time
_HASHED = "--require-hashes"
_NOTHING_TO_SAY = (_HASHED, "--only-binary :all:", "--only-binary=:all:", "--prefer-binary")


@dataclass(frozen=True, slots=True)
class Demand:
    """One requirement and the hashes that one of its files must have, ``sha256:...``; none accepts any."""

    requirement: Requirement
    hashes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join([str(self.requirement), *(f"--hash={one}" for one in self.hashes)])


@dataclass(frozen=True, slots=True)
class Demands:
    """Everything that a source asks for.

    Attributes:
        kind: ``requirements``, ``lock`` or ``project``.
        wanted: what is to be there.
        limits: constraints: versions for what is there anyway.
        python: which Pythons the source is for; empty says any.
        lock: the lock file itself, from which ``wanted`` is chosen once the image's platform is known.
    """

    kind: str
    wanted: tuple[Demand, ...] = ()
    limits: tuple[Demand, ...] = ()
    python: SpecifierSet = field(default_factory=SpecifierSet)
    lock: Pylock | None = None

    def canonical(self) -> str:
        """The same text for the same demands, whatever else their file says."""
        lines = [self.kind, str(self.python), *sorted(map(str, self.wanted))]
        lines += [f"limit {demand}" for demand in sorted(map(str, self.limits))]
        return "\n".join([*lines, "" if self.lock is None else repr(self.lock.to_dict())])


def read_demands(source: Path, *, extras: tuple[str, ...] = (), groups: tuple[str, ...] = ()) -> Demands:
    """Read a requirements file, a ``pylock.toml``, or a project's ``pyproject.toml`` or directory.

    Args:
        source: the file or directory.
        extras: of a project, which optional dependencies belong to it.
        groups: of a project, which dependency groups (PEP 735).

    Raises:
        ConfigurationError: it cannot be read, or asks for what an environment cannot have: file and line.
    """
    path = source / "pyproject.toml" if source.is_dir() else source
    name = path.name.lower()
    if name in _EXPORTS:
        raise ConfigurationError(
            f"{source} is a lock file that only its own program reads.",
            hint=f"export it: `{_EXPORTS[name]}`, and give the file that comes of it",
        )
    if name == "pyproject.toml":
        return _project(path, extras, groups)
    if extras or groups:
        raise ConfigurationError(f"{source} is no project: it has no extras and no groups.")
    if is_valid_pylock_path(path):
        return _lock(path)
    if path.suffix.lower() not in {".txt", ".in", ".lock", ""}:
        _text(path)  # whoever mistyped a name is told that there is no such file
        raise ConfigurationError(
            f"{source} is no requirements file (*.txt, *.in), no pylock.toml "
            "and no project with a pyproject.toml."
        )
    return _Reader(path).demands()


def _text(path: Path) -> str:
    try:
        with open(path, "rb", opener=_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigurationError(f"{path} is no file.", hint="give a file, no pipe and no device")
            data = file.read(_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a name with NUL
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(f"{path} cannot be read: {reason}.") from error
    if len(data) > _FILE_BYTES:
        raise ConfigurationError(f"{path} is larger than {_FILE_BYTES >> 20} MiB.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8.", hint="save it as UTF-8") from error


def _at_once(path: str, flags: int) -> int:
    """Open a file; a pipe that nobody writes into must not hold us."""
    return os.open(path, flags | os.O_NONBLOCK)


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}.") from error


class _Reader:
    """Reads one requirements file and those it includes."""

    def __init__(self, path: Path) -> None:
        self._top = path
        self._root = _real(path).parent
        self._seen: set[tuple[Path, bool]] = set()
        self._hashed = False
        self._wanted: list[Demand] = []
        self._limits: list[Demand] = []

    def demands(self) -> Demands:
        self._read(self._top, limits=False)
        bare = [str(demand) for demand in self._wanted if not demand.hashes]
        if self._hashed and bare:
            raise ConfigurationError(
                f"{self._top}: {_HASHED} is set, and {bare[0][:200]!r} has no hash.",
                hint="give every requirement its hash, or take the option out",
            )
        return Demands("requirements", tuple(self._wanted), tuple(self._limits))

    def _read(self, path: Path, *, limits: bool) -> None:
        if (_real(path), limits) in self._seen:
            return
        self._seen.add((_real(path), limits))
        if len(self._seen) > _FILES:
            raise ConfigurationError(f"{self._top} includes more than {_FILES} files.")
        for number, line in _lines(_text(path)):
            where = f"{path}, line {number}"
            if _VARIABLE.search(line):
                raise _refused(where, line, "environment variables are not read")
            if include := _INCLUDE.fullmatch(line):
                inner = path.parent / include[2].strip("'\"")
                if not _real(inner).is_relative_to(self._root):
                    raise _refused(where, line, "a file is only included from this directory or below it")
                self._read(inner, limits=limits or include[1] in {"-c", "--constraint"})
            elif line in _NOTHING_TO_SAY:
                self._hashed |= line == _HASHED
            else:
                (self._limits if limits else self._wanted).append(_demand(where, line))
            if len(self._wanted) + len(self._limits) > _DEMANDS:
                raise ConfigurationError(f"{self._top} asks for more than {_DEMANDS} packages.")


def _real(path: Path) -> Path:
    """Where a path leads; of what leads nowhere, as links in a circle, it is told when it is opened."""
    try:
        return Path(os.path.realpath(path))  # Path.resolve fails for such links
    except ValueError as error:
        raise ConfigurationError(f"{str(path)!r} cannot be read: {error}.") from error


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines as pip joins them, without comments, each with the number it begins at."""
    parts: list[str] = []
    began = 1
    for number, raw in enumerate(text.splitlines(), 1):
        line = _COMMENT.sub("", raw)
        began = began if parts else number
        if raw.endswith("\\") and line == raw:
            parts.append(line[:-1])
            continue
        whole = "".join([*parts, line]).strip()
        parts = []
        if whole:
            yield began, whole
    if parts and (whole := "".join(parts).strip()):
        yield began, whole


def _demand(where: str, line: str) -> Demand:
    if line.startswith("-"):
        if line.startswith(("-e", "--editable")):
            raise _refused(
                where, line, "nothing is installed from a directory; the workspace holds the project"
            )
        if line.startswith(
            ("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--trusted-host")
        ):
            raise _refused(where, line, "where packages come from is said by your own pip configuration")
        raise _refused(where, line, "options are not taken from a requirements file")
    hashes = tuple(_HASH.findall(line))
    if any(not _SHA.fullmatch(one) for one in hashes):
        raise _refused(where, line, "a hash is sha256, sha384 or sha512 and its hex digits")
    return Demand(_requirement(where, _HASH.sub("", line).strip()), hashes)


def _requirement(where: str, text: str) -> Requirement:
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise _refused(
            where, text, "only names with versions are taken, no paths, URLs or options"
        ) from error
    if requirement.url is not None:
        raise _refused(where, text, "packages come from an index as wheels, not from a URL")
    return requirement


def _refused(where: str, line: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"{where}: {line[:200]!r} cannot be had: {why}.", hint="take the line out")


def _lock(path: Path) -> Demands:
    try:
        lock = Pylock.from_dict(_toml(path))
    except PylockValidationError as error:
        raise ConfigurationError(f"{path} is no lock file of PEP 751: {error}.") from error
    if len(lock.packages) > _DEMANDS:
        raise ConfigurationError(f"{path} asks for more than {_DEMANDS} packages.")
    return Demands("lock", python=lock.requires_python or SpecifierSet(), lock=lock)


def chosen(demands: Demands, markers: Mapping[str, str]) -> tuple[tuple[Demand, ...], tuple[Demand, ...]]:
    """What is wanted on a platform and what limits it, without the markers that were judged for it.

    Raises:
        ConfigurationError: a lock file does not fit the platform, or holds what is no wheel; a marker
            compares what cannot be compared.
    """
    wanted = _fitting(demands.wanted, markers) if demands.lock is None else _locked(demands.lock, markers)
    return tuple(wanted), tuple(_fitting(demands.limits, markers))


def _fitting(demands: Sequence[Demand], markers: Mapping[str, str]) -> Iterator[Demand]:
    for demand in demands:
        if applies(demand.requirement.marker, {**markers, "extra": ""}, demand.requirement.name):
            plain = Requirement(str(demand.requirement))
            plain.marker = None
            yield Demand(plain, demand.hashes)


def applies(marker: Marker | None, context: Mapping[str, Any], name: str, *, lock: bool = False) -> bool:
    """Whether a marker holds in a context.

    Raises:
        ConfigurationError: it names no variable, or compares what cannot be compared.
    """
    try:
        return marker is None or marker.evaluate(dict(context), context="lock_file" if lock else "metadata")
    except (UndefinedEnvironmentName, UndefinedComparison) as error:
        raise ConfigurationError(
            f"The marker of {name} cannot be judged: {str(marker)[:200]!r}.", hint="mend or remove it"
        ) from error


def _locked(lock: Pylock, markers: Mapping[str, str]) -> Iterator[Demand]:
    """One demand for each package of a lock file that belongs on the platform."""
    everything = {"extras": lock.extras or (), "dependency_groups": lock.default_groups or ()}
    if lock.dependency_groups:
        everything["dependency_groups"] = lock.dependency_groups
    context: dict[str, Any] = {**markers, **{name: frozenset(names) for name, names in everything.items()}}
    places = lock.environments
    if places and not any(applies(place, context, "the lock file", lock=True) for place in places):
        raise ConfigurationError(
            "The lock file was made for other environments than the image's.", hint="lock it for this one too"
        )
    for package in lock.packages:
        if not applies(package.marker, context, package.name, lock=True):
            continue
        if package.directory is not None and package.directory.path in {".", "./"}:
            continue  # the project itself, which the workspace holds
        pythons = package.requires_python
        if pythons is not None and not pythons.contains(markers["python_full_version"], prereleases=True):
            raise ConfigurationError(
                f"{package.name} in the lock file needs Python {pythons}, and the image has "
                f"{markers['python_full_version']}.",
                hint="give an image with such a Python: --base IMAGE",
            )
        if not package.wheels or package.version is None:
            raise ConfigurationError(
                f"The lock file has no wheel for {package.name}, and building one would run its code.",
                hint="lock a version that has a wheel, or build the wheel yourself "
                "and serve it from your index",
            )
        hashes = {
            f"{kind}:{value}"
            for wheel in package.wheels
            for kind, value in wheel.hashes.items()
            if _SHA.fullmatch(f"{kind}:{value}")
        }
        if not hashes:
            raise ConfigurationError(f"The lock file has no SHA-2 hash for {package.name}.")
        yield Demand(Requirement(f"{package.name}=={package.version}"), tuple(sorted(hashes)))


def _project(path: Path, extras: tuple[str, ...], groups: tuple[str, ...]) -> Demands:
    """A project's dependencies; the project itself is in the workspace, at whatever state a step left it."""
    document = _toml(path)
    project = document.get("project")
    if not isinstance(project, dict) and not groups:
        raise ConfigurationError(
            f"{path} has no [project] table, so it names no dependencies.",
            hint="export them into a requirements file or a pylock.toml with the project's own program",
        )
    project = project if isinstance(project, dict) else {}
    dynamic = set(_texts(path, "dynamic", project.get("dynamic"))) & {
        "dependencies",
        *(["optional-dependencies"] if extras else []),
    }
    if dynamic:
        raise ConfigurationError(
            f"{path}: {', '.join(sorted(dynamic))} are dynamic: "
            "only running the project's build would tell them.",
            hint="lock them (`pip lock`, `uv export`) and give the lock file",
        )
    optional = {
        str(canonicalize_name(name)): _texts(path, f"extra {name!r}", value)
        for name, value in _table(path, "optional-dependencies", project.get("optional-dependencies")).items()
    }
    texts = _texts(path, "dependencies", project.get("dependencies")) + _grouped(path, document, groups)
    own = canonicalize_name(str(project.get("name", "")))
    waiting, taken, wanted = [str(canonicalize_name(extra)) for extra in extras], set(), []
    while texts or waiting:
        if not texts:
            extra = waiting.pop()
            if extra not in optional:
                raise _unknown(path, "extra", extra, optional)
            texts = [] if extra in taken else list(optional[extra])
            taken.add(extra)
            continue
        demand = Demand(_requirement(str(path), texts.pop()))
        if own and canonicalize_name(demand.requirement.name) == own:
            waiting += [str(canonicalize_name(extra)) for extra in demand.requirement.extras]
        else:
            wanted.append(demand)
    if len(wanted) > _DEMANDS:
        raise ConfigurationError(f"{path} asks for more than {_DEMANDS} packages.")
    try:
        python = SpecifierSet(str(project.get("requires-python", "")))
    except InvalidSpecifier as error:
        raise ConfigurationError(f"{path}: requires-python is no version specifier.") from error
    return Demands("project", tuple(wanted), python=python)


def _grouped(path: Path, document: Mapping[str, Any], groups: Sequence[str]) -> list[str]:
    """What dependency groups and those they include come to, each group taken once."""
    known = {
        str(canonicalize_name(name)): value
        for name, value in _table(path, "dependency-groups", document.get("dependency-groups")).items()
    }
    texts: list[str] = []
    waiting, taken = [str(canonicalize_name(group)) for group in groups], set[str]()
    while waiting:
        group = waiting.pop()
        if group in taken:
            continue
        taken.add(group)
        if group not in known:
            raise _unknown(path, "group", group, known)
        if not isinstance(known[group], list):
            raise ConfigurationError(f"{path}: group {group!r} is no list.")
        for entry in known[group]:
            if isinstance(entry, str):
                texts.append(entry)
            elif isinstance(entry, dict) and list(entry) == ["include-group"]:
                waiting.append(str(canonicalize_name(str(entry["include-group"]))))
            else:
                raise ConfigurationError(
                    f"{path}: group {group!r} holds {str(entry)[:100]!r}, no requirement and no group."
                )
    return texts


def _unknown(path: Path, what: str, name: str, known: Mapping[str, object]) -> ConfigurationError:
    there = ", ".join(map(repr, sorted(known)[:20])) or "none"
    return ConfigurationError(f"{path} has no {what} {name!r}; it has {there}.")


def _texts(path: Path, name: str, value: object) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ConfigurationError(f"{path}: {name} is no list of strings.")
    return list(value)


def _table(path: Path, name: str, value: object) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigurationError(f"{path}: {name} is no table.")
    return value

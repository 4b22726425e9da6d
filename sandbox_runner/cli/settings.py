"""What a run is asked to be: flags, then ``SANDBOX_RUNNER_*``, then ``--config FILE``, then defaults.

A setting is a field of ``Settings``; its name gives the key of the file and, in capitals, the variable.
A name that is not known is an error, never a default: a misspelt ``policy`` must not loosen one.
No file is looked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sandbox_runner.cli.config_file import Located, read_mapping
from sandbox_runner.cli.usage import nearest
from sandbox_runner.errors import ConfigurationError

__all__ = ["PREFIX", "Settings"]

PREFIX = "SANDBOX_RUNNER_"
_CONFIG_VARIABLE = PREFIX + "CONFIG"  # says which file; it cannot stand in the file itself
_READ = "read"
_MOST_JOBS = 256
_OUTSIDE = (_CONFIG_VARIABLE, PREFIX + "DEBUG")
_WORDS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}

Reader = Callable[[Any, Path], Any]
"""Takes a value of the file or a variable's text, and the directory that relative paths start from."""


def _text(value: Any, _base: Path) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text that is not empty")
    return value


def _path(value: Any, base: Path) -> Path:
    return base / _expanded(_text(value, base))


def _texts(value: Any, base: Path) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("a list of texts")
    return tuple(_text(item, base) for item in value)


def _paths(value: Any, base: Path) -> tuple[Path, ...]:
    return tuple(base / _expanded(item) for item in _texts(value, base))


def _expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError("a path that can be found; there is no home directory for its ~") from None


def _switch(value: Any, _base: Path) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _WORDS:
        return _WORDS[value.lower()]
    raise ValueError("true or false")


def _jobs(value: Any, _base: Path) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:9])
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST_JOBS:
        raise ValueError(f"a whole number from 1 to {_MOST_JOBS}")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting with its default.

    Attributes:
        home: the state directory; None means the platform's user data directory.
        tenant: whose runs and snapshots; tenants share nothing.
        policy: a policy file, or the name of a shipped policy.
        image: the sandbox image; None means the default image, built where it is missing.
        requirements: a requirements file, lock file or project whose packages the image is to have beside.
        runtime: auto, runc, runsc or another name that Docker knows; None means what the policy says.
        jobs: how many trails are replayed at once.
        fail_fast: end a run at its first failed or refused step.
        sign: attest and sign each run record.
        key: the private key to sign with; None means the one in the state directory.
        trusted_keys: public keys accepted by ``verify`` beside the state directory's own.
        principal: in whose name commits and levels are made; None means the trail's agent.
        exclude: gitignore-style patterns of what is not taken from a workspace.
        gitignore: whether the workspace's own .gitignore files exclude as well.
    """

    home: Path | None = field(default=None, metadata={_READ: _path})
    tenant: str = field(default="default", metadata={_READ: _text})
    policy: str = field(default="default", metadata={_READ: _text})
    image: str | None = field(default=None, metadata={_READ: _text})
    requirements: Path | None = field(default=None, metadata={_READ: _path})
    runtime: str | None = field(default=None, metadata={_READ: _text})
    jobs: int = field(default=1, metadata={_READ: _jobs})
    fail_fast: bool = field(default=False, metadata={_READ: _switch})
    sign: bool = field(default=True, metadata={_READ: _switch})
    key: Path | None = field(default=None, metadata={_READ: _path})
    trusted_keys: tuple[Path, ...] = field(default=(), metadata={_READ: _paths})
    principal: str | None = field(default=None, metadata={_READ: _text})
    exclude: tuple[str, ...] = field(default=(), metadata={_READ: _texts})
    gitignore: bool = field(default=False, metadata={_READ: _switch})

    @classmethod
    def resolve(
        cls, flags: Mapping[str, Any], *, config: Path | None = None, environ: Mapping[str, str] = os.environ
    ) -> Settings:
        """Combine the four sources.

        Args:
            flags: values of the command line by field name; None means "not given".
            config: the file of ``--config``; None means the one that SANDBOX_RUNNER_CONFIG names, else none.
            environ: the variables.

        Raises:
            ConfigurationError: a key or variable that is not known, or a value of the wrong kind.
        """
        named = config or (Path(environ[_CONFIG_VARIABLE]) if environ.get(_CONFIG_VARIABLE) else None)
        values = _of_file(named) if named else {}
        values |= _of_environment(environ)
        values |= {name: value for name, value in flags.items() if value is not None}
        return cls(**values)


_FIELDS: Mapping[str, Field[Any]] = MappingProxyType({known.name: known for known in fields(Settings)})


def _of_file(path: Path) -> dict[str, Any]:
    base = path.absolute().parent
    values = {}
    for located in read_mapping(path):
        if located.key not in _FIELDS:
            raise ConfigurationError(
                f"{located.place}: there is no setting '{located.key}'{nearest(located.key, _FIELDS)}",
                hint=f"the settings are {', '.join(_FIELDS)}",
            )
        values[located.key] = _from_file(located, base)
    return values


def _from_file(located: Located, base: Path) -> Any:
    try:
        value = _FIELDS[located.key].metadata[_READ](located.value, base)
    except ValueError as error:
        raise ConfigurationError(f"{located.place}: '{located.key}' must be {error}") from None
    return value


def _of_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    known = {PREFIX + name.upper(): name for name in _FIELDS}
    values = {}
    for variable, text in environ.items():
        if not variable.startswith(PREFIX) or not text:
            continue
        name = known.get(variable)
        if name is not None:
            values[name] = _from_variable(variable, name, text)
        elif variable not in _OUTSIDE and get_close_matches(variable, known, n=1, cutoff=0.9):
            # Others may use the prefix for matters of their own; what looks like a slip must not be ignored.
            raise ConfigurationError(f"{variable} is no setting{nearest(variable, known)}")
    return values


def _from_variable(variable: str, name: str, text: str) -> Any:
    try:
        value = _FIELDS[name].metadata[_READ](text, Path())
    except ValueError as error:
        raise ConfigurationError(f"{variable} must be {error}, not '{text}'") from None
    return value

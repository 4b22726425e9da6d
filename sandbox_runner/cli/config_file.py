"""Reads the file of ``--config``: one flat YAML mapping, every key with the line it stands on."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox_runner.errors import ConfigurationError
from sandbox_runner.policy.strict_yaml import YamlError, parse

__all__ = ["Located", "read_mapping"]

_SIZE_LIMIT = 64 * 1024  # bytes; the commented sample of every setting has two KiB


@dataclass(frozen=True, slots=True)
class Located:
    """A key, its value, and ``FILE:LINE``, the place to name in a complaint."""

    key: str
    value: Any
    place: str


def read_mapping(path: Path) -> list[Located]:
    """Keys and values in the order of the file, in the strict YAML of policy files.

    Raises:
        ConfigurationError: the file cannot be read or is no such mapping.
    """
    text = _text(path)
    if all(not line.strip() or line.lstrip().startswith("#") for line in text.splitlines()):
        return []
    try:
        document = parse(text)
    except YamlError as error:
        place = f"{path}:{error.line}" if error.line else str(path)
        raise ConfigurationError(f"{place}: the settings cannot be used: {error}") from None
    return [Located(key, value, f"{path}:{document.lines[key,]}") for key, value in document.data.items()]


def _text(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO must not hold us
        with os.fdopen(descriptor, "rb") as source:
            if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
                raise ConfigurationError(f"{path}: the settings must be a regular file")
            data = source.read(_SIZE_LIMIT + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: the settings cannot be read: {error.strerror}") from None
    if len(data) > _SIZE_LIMIT:
        raise ConfigurationError(f"{path}: the settings have more than {_SIZE_LIMIT} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path}:{line}: the settings are not UTF-8") from None

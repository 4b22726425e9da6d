"""Reads the file of ``--config``: one flat YAML mapping, every key with the line it stands on."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sandbox_runner.errors import ConfigurationError

__all__ = ["Located", "read_mapping"]

_SIZE_LIMIT = 64 * 1024  # bytes; the commented sample of every setting has two KiB


@dataclass(frozen=True, slots=True)
class Located:
    """A key, its value, and ``FILE:LINE``, the place to name in a complaint."""

    key: str
    value: Any
    place: str


def read_mapping(path: Path) -> list[Located]:
    """Keys and values in the order of the file.

    Values are texts, numbers, switches or lists of them. Keys may not repeat. Anchors and aliases are refused:
    they can make a small file unfold into a huge one.

    Raises:
        ConfigurationError: the file cannot be read or is no such mapping.
    """
    text = _text(path)
    try:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            if isinstance(token, yaml.AnchorToken | yaml.AliasToken | yaml.TagToken):
                raise ConfigurationError(
                    f"{path}:{token.start_mark.line + 1}: anchors, aliases and tags have no place in settings"
                )
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigurationError(f"{path}:{line}: this is no YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigurationError(f"{path}: this is no YAML: {str(error).splitlines()[0]}") from None
    if root is None:
        return []
    if not isinstance(root, yaml.MappingNode):
        raise ConfigurationError(f"{path}:{root.start_mark.line + 1}: settings are lines of 'key: value'")
    return list(_entries(path, root))


def _entries(path: Path, root: yaml.MappingNode) -> Iterator[Located]:
    first: dict[str, int] = {}
    for key_node, value_node in root.value:
        line = key_node.start_mark.line + 1
        place = f"{path}:{line}"
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigurationError(f"{place}: a setting's name is one word")
        key = key_node.value
        if key in first:
            raise ConfigurationError(f"{place}: '{key}' stands already on line {first[key]}")
        first[key] = line
        if isinstance(value_node, yaml.MappingNode):
            raise ConfigurationError(f"{place}: '{key}' takes a value or a list, not a mapping")
        yield Located(key, _value(place, key, value_node), place)


def _value(place: str, key: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode) and not all(
        isinstance(item, yaml.ScalarNode) for item in node.value
    ):
        raise ConfigurationError(f"{place}: '{key}' takes a flat list")
    try:
        return yaml.SafeLoader("").construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError, OverflowError):
        raise ConfigurationError(f"{place}: the value of '{key}' cannot be read") from None


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

"""From a name or a file to the mapping of a policy, and from the schema's complaints to sentences."""

from __future__ import annotations

import re
import stat
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError

from sandbox_runner.errors import PolicyError
from sandbox_runner.policy.spelling import suggestion
from sandbox_runner.policy.strict_yaml import Document, Location, YamlError, parse
from sandbox_runner.resources import resource

__all__ = ["SHIPPED", "PolicySource", "read_policy", "schema_error", "seal_error", "shipped_path"]

SHIPPED: Final = ("strict", "default", "read-only", "unsafe-open")
"""Names of the policies that travel with the package."""

_LIMIT: Final = 256 * 1024
MEMORY_BYTES: Final = 64 * 1024 * 1024
"""The most memory that reading a policy takes, bytes: its text, and what ``strict_yaml`` builds of it."""


class PolicySource:
    """A policy file as read: where it came from, its document, and the seal it carries, if any."""

    def __init__(self, name: str, document: Document, *, shipped: bool) -> None:
        self.name = name
        self.document = document
        self.shipped = shipped
        self.seal = document.data.pop("seal", None)

    def error(self, message: str, location: Location = (), hint: str | None = None) -> PolicyError:
        """An error about this file, with the line where the location has one."""
        line = self.document.line_of(location)
        where = f"{self.name}:{line}" if line else self.name
        return PolicyError(f"policy {where}: {message}", source=self.name, line=line, hint=hint)


def shipped_path(name: str) -> Path:
    """The file of a shipped policy."""
    return resource("config", "policies", f"{name}.yaml")


def read_policy(name_or_path: str | PathLike[str]) -> PolicySource:
    """Read a shipped policy by its name or any policy file by its path.

    Raises:
        PolicyError: there is no such policy, or the file is unreadable, too large, no UTF-8 or no strict
        YAML.
    """
    given = fspath(name_or_path)
    shipped = given in SHIPPED
    text = _read_text(shipped_path(given) if shipped else Path(given), given)
    try:
        return PolicySource(given, parse(text), shipped=shipped)
    except YamlError as error:
        where = f"{given}:{error.line}" if error.line else given
        raise PolicyError(f"policy {where}: {error}", source=given, line=error.line) from error


def _read_text(path: Path, given: str) -> str:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # a FIFO would block, a directory cannot be read
            kind = "a directory" if stat.S_ISDIR(mode) else "no regular file"
            raise PolicyError(f"policy {given}: it is {kind}", source=given, hint="name a policy file")
        with path.open("rb") as file:
            data = file.read(_LIMIT + 1)
    except FileNotFoundError as error:
        raise _missing(given) from error
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "the path is unusable"
        raise PolicyError(f"policy {given!r}: it cannot be read: {reason.lower()}", source=given) from error
    if len(data) > _LIMIT:
        raise PolicyError(f"policy {given}: it is larger than {_LIMIT // 1024} KiB", source=given)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PolicyError(f"policy {given}:{line}: it is not UTF-8 text", source=given, line=line) from error


def _missing(given: str) -> PolicyError:
    return PolicyError(
        f"policy {given!r}: there is no such file or shipped policy{suggestion(given, SHIPPED)}",
        source=given,
        hint=f"shipped policies: {', '.join(SHIPPED)}; anything else is the path of a policy file",
    )


def schema_error(source: PolicySource, model: type[BaseModel], error: ValidationError) -> PolicyError:
    """The first thing that the schema refuses, in one sentence; the hint holds the others."""
    first, *others = (_complaint(model, item["loc"], item["type"], item["msg"]) for item in error.errors())
    hint = None
    if others:
        hint = "also: " + "; ".join(message for _, message in others[:9])
    return source.error(first[1], first[0], hint)


def _complaint(model: type[BaseModel], location: Location, kind: str, message: str) -> tuple[Location, str]:
    key = ".".join(map(str, location)) or "the policy"
    if kind == "extra_forbidden":
        return location, f"unknown key {key!r}{suggestion(str(location[-1]), _keys_at(model, location[:-1]))}"
    if kind == "missing":
        return location[:-1], f"the key {key!r} is missing"
    text = message.removeprefix("Value error, ")
    return location, f"{key}: {text[:1].lower()}{text[1:]}"


def _keys_at(model: type[BaseModel], location: Location) -> list[str]:
    for part in location:
        field = model.model_fields.get(str(part))
        inner = _model_in(field.annotation) if field is not None else None
        model = inner or model  # an index or a name inside a mapping stays with the mapping's model
    return [*model.model_fields]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for item in get_args(annotation) if (found := _model_in(item))), None)


def seal_error(source: PolicySource, digest: str) -> PolicyError | None:
    """What is wrong with the seal of a file whose meaning has this digest."""
    if source.seal is None:
        if not source.shipped:
            return None
        return source.error("it ships sealed, and its seal is gone", hint="install sandbox-runner again")
    if isinstance(source.seal, str) and re.fullmatch(r"[0-9a-f]{64}", source.seal) and source.seal == digest:
        return None
    return source.error(
        "the seal does not fit what the file says: it was edited, or damaged",
        ("seal",),
        f"if the change is meant, write `seal: {digest}` or take the line out",
    )

"""Which container runtime a sandbox gets: the one that was named, or the strongest that passes a start test.

gVisor's runsc puts a kernel of its own between the sandbox and the host's, so it is preferred where it works.
That it is registered says little: on many machines it cannot start. ``auto`` therefore starts one sandbox
with it, once, and remembers what came of it for the same Engine, registration and image.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from sandbox_runner.errors import ConfigurationError, ImageChangedError, SandboxError
from sandbox_runner.sandbox.cache import recall, remember

__all__ = ["AUTO", "RuntimeChoice", "RuntimeChooser"]

AUTO = "auto"
STRONGEST_FIRST = ("runsc", "runc")
_LARGEST_CACHE = 1 << 16


@dataclass(frozen=True, slots=True)
class RuntimeChoice:
    """A runtime and why it was taken."""

    name: str
    reason: str


class RuntimeChooser:
    """Chooses among the runtimes of one Engine; keeps what it found out for as long as it lives."""

    def __init__(self, info: Mapping[str, Any]) -> None:
        self._registered: Mapping[str, Any] = info.get("Runtimes") or {}
        self._engine = f"{info.get('ID', '')} {info.get('ServerVersion', '')}"
        self._found: dict[str, RuntimeChoice] = {}

    def choose(
        self, wanted: str, image: str, trial: Callable[[str], None], *, cache: Path | None = None
    ) -> RuntimeChoice:
        """Choose a runtime.

        Args:
            wanted: ``auto`` or a name.
            image: id of the image the sandbox will run.
            trial: starts and ends one sandbox with the runtime it is given; ``SandboxError`` if it cannot.
            cache: a file that keeps what ``auto`` found out between processes.

        Raises:
            ConfigurationError: Docker does not know the runtime.
            SandboxError: no runtime passes its start test.
        """
        if wanted != AUTO:
            if wanted not in self._registered:
                known = ", ".join(sorted(self._registered)) or "none"
                raise ConfigurationError(
                    f"Docker has no runtime {wanted!r}; it knows: {known}.",
                    hint="register it in Docker's daemon.json, or use --runtime auto",
                )
            return RuntimeChoice(wanted, "asked for")
        key = self._key(image)
        found = self._found.get(key) or _recall(cache, key, self._registered)
        if found is None:
            found = self._try_all(trial)
            remember(cache, key, asdict(found))
        self._found[key] = found
        return found

    def _try_all(self, trial: Callable[[str], None]) -> RuntimeChoice:
        failures: list[str] = []
        for name in STRONGEST_FIRST:
            if name not in self._registered:
                failures.append(f"{name} is not registered with Docker")
                continue
            try:
                trial(name)
            except ImageChangedError:
                raise  # says nothing about the runtime
            except SandboxError as error:
                failures.append(f"{name} failed its start test: {error}")
            else:
                return RuntimeChoice(name, "; ".join(["the strongest that passed its start test", *failures]))
        raise SandboxError(
            f"No container runtime works: {'; '.join(failures)}", hint="see `sandbox-runner doctor`"
        )

    def _key(self, image: str) -> str:
        told = json.dumps([self._engine, self._registered, image], sort_keys=True, default=str)
        return sha256(told.encode()).hexdigest()


def _recall(cache: Path | None, key: str, registered: Mapping[str, Any]) -> RuntimeChoice | None:
    """What an earlier process found out, if that runtime is still there."""
    found = recall(cache, key, _LARGEST_CACHE)
    try:
        name, reason = found["name"], found["reason"]
        known = name in registered and name in STRONGEST_FIRST
    except (LookupError, TypeError):
        return None
    return RuntimeChoice(name, str(reason)) if known else None

"""The text of modules that other processes run: the bundle this guest came in still has it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["source_of"]


def source_of(module: str) -> str:
    """The source of a module of this package, by its bare name."""
    loader: Any = __spec__.loader
    return str(loader.get_source("sandbox_runner.guest." + module))

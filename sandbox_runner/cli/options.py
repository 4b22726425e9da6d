"""The options that every command takes: kept while the command line is parsed, read by ``session``."""

from __future__ import annotations

from typing import Any

import typer

__all__ = ["remember", "remembered"]

_KEY = "sandbox_runner.cli.options"


def remember(context: typer.Context, param: typer.CallbackParam, value: Any) -> Any:
    """Keep a shared option where the command finds it; given twice, the one nearer to the command counts."""
    if value is not None and param.name is not None:
        context.meta.setdefault(_KEY, {})[param.name] = value
    return value


def remembered(context: typer.Context) -> dict[str, Any]:
    """The shared options that were given, by name."""
    return dict(context.meta.get(_KEY, {}))

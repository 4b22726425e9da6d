"""What a command starts from: the settings of its command line and the state directory they name."""

from __future__ import annotations

from typing import Any

import typer

from sandbox_runner.cli.logs import log_to_stderr
from sandbox_runner.cli.options import remembered
from sandbox_runner.cli.settings import Settings

__all__ = ["settings"]


def settings(context: typer.Context, **flags: Any) -> Settings:
    """The settings of this command line; ``flags`` are the command's own, None where not given.

    From here on what is logged goes to stderr.

    Raises:
        ConfigurationError: as ``Settings.resolve``.
    """
    log_to_stderr()
    shared = remembered(context)
    shared.pop("debug", None)  # the boundary's matter
    config = shared.pop("config", None)
    return Settings.resolve({**shared, **flags}, config=config)

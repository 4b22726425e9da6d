"""What the packages below log, as lines for people on stderr: stdout belongs to answers.

The program is the one place that may set structlog up globally; the packages only ask it for a logger.
"""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from sandbox_runner.cli.screen import Screen
from sandbox_runner.cli.text import printable

__all__ = ["log_to_stderr"]


def log_to_stderr() -> None:
    """Send every log event that has no place of its own to stderr, one escaped line each."""
    structlog.configure(
        processors=[structlog.processors.add_log_level, _line],
        wrapper_class=structlog.make_filtering_bound_logger(0),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _line(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    level, name = str(event.pop("level")), str(event.pop("event"))
    facts = " ".join(f"{key}={printable(str(value))}" for key, value in event.items())
    return f"{Screen().paint(level, 'refused', stream=sys.stderr)}: {printable(name)} {facts}".rstrip()

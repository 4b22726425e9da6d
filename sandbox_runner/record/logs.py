"""structlog, set up in one place and never globally: a logger is built from its processors and passed on.

Two loggers exist. The *call log* writes one line per call into a run's ``calls.jsonl``; the *people's log*
writes the same events to a terminal or a stream. Neither calls ``structlog.configure``, so two runs in one
process, or a program that uses structlog itself, do not see each other's settings or bound context.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, TextIO

import structlog
from structlog.typing import FilteringBoundLogger

from sandbox_runner.record import fields
from sandbox_runner.visible import ascii_json, visible

__all__ = ["Event", "Log", "build_log", "escape_controls", "people_log", "people_processors", "redact"]

Log = FilteringBoundLogger
"""A bound structlog logger: ``log.bind(run=..., tenant=...).info("event", key=value)``."""

Event = MutableMapping[str, Any]
_REDACTED = "[redacted]"


def people_log(
    stream: TextIO | None = None,
    *,
    level: int = logging.INFO,
    colours: bool | None = None,
    json: bool = False,
) -> Log:
    """A logger for people, on stderr unless ``stream`` says otherwise.

    Args:
        stream: where to write; it is not closed.
        level: the lowest ``logging`` level that is shown.
        colours: ``None`` takes them on a terminal unless NO_COLOR is set.
        json: one JSON object per line instead of columns.
    """
    out = sys.stderr if stream is None else stream
    if colours is None:
        colours = out.isatty() and not os.environ.get("NO_COLOR")
    return build_log(structlog.PrintLogger(out), people_processors(colours=colours, json=json), level)


def people_processors(*, colours: bool = False, json: bool = False) -> list[Callable[..., Any]]:
    """What turns an event into a line for people: secrets out, controls visible, one line."""
    console = structlog.dev.ConsoleRenderer(
        colors=colours, sort_keys=False, exception_formatter=structlog.dev.plain_traceback
    )
    render: list[Callable[..., Any]] = (
        [structlog.processors.JSONRenderer(serializer=_json)] if json else [_spell_out, console]
    )
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
        escape_controls,
        *render,
    ]


def redact(_logger: Any, _method: str, event: Event) -> Event:
    """Replace the value of every field whose name speaks of a secret (``fields.SECRET_WORDS``)."""
    for name in event:
        lowered = name.lower()
        if any(word in lowered for word in fields.SECRET_WORDS):
            event[name] = _REDACTED
    return event


def escape_controls(_logger: Any, _method: str, event: Event) -> Event:
    """Make control and direction characters visible: an event is one line and cannot steer a terminal."""
    for name, value in list(event.items()):
        if isinstance(value, str):
            event[name] = visible(value)
        if not (name.isascii() and name.isprintable()):
            event[visible(name)] = event.pop(name)
    return event


def _spell_out(_logger: Any, _method: str, event: Event) -> Event:
    """What is neither text nor number is written as Python shows it; that has to be seen as well."""
    for name, value in event.items():
        if not isinstance(value, str | int | float | None):
            event[name] = visible(repr(value))
    return event


def _json(event: Event, **how: Any) -> str:
    return ascii_json(event, sort_keys=True, **how)


def build_log(sink: Any, processors: list[Callable[..., Any]], level: int = logging.INFO) -> Log:
    """A logger made of its parts alone: nothing is read from structlog's global configuration."""
    log: Log = structlog.wrap_logger(
        sink,
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        context_class=dict,
        cache_logger_on_first_use=False,
    )
    return log

"""Turns what Typer has to say about a command line into one sentence and the way out."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import typer

from sandbox_runner.cli.text import printable
from sandbox_runner.errors import ConfigurationError

__all__ = ["UsageError", "nearest", "usage_error"]


class UsageError(ConfigurationError):
    """A command line that makes no sense; nothing was run."""


def nearest(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the known word that is closest, or nothing."""
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def usage_error(error: typer.TyperException) -> UsageError:
    """The same complaint in our form: what, where, and what to do.

    Typer's own subclasses are private to it, so they are told apart by the attributes they carry.
    """
    context: Any = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "sandbox-runner"
    hint = f"{command} --help shows what it takes"
    option = getattr(error, "option_name", None)
    if option is not None:
        return UsageError(_about_option(error, printable(option), command), hint=hint)
    param: Any = getattr(error, "param", None)
    if param is not None:
        return UsageError(_about_value(error, param, command), hint=hint)
    return UsageError(f"{command}: {_lowered(error.format_message())}", hint=hint)


def _about_option(error: typer.TyperException, option: str, command: str) -> str:
    if hasattr(error, "possibilities"):
        return f"{command} has no option '{option}'{nearest(option, error.possibilities or ())}"
    return f"{command}: {_lowered(error.message)}"


def _about_value(error: typer.TyperException, param: Any, command: str) -> str:
    is_option = param.param_type_name == "option"
    name = "/".join(param.opts) if is_option else param.display_name_raw.rstrip(".")
    if type(error).__name__ == "MissingParameter":
        return f"{command}: {name} is missing"
    return f"{command}: {name}: {_lowered(error.message)}"


def _lowered(sentence: str) -> str:
    return (sentence[:1].lower() + sentence[1:]).rstrip(".")

"""The program: its own options, its commands (see ``commands``), and one boundary around all of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command

from sandbox_runner.cli.boundary import bounded, terminable
from sandbox_runner.cli.commands import LazyGroup, late
from sandbox_runner.cli.options import remember
from sandbox_runner.cli.streams import standard_streams

__all__ = ["app", "main"]

PROGRAM = "sandbox-runner"


class _Program(LazyGroup):
    """The root command with the error boundary in place of Typer's own."""

    def main(  # type: ignore[override]  # the two arguments left out serve completion and Windows
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command line; the process ends with the exit code, or returns it if not standalone."""
        words = list(sys.argv[1:] if args is None else args)

        def work() -> object:
            with self.make_context(prog_name or PROGRAM, words, **extra) as context:
                return self.invoke(context)

        with standard_streams(), terminable():
            code = bounded(work, debug=_wants_debug(words))
        if standalone_mode:
            sys.exit(code)
        return code


def _wants_debug(words: list[str]) -> bool:
    """Known before parsing, for a command line that cannot be parsed is an error as well."""
    given = words[: words.index("--")] if "--" in words else words
    return "--debug" in given or bool(os.environ.get("SANDBOX_RUNNER_DEBUG"))


app = typer.Typer(
    name=PROGRAM,
    cls=_Program,
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog="Exit: 0 every step ok or skipped, 1 a step failed, 2 bad input, 3 refused by policy, "
    "4 sandbox or Docker failed, 5 not verified, 130 interrupted. An answer that cannot be written is 2, "
    "unless the command has a code to tell already.",
)


def _version(asked: bool) -> None:
    if asked:
        sys.stdout.write(late("version", "describe")() + "\n")
        raise typer.Exit


def _shared(flag: str, text: str, *, metavar: str | None = None) -> Any:
    """An option of the program that every command takes as well."""
    return typer.Option(flag, help=text, metavar=metavar, callback=remember, expose_value=False)


@app.callback()
def _root(
    config: Annotated[Path | None, _shared("--config", "A YAML file of settings.", metavar="FILE")] = None,
    home: Annotated[Path | None, _shared("--home", "The state directory.", metavar="DIR")] = None,
    tenant: Annotated[str | None, _shared("--tenant", "Whose runs and snapshots.", metavar="NAME")] = None,
    debug: Annotated[bool | None, _shared("--debug", "Show tracebacks.")] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Replay untrusted agent trails in a disposable Docker container, under a policy, with proof."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point: run the command line (``sys.argv`` by default) and return the exit code."""
    code: int = get_command(app).main(args=argv, prog_name=PROGRAM, standalone_mode=False)
    return code

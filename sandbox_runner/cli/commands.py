"""The table of commands, and the group that loads a command's module when it is asked for.

This is the one place where a module of ours is imported late, and why: ``sandbox-runner --version`` and
``trail show`` must not pay for Docker's client, and a machine without Docker must still read records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from sandbox_runner.cli.usage import UsageError, nearest

__all__ = ["COMMANDS", "CommandGroup", "Entry", "LazyGroup", "late"]


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command lives: a ``module`` beside this one, with a Typer object named ``app``.

    ``summary`` is its line in the help.
    """

    module: str
    summary: str


_HERE = "sandbox_runner.cli"

SECTIONS: Mapping[str, Mapping[str, Entry]] = {
    "Replay": {
        "run": Entry("run", "Replay trails or worklogs in a disposable container."),
        "check": Entry("check", "Would a policy admit this trail? Needs no Docker."),
        "verify": Entry("verify", "Prove a run record, offline or by replaying it."),
    },
    "Look at runs": {
        "runs": Entry("runs", "A table of past runs."),
        "show": Entry("show", "One run: status, steps, digests."),
        "log": Entry("log", "Every call of a run, also while it goes on."),
        "report": Entry("report", "One self-contained HTML page about a run."),
    },
    "Material": {
        "trail": Entry("trail", "Compile, show, verify, join and convert trails."),
        "policy": Entry("policy", "List, show and explain policies."),
        "snapshot": Entry("snapshot", "What runs left behind: compare, restore, export."),
        "keys": Entry("keys", "The keys that sign run records."),
    },
    "Machine": {
        "doctor": Entry("doctor", "Check Docker, runtimes, image and state directory."),
        "image": Entry("image", "Build and list sandbox images."),
        "clean": Entry("clean", "Remove what dead runs left in Docker."),
    },
}
"""Every command, in the order of the help."""

COMMANDS: Mapping[str, Entry] = {
    name: entry for section in SECTIONS.values() for name, entry in section.items()
}


class CommandGroup(TyperGroup):
    """A group whose unknown commands are one sentence that names the nearest."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that the first word names."""
        name = args[0]
        command = self.get_command(ctx, name)
        if command is None:
            known = self.list_commands(ctx)
            raise UsageError(
                f"{ctx.command_path} has no command '{name}'{nearest(name, known)}",
                hint=f"{ctx.command_path} --help lists them: {', '.join(known)}",
            )
        return name, command, args[1:]


class LazyGroup(CommandGroup):
    """The root: commands come from the table; each takes the root's options as well, in any position."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - Typer's signature
        """Names in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - Typer's signature
        """Import the command's module and return its command, or None."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = get_command(_typer(entry.module))
        command.name = cmd_name
        self._share_options(command)
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - Typer's signature
        """The help's list, from the table alone: no command is loaded for it."""
        width = max(map(len, COMMANDS))
        for section, entries in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name.ljust(width), entry.summary) for name, entry in entries.items()])

    def _share_options(self, command: Any) -> None:
        if isinstance(command, TyperGroup):
            for child in command.commands.values():
                self._share_options(child)
        else:
            taken = {opt for param in command.params for opt in param.opts}
            command.params.extend(
                param for param in self.params if not param.is_eager and not taken.intersection(param.opts)
            )


def late(module: str, name: str) -> Any:
    """An attribute of one of our modules, imported now; for what only some command lines need."""
    return getattr(import_module(f"{_HERE}.{module}"), name)


def _typer(module: str) -> typer.Typer:
    app = late(module, "app")
    if not isinstance(app, typer.Typer):
        raise TypeError(f"{module}.app is no Typer object")
    return app

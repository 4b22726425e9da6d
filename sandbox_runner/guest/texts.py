"""The text of modules that other processes run: the bundle this guest came in still has it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["python_command", "source_of"]

# Python puts the working directory first on the path, and even ``from __future__`` is an import: the entry
# has to go before any of them. ``-I`` would do that too, but the fixed hash seed would go with it.
_PRELUDE = """
import sys
sys.path[:] = [entry for entry in sys.path if entry]
exec(compile(sys.argv.pop(1), "<guest>", "exec"))
"""


def source_of(module: str) -> str:
    """The source of a module of this package, by its bare name."""
    loader: Any = __spec__.loader
    return str(loader.get_source("sandbox_runner.guest." + module))


def python_command(python: str, module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this package as a program; no import of it meets the workspace."""
    return [python, "-s", "-c", _PRELUDE, source_of(module), *arguments]

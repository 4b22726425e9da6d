"""Where the guest's programs are: only the image's own folders are searched, never the workspace."""

from __future__ import annotations

import os

from sandbox_runner.guest.outcome import StepError

__all__ = ["PATH", "find_tool", "require_tool"]

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NAMES = {"git": "git", "python3": "Python 3", "rg": "ripgrep (rg)"}


def find_tool(name: str) -> str | None:
    """The path of a program, or ``None`` if the image lacks it.

    Raises:
        OSError: nobody can tell, because descriptors have run out, say.
    """
    for folder in PATH.split(":"):
        path = folder + "/" + name
        try:
            os.stat(path)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        if os.access(path, os.X_OK):
            return path
    return None


def require_tool(name: str) -> str:
    """The path of a program that a step needs.

    Raises:
        StepError: the image lacks it.
    """
    path = find_tool(name)
    if path is None:
        raise StepError(
            f"the image has no {_NAMES.get(name, name)}; use an image that has it", {"missing_tool": name}
        )
    return path

"""What this guest is and has, for the host's record."""

from __future__ import annotations

import os
import sys

from sandbox_runner.guest.tools import TOOLS, find_tool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox_runner.guest.context import Guest

__all__ = ["facts"]


def facts(guest: Guest) -> dict[str, Any]:
    """Python's version, this process's id and uid, and which tools the image has, by path."""
    return {
        "python": "%d.%d.%d" % sys.version_info[:3],
        "pid": os.getpid(),
        "uid": guest.config.uid,
        "tools": {name: find_tool(name) for name in TOOLS},
    }

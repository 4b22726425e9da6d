"""What this guest is, told in its first answer."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox_runner.guest.context import Guest

__all__ = ["facts"]


def facts(guest: Guest) -> dict[str, Any]:
    """Python's version, this process's id, and the uid it wears."""
    return {
        "python": "%d.%d.%d" % sys.version_info[:3],
        "pid": os.getpid(),
        "uid": guest.config.uid,
    }

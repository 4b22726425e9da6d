"""The installed version; apart from ``app`` because reading it costs a third of the program's start."""

from __future__ import annotations

import platform
from importlib.metadata import version

__all__ = ["describe"]


def describe() -> str:
    """Program, its version, and the Python it runs on."""
    return f"sandbox-runner {version('sandbox-runner')} (Python {platform.python_version()})"

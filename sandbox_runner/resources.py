"""Where the files that travel with the package are: policies, the seccomp profile, the image's recipe."""

from __future__ import annotations

from pathlib import Path

__all__ = ["resource"]

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "_data"  # a wheel carries config/ and images/ under this folder
_ROOT = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent  # a checkout has them at its top level


def resource(*parts: str) -> Path:
    """Path of a shipped file or folder, for example ``resource("config", "seccomp.json")``."""
    return _ROOT.joinpath(*parts)

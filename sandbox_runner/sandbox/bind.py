"""A directory of the host as the workspace itself: for trails that are trusted, because nothing is undone.

The guest wears the directory's owner, since only that uid may change it; all else about the sandbox holds.
"""

from __future__ import annotations

import os
from pathlib import Path

from sandbox_runner.errors import ConfigurationError, WorkspaceError

__all__ = ["owner_of"]


def owner_of(directory: Path) -> int:
    """The uid that the guest wears to work in this directory.

    Raises:
        WorkspaceError: there is no such directory, or its path leads through links.
        ConfigurationError: it belongs to root, whose rights no guest ever wears.
    """
    real = Path(os.path.realpath(directory))  # also of a link that leads to itself
    if not directory.is_absolute() or real != directory or not directory.is_dir():
        raise WorkspaceError(
            f"The workspace {directory} cannot be mounted: name it by its absolute path, without links.",
            hint=f"is it {real}?",
        )
    uid = directory.stat().st_uid
    if uid == 0:
        raise ConfigurationError(
            f"The workspace {directory} belongs to root and cannot be mounted.",
            hint="give it to another user, or leave out --bind to work in a copy",
        )
    return uid

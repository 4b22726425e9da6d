"""What one process found out about an image, kept in a file for the next one: the newest finding alone."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from sandbox_runner.private import make_private

__all__ = ["recall", "remember"]


def recall(cache: Path | None, key: str, limit: int) -> Any:
    """What is kept under a key, as JSON of any form; ``None`` where nothing is, or nothing that makes sense.

    Args:
        cache: the file, ``None`` for none.
        key: what it was kept under.
        limit: bytes; of a longer file nothing is believed.
    """
    if cache is None:
        return None
    try:
        with cache.open("rb") as file:
            return json.loads(file.read(limit))[key]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def remember(cache: Path | None, key: str, finding: object) -> None:
    """Keep this and forget what was kept before; where it cannot be kept, it is found out once more."""
    if cache is None:
        return
    try:
        make_private(cache.parent)
        with tempfile.NamedTemporaryFile("w", dir=cache.parent, prefix=cache.name, delete=False) as file:
            json.dump({key: finding}, file)
        os.replace(file.name, cache)  # noqa: PTH105 - the atomic one
    except OSError:
        return

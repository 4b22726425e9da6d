"""The valid word that is nearest to a misspelt one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["suggestion"]


def suggestion(word: str, valid: Iterable[str]) -> str:
    """The end of a sentence about ``word``: what was probably meant, else every valid word."""
    words = [*valid]
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; valid are {', '.join(words)}"

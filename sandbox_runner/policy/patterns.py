"""Pattern lists that can be intersected exactly.

A policy's list of patterns allows what *one* of its patterns matches. Two policies combined allow what both
allow, so a list is kept as *clauses*: every clause must match, and a clause matches if one of its patterns
does. Clauses are held in one canonical form (sorted, without repetition, without a clause that another one
implies), hence equal policies compare equal and combining a policy with itself changes nothing.

Path patterns are gitignore's (pathspec), name patterns are a shell's (``*``, ``?``, ``[...]`` over the whole
name).
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable
from typing import Final

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

__all__ = [
    "EVERYTHING",
    "NOTHING",
    "Clauses",
    "Matcher",
    "canonical",
    "check_name_pattern",
    "check_path_pattern",
    "name_matcher",
    "path_matcher",
]

Clauses = tuple[tuple[str, ...], ...]
"""All of these, each satisfied by one of its patterns; see the module's docstring."""

NOTHING: Final[Clauses] = ((),)

EVERYTHING: Final = frozenset({"**", "*"})
"""Patterns that match whatever there is, in paths and in names."""

_PATTERN_LENGTH: Final = 256
# A pattern becomes a regular expression that backtracks. These limits keep the worst pattern on the worst
# path of PATH_BYTES at some 10 ms; five stars in one name would take minutes.
_STARS_IN_NAME: Final = 2
_STARS: Final = 4
_DOUBLE_STARS: Final = 2


def canonical(clauses: Iterable[Iterable[str]]) -> Clauses:
    """The one way to write these clauses: a conjunction keeps only its strictest members."""
    sets = {frozenset(clause) for clause in clauses}
    strict = {clause for clause in sets if not clause & EVERYTHING}
    if not strict:
        return (("**",),) if sets else NOTHING
    minimal = [clause for clause in strict if not any(other < clause for other in strict)]
    return tuple(sorted(tuple(sorted(clause)) for clause in minimal))


def check_path_pattern(pattern: str) -> str:
    """The pattern itself, if it means what it seems to mean.

    Raises:
        ValueError: gitignore would read it as a comment, a negation or nothing at all, or it is too costly.
    """
    _check_text(pattern)
    if "[" in pattern and not pattern.isascii():
        raise ValueError("a pattern with a bracket must be ASCII")
    names = pattern.strip("/").split("/")
    if any(name in {"", ".", ".."} for name in names):
        raise ValueError("a pattern has no empty, '.' or '..' part")
    stars = [name.count("*") for name in names if name != "**"]
    if (
        max(stars, default=0) > _STARS_IN_NAME
        or sum(stars) > _STARS
        or names[:-1].count("**") > _DOUBLE_STARS
    ):
        raise ValueError(
            f"a pattern has at most {_STARS_IN_NAME} '*' in a name, {_STARS} in all, "
            f"and {_DOUBLE_STARS} '**' before its last part"
        )
    _compile_path(pattern)
    return pattern


def check_name_pattern(pattern: str) -> str:
    """The pattern itself, if it can be used for names.

    Raises:
        ValueError: empty, over-long, or with blanks or control characters where nobody would see them.
    """
    _check_text(pattern)
    return pattern


def _check_text(pattern: str) -> None:
    if not pattern or len(pattern) > _PATTERN_LENGTH:
        raise ValueError(f"a pattern has 1 to {_PATTERN_LENGTH} characters")
    if pattern != pattern.strip() or not pattern.isprintable():
        raise ValueError("a pattern has no blank at its ends and nothing unprintable")


def _compile_path(pattern: str) -> GitIgnoreSpecPattern:
    try:
        compiled = GitIgnoreSpecPattern(pattern)
    except (ValueError, re.error) as error:
        raise ValueError(f"{pattern!r} is no gitignore pattern") from error
    if not compiled.include:  # in a deny list, what matches nothing would allow
        raise ValueError(f"gitignore reads {pattern!r} as a comment, a negation or nothing at all")
    return compiled


class Matcher:
    """Compiled clauses. ``matching`` tells which patterns matched, one per clause, or ``None``."""

    __slots__ = ("_clauses",)

    def __init__(self, clauses: Clauses, compile_: Callable[[str], Callable[[str], object]]) -> None:
        self._clauses = tuple(tuple((pattern, compile_(pattern)) for pattern in clause) for clause in clauses)

    def matching(self, text: str) -> tuple[str, ...] | None:
        """The first pattern of each clause that matches, or ``None`` if some clause has none."""
        found = []
        for clause in self._clauses:
            for pattern, matches in clause:
                if matches(text):
                    found.append(pattern)
                    break
            else:
                return None
        return tuple(found)


def path_matcher(clauses: Clauses) -> Matcher:
    """A matcher of normal forms; a slash after a directory lets ``dir/**`` match the directory itself."""
    return Matcher(clauses, lambda pattern: _compile_path(pattern).match_file)


def name_matcher(clauses: Clauses) -> Matcher:
    """A matcher of names (bottle targets, rooms), which are never paths."""
    return Matcher(clauses, lambda pattern: re.compile(fnmatch.translate(pattern)).match)

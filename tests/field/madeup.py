"""A history for a tree that has none: earlier states, each a little less, and the tree itself at the end.

What is done to a state is the reverse of what a programmer does: files and blocks of lines are taken away,
lines are changed, put in or doubled. The seed decides, so the same tree has the same history everywhere.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

__all__ = ["earlier_states"]

_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_BLOCK = re.compile(rb"\s*(?:async )?(?:def|class) ")

Files = Mapping[str, bytes]


def earlier_states(files: Files, *, seed: str, commits: int) -> list[Files]:
    """The states of a history, the earliest first, ``files`` last.

    Args:
        files: what may be changed: text, by path.
        seed: what decides.
        commits: how many states come before.
    """
    chance = random.Random(seed)
    states = [files]
    for _ in range(commits):
        states.append(_earlier(states[-1], chance))
    return states[::-1]


def _earlier(files: Files, chance: random.Random) -> Files:
    state = dict(files)
    for path in chance.sample(sorted(state), min(2, len(state) // 4)):
        del state[path]
    changed = chance.sample(sorted(state), min(4, len(state)))
    with_crlf = sorted(path for path, data in state.items() if b"\r\n" in data)
    for path in sorted({*changed, *with_crlf[:1]}):
        state[path] = _changed(state[path], chance)
    return state


def _changed(data: bytes, chance: random.Random) -> bytes:
    """A file with one to three things done to it."""
    lines = _LINE.findall(data)
    for change in chance.choices((_without_block, _altered, _longer, _doubled), k=chance.randint(1, 3)):
        if lines:
            lines = change(lines, chance)
    if lines and chance.random() < 0.2:
        lines[-1] = lines[-1].rstrip(b"\r\n")
    if b"".join(lines) == data:
        lines.append(b"# one more line\n")
    return b"".join(lines)


def _without_block(lines: list[bytes], chance: random.Random) -> list[bytes]:
    """A function or class less, where there is one; else a few lines."""
    starts = [number for number, line in enumerate(lines) if _BLOCK.match(line)]
    first = chance.choice(starts or range(len(lines)))
    indent = len(lines[first]) - len(lines[first].lstrip())
    last = first + 1
    while last < len(lines) and (not lines[last].strip() or lines[last][: indent + 1].isspace()):
        last += 1
    return [*lines[:first], *lines[last:]]


def _altered(lines: list[bytes], chance: random.Random) -> list[bytes]:
    at = chance.randrange(len(lines))
    body = lines[at].rstrip(b"\r\n")
    altered = body.decode()[::-1] + " # wasé"
    return [*lines[:at], altered.encode() + lines[at][len(body) :], *lines[at + 1 :]]


def _longer(lines: list[bytes], chance: random.Random) -> list[bytes]:
    at = chance.randrange(len(lines) + 1)
    end = b"\r\n" if lines[0].endswith(b"\r\n") else b"\n"
    return [*lines[:at], b"old = " + str(chance.random()).encode() + end, *lines[at:]]


def _doubled(lines: list[bytes], chance: random.Random) -> list[bytes]:
    """Some lines twice in a row: the later state takes one of two equal texts away."""
    at = chance.randrange(len(lines))
    block = lines[at : at + chance.randint(1, 5)]
    return [*lines[:at], *block, *lines[at:]]

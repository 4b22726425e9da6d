"""Policies, trails and worklogs as large in memory as their limits let them be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sandbox_runner.policy import Policy
from sandbox_runner.policy.loading import MEMORY_BYTES as POLICY_MEMORY
from sandbox_runner.runner.inputs import read_input
from sandbox_runner.trail import DEFAULT_LIMITS, compile_worklog
from tests.bench.reading import Case, Reader, read_one

__all__ = ["READERS"]

_POLICY = 255 << 10


def _policy(folder: Path) -> None:
    Policy.load(folder / "policy.yaml")


def _write(text: Callable[[], str]) -> Callable[[Path], None]:
    return lambda folder: (folder / "policy.yaml").write_text(text()) and None


def _keys() -> str:
    return "".join(f"k{number:x}: 1\n" for number in range(_POLICY // 10))


def _elements() -> str:
    return "name: p\ndeny: [" + "1," * (_POLICY // 2 - 20) + "1]\n"


def _nested() -> str:
    return "name: p\ndeny: [" + "[]," * (_POLICY // 3 - 10) + "[]]\n"


def _flow() -> str:
    return "a: {" + "".join(f"{number:x}: , " for number in range(_POLICY // 9)) + "}\n"


def _deep() -> str:
    return "a: " + "[" * (_POLICY - 10)


def _anchors() -> str:
    return "a: &a [" + ",".join(["x"] * 10) + "]\n" + "".join(f"b{number}: *a\n" for number in range(10_000))


def _trail(folder: Path) -> None:
    read_input(folder / "trail")


def _worklog(folder: Path) -> None:
    read_input(folder / "worklog")


def many_steps(folder: Path) -> None:
    """As many steps as a trail may have."""
    entries = [{"op": "FILE_READ", "path": "a"}] * (DEFAULT_LIMITS.steps - 2)
    begin = {"op": "TRAIL_BEGIN", "agent": "a", "trail_id": "t", "ts": 1}
    (folder / "trail").write_bytes(compile_worklog([begin, *entries, {"op": "TRAIL_END", "status": 0}]))


def many_texts(folder: Path) -> None:
    """As many texts as a trail may have."""
    entries = [{"op": "FILE_READ", "path": f"{number:x}"} for number in range(DEFAULT_LIMITS.strings - 10)]
    begin = {"op": "TRAIL_BEGIN", "agent": "a", "trail_id": "t", "ts": 1}
    (folder / "trail").write_bytes(compile_worklog([begin, *entries, {"op": "TRAIL_END", "status": 0}]))


def wide_texts(folder: Path) -> None:
    """The longest texts, four bytes a character."""
    text = "\U0001f600" + "t" * (DEFAULT_LIMITS.string_bytes - 10)
    entries = [
        {"op": "FILE_WRITE", "path": f"{number}", "content": f"{number}{text[:-4]}"} for number in range(15)
    ]
    begin = {"op": "TRAIL_BEGIN", "agent": "a", "trail_id": "t", "ts": 1}
    (folder / "trail").write_bytes(compile_worklog([begin, *entries, {"op": "TRAIL_END", "status": 0}]))


def log_of_entries(folder: Path) -> None:
    """As many entries as a worklog may have."""
    lines = (b'{"op":"FILE_READ","path":"%x"}\n' % number for number in range(DEFAULT_LIMITS.entries - 2))
    begin = b'{"op":"TRAIL_BEGIN","agent":"a","trail_id":"t","ts":1}\n'
    (folder / "worklog").write_bytes(begin + b"".join(lines) + b'{"op":"TRAIL_END","status":0}\n')


def log_of_wide_texts(folder: Path) -> None:
    """A worklog of the longest texts."""
    text = "\U0001f600".encode() + b"t" * (DEFAULT_LIMITS.string_bytes - 10)
    lines = (b'{"op":"FILE_WRITE","path":"%d","content":"%d%b"}\n' % (n, n, text[:-4]) for n in range(15))
    begin = b'{"op":"TRAIL_BEGIN","agent":"a","trail_id":"t","ts":1}\n'
    (folder / "worklog").write_bytes(begin + b"".join(lines) + b'{"op":"TRAIL_END","status":0}\n')


READERS = {
    "a policy": Reader(
        POLICY_MEMORY,
        _policy,
        {
            "keys": Case(_write(_keys), "policy"),
            "elements": Case(_write(_elements), "policy"),
            "lists": Case(_write(_nested), "policy", quick=False),
            "empty values": Case(_write(_flow), "policy", quick=False),
            "nesting": Case(_write(_deep), "policy", quick=False),
            "anchors": Case(_write(_anchors), "anchors", quick=False),
        },
    ),
    "a trail": Reader(
        DEFAULT_LIMITS.trail_memory,
        _trail,
        {
            "many steps": Case(many_steps, quick=False),
            "many texts": Case(many_texts, quick=False),
            "wide texts": Case(wide_texts, quick=False),
        },
    ),
    "a worklog": Reader(
        DEFAULT_LIMITS.worklog_memory,
        _worklog,
        {
            "many entries": Case(log_of_entries, quick=False),
            "wide texts": Case(log_of_wide_texts, quick=False),
        },
    ),
}
"""What a user gives to be run."""


if __name__ == "__main__":
    read_one(READERS)

"""The trails that are measured, and the directories they work on."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from sandbox_runner.trail import Trail, compile_worklog, load

__all__ = ["coding_session", "mixed_trail", "one_read", "session_workspace", "source_files"]

FILES = 50
_BEGIN = {"op": "TRAIL_BEGIN", "agent": "bench", "trail_id": "bench", "ts": 1_750_000_000}
_END = {"op": "TRAIL_END", "status": 0}
_BODY = "".join(f"def function_{number}(value):\n    return value * {number}\n\n\n" for number in range(20))
_EXAMPLE = Path(__file__).parent.parent / "data" / "examples" / "feature"


def mixed_trail(steps: int) -> Trail:
    """Writes, reads, edits and searches in equal shares over fifty files; every step succeeds."""
    entries: list[dict[str, Any]] = []
    for number in range(steps):
        path = f"src/module_{number // 4 % FILES}.py"
        stamp = f"# stamp {number // 4}\n"
        entries.append(
            (
                {"op": "FILE_WRITE", "path": path, "content": stamp + _BODY},
                {"op": "FILE_READ", "path": path},
                {"op": "FILE_EDIT", "path": path, "old": stamp, "new": f"# edited {number // 4}\n"},
                {"op": "SEARCH_CODE", "pattern": f"function_{number % 20}"},
            )[number % 4]
        )
    return load(compile_worklog([_BEGIN, *entries, _END]))


def source_files(root: Path) -> Path:
    """Fifty small source files."""
    (root / "src").mkdir(parents=True)
    for number in range(FILES):
        (root / "src" / f"module_{number}.py").write_text(_BODY)
    return root


def one_read() -> Trail:
    """The smallest useful replay."""
    return load(compile_worklog([_BEGIN, {"op": "FILE_READ", "path": "src/module_0.py"}, _END]))


def coding_session() -> Trail:
    """Search, read, write, edit, three test runs, two commits."""
    test_run = {"op": "TEST_RUN", "path": "tests/test_wrap.py", "count": 3}
    steps = [
        {"op": "SEARCH_CODE", "pattern": "def wrap"},
        {"op": "FILE_READ", "path": "textkit/wrap.py"},
        test_run,
        {
            "op": "FILE_WRITE",
            "path": "textkit/shout.py",
            "content": "def shout(text):\n    return text.upper()\n",
        },
        {
            "op": "FILE_WRITE",
            "path": "tests/test_shout.py",
            "content": "from textkit.shout import shout\n\n\ndef test_it():\n    assert shout('a') == 'A'\n",
        },
        {"op": "TEST_RUN", "path": "tests", "count": 4},
        {"op": "GIT_COMMIT", "repo": 0, "message": "Add shouting"},
        {"op": "FILE_EDIT", "path": "textkit/shout.py", "old": "text.upper()", "new": "text.upper() + ''"},
        {"op": "TEST_RUN", "path": "tests/test_shout.py", "count": 1},
        {"op": "GIT_COMMIT", "repo": 0, "message": "Shout at once"},
    ]
    return load(compile_worklog([_BEGIN, *steps, _END]))


def session_workspace(root: Path) -> Path:
    """A copy of the example's workspace as a git repository."""
    shutil.copytree(_EXAMPLE / "workspace", root)
    for words in (
        ["init", "-q", "-b", "main"],
        ["config", "user.name", "b"],
        ["config", "user.email", "b@b"],
    ):
        subprocess.run(["git", "-C", root, *words], check=True, timeout=30)
    return root

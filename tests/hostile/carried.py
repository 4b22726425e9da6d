"""Running the tests that carry classes, in one pytest of their own, and reading what came of each."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree as ET  # what pytest itself just wrote

from tests.hostile.classes import RUNTIMES, Answer, AttackClass

__all__ = ["ROOT", "answers_for", "is_there", "run_tests"]

ROOT = Path(__file__).parents[2]
_LONGEST_S = 900.0

Outcomes = dict[str, list[Answer]]  # by node id without parameters


@functools.cache
def _functions(path: str) -> dict[str, int]:
    """The functions at the top of a file and their lines."""
    try:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {node.name: node.lineno for node in tree.body if isinstance(node, ast.FunctionDef)}


def is_there(node: str) -> bool:
    """Whether a test of this id exists."""
    path, _, name = node.partition("::")
    return name.startswith("test_") and name in _functions(path)


def run_tests(nodes: Iterable[str], scratch: Path) -> Outcomes:
    """Run the tests in the order of their files, as they expect to run; a missing one has no outcome."""
    chosen = sorted(
        {node for node in nodes if is_there(node)},
        key=lambda node: (
            node.partition("::")[0],
            _functions(node.partition("::")[0])[node.partition("::")[2]],
        ),
    )
    if not chosen:
        return {}
    report = scratch / "carried.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *("-m", ""),  # the long ones too
        f"--junitxml={report}",
        *chosen,
    ]
    with (scratch / "carried.log").open("wb") as log:
        subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, timeout=_LONGEST_S, check=False)
    return _read(report)


def _read(report: Path) -> Outcomes:
    found: Outcomes = {}
    if not report.exists():
        return found
    for case in ET.parse(report).iter("testcase"):
        path = case.get("classname", "").replace(".", "/") + ".py"
        full = f"{path}::{case.get('name', '')}"
        broken = next(
            (case.find(kind) for kind in ("failure", "error", "skipped") if case.find(kind) is not None), None
        )
        said = "passed" if broken is None else f"{broken.tag}: {broken.get('message', '')[:100]!r}"
        found.setdefault(full.partition("[")[0], []).append(Answer("pytest", full, said, broken is None))
    return found


def answers_for(attack: AttackClass, column: str, outcomes: Outcomes) -> list[Answer]:
    """What a class's tests came to in a column: those of that runtime, and those that know no runtime."""
    answers = []
    for node in attack.tests:
        ran = outcomes.get(node)
        if ran is None:
            text = "did not run" if is_there(node) else "there is no such test"
            answers.append(Answer("pytest", node, text, holds=False))
            continue
        answers += [answer for answer in ran if _runtime_of(answer.attempt) in {None, column}]
    return answers


def _runtime_of(node: str) -> str | None:
    """The runtime that a test's parameters name."""
    parameters = node.partition("[")[2].removesuffix("]").split("-")
    return next((name for name in RUNTIMES if name in parameters), None)

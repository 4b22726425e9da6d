"""Every class of attack and fault is named with the tests that would fail without its defence."""

import ast
import runpy
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COVERED: dict[int, tuple[str, ...]] = runpy.run_path(str(ROOT / "tests/data/hostile_cases.py"))["COVERED"]


@cache
def functions_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def test_all_64_cases_are_listed_and_no_other() -> None:
    assert list(COVERED) == list(range(1, 65))


@pytest.mark.parametrize("case", COVERED)
def test_the_tests_of_a_case_exist(case: int) -> None:
    assert COVERED[case]
    for node in COVERED[case]:
        path, name = node.split("::")
        assert name.startswith("test_")
        assert name in functions_in(path), node

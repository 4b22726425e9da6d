"""None of the reference's 87 known defects is here; each is named with the tests that show it."""

import ast
import json
import runpy
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COVERED: dict[str, tuple[str, ...]] = runpy.run_path(str(ROOT / "tests/data/defects_covered.py"))["COVERED"]
DEFECTS = json.loads((ROOT / "tests/data/vectors/defects.json").read_text())["defects"]


@cache
def functions_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_all_87_defects_are_listed_and_no_other() -> None:
    known = [defect["id"] for defect in DEFECTS]
    assert len(known) == 87
    assert sorted(COVERED) == sorted(known)


@pytest.mark.parametrize("defect", sorted(COVERED))
def test_the_tests_that_show_a_defect_absent_exist(defect: str) -> None:
    assert COVERED[defect]
    for node in COVERED[defect]:
        path, name = node.split("::")
        assert name in functions_in(path), node


def test_every_plugin_that_the_tests_configure_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = " ".join(project["project"]["optional-dependencies"]["test"])
    assert "timeout" in project["tool"]["pytest"]["ini_options"]
    assert "pytest-timeout" in declared
    assert "hypothesis" in declared
    assert project["build-system"]["requires"]

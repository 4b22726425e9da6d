"""Suites of every outcome under three pytests, each with its plugins: natively, and in an image."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox_runner.runner.home import Home
from sandbox_runner.sandbox import Image
from tests.field.suites import compare_suite
from tests.random_suites import Suite, assert_equal, guests, random_suite, whole_suite

VERSIONS = sorted(Path(__file__).parent.glob("pytest-*.txt"))
PLUGINS = ("subtests", "rerunfailures", "asyncio", "xdist", "randomly")
LISTED = """
import importlib.metadata, json, sys
print(json.dumps([f"{name}=={importlib.metadata.version(name)}" for name in sys.argv[1:]]))
"""
OPTIONS = [
    *("", "-v -p no:randomly", "-n2 --dist loadfile", "--reruns 1", "-n2 --reruns 1 --cov=. --cov-report="),
    *("--dist each --tx 2*popen", "--timeout 60 -x -p no:randomly"),
]


@pytest.fixture(scope="session", params=VERSIONS, ids=lambda path: path.stem)
def requirements(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


@pytest.fixture(scope="session")
def python(requirements: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has exactly these versions."""
    place = tmp_path_factory.mktemp(requirements.stem)
    subprocess.run([sys.executable, "-m", "venv", place], check=True, timeout=120)
    pip = [place / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", requirements], check=True, timeout=240)
    wanted = requirements.read_text().split()
    names = [pin.partition("==")[0] for pin in wanted]
    found = subprocess.check_output([place / "bin" / "python", "-c", LISTED, *names], timeout=60)
    assert json.loads(found) == wanted
    return place / "bin" / "python"


@pytest.mark.parametrize("options", OPTIONS)
def test_tests_of_every_kind_come_to_what_plain_pytest_says(
    python: Path, tmp_path: Path, options: str
) -> None:
    oracle = assert_equal(python, whole_suite(PLUGINS, options=options), tmp_path)
    if "-x" in options:
        return
    counts = oracle.counts()
    assert all(counts[name] for name in ("passed", "failed", "skipped", "errors", "xfailed", "xpassed"))
    assert counts["odd one"] == (2 if "each" in options else 1)
    assert any(test.reruns for test in oracle.tests)
    assert any(test.subtests for test in oracle.tests)


@pytest.mark.parametrize("seed", range(4))
def test_a_made_up_suite_comes_to_what_plain_pytest_says(python: Path, tmp_path: Path, seed: int) -> None:
    assert_equal(python, random_suite(f"versions {seed}", plugins=PLUGINS), tmp_path)


CRASH = "import os\ndef test_a(): pass\ndef test_b(): os._exit(1)\ndef test_c(): pass\n"


def test_a_worker_that_dies_is_told_as_pytest_tells_it(python: Path, tmp_path: Path) -> None:
    files = {"test_it.py": CRASH, "pytest.ini": "[pytest]\naddopts = -n1 -p no:randomly\n"}
    oracle = assert_equal(python, Suite(files, honour=True), tmp_path)
    assert {test.name: test.outcomes for test in oracle.tests}["test_it.py::test_b"] == ("failed",)


def test_a_failed_subtest_fails_the_session_and_is_told(python: Path, tmp_path: Path) -> None:
    body = "def test_it(subtests):\n    for i in range(3):\n        with subtests.test(i=i): assert i != 1\n"
    report, _ = guests(python, Suite({"test_it.py": body}, honour=False), tmp_path)
    assert (report.end, report.executed) == (1, 1)
    assert report.subtests == {"passed": 2, "failed": 1}
    assert report.failed() >= 1
    assert {line.split()[0] for line in report.shown} >= {"subtests-failed"}


@pytest.mark.docker
def test_a_run_in_an_image_comes_to_what_plain_pytest_says_there(
    requirements: Path, image: Image, tmp_path: Path
) -> None:
    """In both ways to start a session, see ``tests/field/suites.py``; with workers, for these need most."""
    assert image.id
    tree = tmp_path / "tree"
    (tree / "tests").mkdir(parents=True)
    for name, text in whole_suite(PLUGINS, options="-n2").files.items():
        (tree / ("tests" if name.endswith(".py") else ".") / name).write_text(text)
    found = compare_suite(tree, "tests", Home(tmp_path / "home"), requirements=requirements, runtime="runc")
    assert not found.problems
    assert found.plain["failed"]

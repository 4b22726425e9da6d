"""The rules that ``tests/conftest.py`` holds every test to."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
TESTS = """
import pytest

@pytest.fixture
def tool(): pytest.skip("no tool")

def test_skips_itself(): pytest.skip("no tool")

@pytest.mark.skip(reason="no tool")
def test_is_skipped(): pass

def test_has_a_fixture_that_skips(tool): pass

@pytest.mark.xfail
def test_fails_as_expected(): assert False

def test_depends_on_the_runtime(runtime): pass

def test_depends_on_the_way(way): pass
"""


@pytest.mark.parametrize(("ci", "counts"), [("true", (0, 4)), ("", (4, 0))])
def test_in_ci_what_is_skipped_has_failed_and_a_summary_says_that_gvisor_was_not_tried(
    tmp_path: Path, ci: str, counts: tuple[int, int]
) -> None:
    shutil.copy(CONFTEST, tmp_path)
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "test_module.py").write_text("import pytest\npytest.skip('no tool', allow_module_level=True)")
    options = ["--continue-on-collection-errors", "-rfEs", "-c", os.devnull, "--rootdir", tmp_path]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, tmp_path],
        env={**os.environ, "CI": ci, "DOCKER_HOST": "unix:///nowhere/docker.sock"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    skipped, failed = counts
    assert done.returncode == (pytest.ExitCode.TESTS_FAILED if failed else pytest.ExitCode.OK), done.stdout
    assert done.stdout.count("SKIPPED [1]") == skipped
    assert (
        done.stdout.count("skipped, and in CI no test may be: ") == 2 * failed
    )  # in full, and in the summary
    assert "1 xfailed" in done.stdout
    assert "tests under each: runc 3\ngVisor was not tried: " in done.stdout

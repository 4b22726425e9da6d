"""Made-up suites come to what plain pytest says of them: its last line, each count, and test by test."""

import sys
from pathlib import Path

import pytest

from tests.random_suites import Suite, assert_equal, guests, random_suite

PYTHON = Path(sys.executable)
PLUGINS = ("subtests",) if pytest.version_tuple >= (9,) else ()


@pytest.mark.parametrize("seed", range(8))
def test_a_made_up_suite_comes_to_what_plain_pytest_says(seed: int, tmp_path: Path) -> None:
    assert_equal(PYTHON, random_suite(f"outcomes {seed}", plugins=PLUGINS), tmp_path)


TWICE = """
import pytest
def pytest_collect_file(file_path, parent):
    if file_path.suffix == ".twice":
        return File.from_parent(parent, path=file_path)
class File(pytest.File):
    def collect(self):
        for works in (True, False, True): yield Item.from_parent(self, name="same", works=works)
class Item(pytest.Item):
    def __init__(self, *, works, **rest):
        super().__init__(**rest)
        self.works = works
    def runtest(self): assert self.works
"""


def test_tests_of_one_name_are_counted_one_by_one(tmp_path: Path) -> None:
    oracle = assert_equal(PYTHON, Suite({"a.twice": "", "conftest.py": TWICE}, honour=True), tmp_path)
    assert [test.outcomes for test in oracle.tests] == [("passed",), ("failed",), ("passed",)]


def test_long_ids_that_begin_alike_are_told_apart(tmp_path: Path) -> None:
    ends = []
    for last in ("b", "c"):
        (tmp_path / last).mkdir()
        ids = f"['y' * 9000 + 'a', 'y' * 9000 + '{last}']"
        body = f"import pytest\n@pytest.mark.parametrize('x', [1, 2], ids={ids})\ndef test_it(x): pass\n"
        report, _ = guests(PYTHON, Suite({"test_it.py": body}, honour=False), tmp_path / last)
        assert len(set(report.shown)) == 2
        ends.append(report.sha256())
    assert ends[0] != ends[1]


REPORTS = """
from _pytest.reports import TestReport
def pytest_runtest_makereport(item, call):
    if call.when == "call":
        for number in range(100):
            report = TestReport.from_item_and_call(item, call)
            report.odd = number
            item.ihook.pytest_runtest_logreport(report=report)
def pytest_report_teststatus(report):
    if hasattr(report, "odd"): return chr(1 + report.odd) * 500, "k", "KIND"
"""


def test_no_number_of_outcomes_of_one_test_makes_a_report_incomplete(tmp_path: Path) -> None:
    many = "import pytest\n@pytest.mark.parametrize('x', [1], ids=['\\x01' * 9000])\ndef test_it(x): pass\n"
    escaping = "disable_test_id_escaping_and_forfeit_all_rights_to_community_support = true"
    files = {"test_it.py": many, "conftest.py": REPORTS, "pytest.ini": f"[pytest]\n{escaping}\n"}
    report, output = guests(PYTHON, Suite(files, honour=True), tmp_path)
    assert (report.end, report.executed, report.reruns) == (0, 1, 0), ascii(output)
    assert sum(report.other.values()) == 100
    assert report.counts["passed"] == 1


def test_without_a_terminal_tests_are_counted_all_the_same(tmp_path: Path) -> None:
    body = "import pytest\ndef test_a(): pass\ndef test_b(): assert 0\ndef test_c(): pytest.skip('no')\n"
    suite = Suite({"test_it.py": body, "pytest.ini": "[pytest]\naddopts = -p no:terminal\n"}, honour=True)
    report, _ = guests(PYTHON, suite, tmp_path)
    assert (report.counts["passed"], report.counts["failed"], report.counts["skipped"]) == (1, 1, 1)
    assert report.summary == ""

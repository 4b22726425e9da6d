"""A test run comes to what ``python -m pytest`` comes to, whether forked from the server or started anew."""

import re
from collections.abc import Callable

import pytest

from sandbox_runner.sandbox import ContainerWorld
from sandbox_runner.trail.operations import METHODS
from sandbox_runner.world import Call, Outcome

pytestmark = pytest.mark.docker

PROJECTS: dict[str, dict[str, str]] = {
    "outcomes of every kind": {
        "tests/test_all.py": """
import pytest, sys
def test_pass(): pass
def test_fail(): assert 1 == 2
@pytest.mark.skip
def test_skip(): pass
@pytest.mark.xfail
def test_xfail(): assert 0
@pytest.mark.xfail
def test_xpass(): pass
@pytest.mark.xfail(strict=True)
def test_strict_xpass(): pass
@pytest.fixture
def broken(): raise ValueError
def test_setup_error(broken): pass
@pytest.fixture
def falls_later():
    yield
    raise ValueError
def test_passes_and_teardown_error(falls_later): pass
def test_raises_exit(): sys.exit(0)
@pytest.mark.parametrize("x", ["a b", "ü", "a/b", 1.5, None])
def test_parametrized(x): assert x
""",
    },
    "conftest with fixtures, hooks and autouse": {
        "conftest.py": """
import pytest
@pytest.fixture(autouse=True)
def marked(request): request.node.user_properties.append(("a", 1))
@pytest.fixture(scope="session")
def shared(): return []
def pytest_collection_modifyitems(items): items.reverse()
def pytest_generate_tests(metafunc):
    if "size" in metafunc.fixturenames: metafunc.parametrize("size", [1, 2])
def pytest_runtest_setup(item):
    if "slow" in item.keywords: pytest.skip("slow")
""",
        "tests/conftest.py": "import pytest\n@pytest.fixture\ndef shared(shared): return shared + [1]\n",
        "tests/test_it.py": """
import pytest
def test_shared(shared): assert shared == [1]
def test_size(size): assert size == 1
@pytest.mark.slow
def test_slow(): assert 0
""",
    },
    "options in pytest.ini": {
        "pytest.ini": "[pytest]\naddopts = --strict-markers -k 'not never' --maxfail=1\n"
        "python_files = check_*.py\npython_functions = check_*\nmarkers = known: is known\n",
        "tests/check_it.py": """
import pytest
@pytest.mark.known
def check_one(): assert 0
def check_two(): assert 0
def check_never(): assert 0
def test_other(): assert 0
""",
        "tests/test_not_looked_at.py": "def check_it(): assert 0\n",
    },
    "an unknown marker under strict markers": {
        "pyproject.toml": '[tool.pytest.ini_options]\naddopts = ["--strict-markers"]\n',
        "tests/test_it.py": "import pytest\n@pytest.mark.unknown\ndef test_it(): pass\n",
    },
    "an import path in pyproject.toml": {
        "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["lib"]\nxfail_strict = true\n'
        'filterwarnings = ["error"]\n',
        "lib/inner.py": "VALUE = 1\n",
        "tests/test_it.py": """
import warnings, inner, pytest
def test_path(): assert inner.VALUE == 1
def test_warning(): warnings.warn("now an error")
@pytest.mark.xfail
def test_strict(): pass
""",
    },
    "setup.cfg and a source layout": {
        "setup.cfg": "[tool:pytest]\nminversion = 6.0\npythonpath = src\n",
        "src/pkg/__init__.py": "from pkg.deep import value\n",
        "src/pkg/deep.py": "value = 3\n",
        "tests/__init__.py": "",
        "tests/helpers.py": "FROM = 'tests'\n",
        "tests/test_it.py": "import pkg\nfrom tests.helpers import FROM\n"
        "def test_it(): assert (pkg.value, FROM) == (3, 'tests')\n",
    },
    "unittest": {
        "tests/test_unit.py": """
import unittest
class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls): cls.made = 1
    def test_ok(self): self.assertEqual(self.made, 1)
    def test_sub(self):
        for i in range(3):
            with self.subTest(i=i): self.assertLess(i, 2)
    @unittest.skip("no")
    def test_skipped(self): pass
    @unittest.expectedFailure
    def test_expected(self): self.fail()
    @unittest.expectedFailure
    def test_unexpected(self): pass
class Broken(unittest.TestCase):
    @classmethod
    def setUpClass(cls): raise RuntimeError
    def test_never(self): pass
""",
    },
    "modules that cannot be collected": {
        "tests/test_syntax.py": "def test_it(:\n",
        "tests/test_import.py": "import not_there\ndef test_it(): pass\n",
        "tests/test_exit.py": "import pytest\npytest.skip('all', allow_module_level=True)\n",
        "tests/test_fine.py": "def test_it(): pass\n",
    },
    "two modules of one name": {
        "tests/a/test_same.py": "def test_a(): pass\n",
        "tests/b/test_same.py": "def test_b(): pass\n",
    },
    "names of standard modules": {
        "code.py": "mine = True\n",
        "colorsys.py": "mine = True\n",
        "tests/test_it.py": "import code, colorsys\ndef test_it(): assert code.mine and colorsys.mine\n",
    },
    "doctests": {
        "pytest.ini": "[pytest]\naddopts = --doctest-modules\n",
        "tests/mod.py": 'def f():\n    """\n    >>> f()\n    1\n    >>> f()\n    2\n    """\n    return 1\n',
        "tests/test_it.py": "def test_it(): pass\n",
    },
    "tests that bend the process": {
        "tests/test_bend.py": """
import gc, logging, multiprocessing, os, signal, sys, threading, warnings
def test_directory(): os.chdir("/")
def test_path(): sys.path.insert(0, "/nowhere"); sys.argv[:] = []
def test_environment(): os.environ.clear()
def test_still_there(): assert "PATH" not in os.environ
def test_recursion(): sys.setrecursionlimit(200)
def test_signals(): signal.signal(signal.SIGUSR1, signal.SIG_IGN)
def test_logging(): logging.disable(); logging.getLogger().handlers.clear()
def test_streams(): sys.stdout = sys.stderr = None
def test_modules(): sys.modules.pop("json", None); import json
def test_frozen(): gc.unfreeze(); gc.collect()
def test_threads():
    done = []
    thread = threading.Thread(target=done.append, args=(1,)); thread.start(); thread.join()
    assert done
def test_processes():
    with multiprocessing.get_context("fork").Pool(2) as pool: assert pool.map(abs, [-1, -2]) == [1, 2]
def test_warning(): warnings.warn("seen")
""",
    },
    "a run that is called off": {
        "tests/test_a.py": "import pytest\ndef test_one(): pass\ndef test_two(): pytest.exit('enough', 3)\n",
        "tests/test_b.py": "def test_three(): pass\n",
    },
    "an interrupt": {
        "tests/test_a.py": "def test_one(): pass\ndef test_two(): raise KeyboardInterrupt\n",
    },
    "nothing to run": {"tests/test_a.py": "x = 1\n"},
    "coroutines without a plugin": {
        "tests/test_a.py": "async def test_it(): assert 0\ndef test_sync(): pass\n"
    },
    "a session fixture that breaks at its end": {
        "tests/test_a.py": "import pytest\n@pytest.fixture(scope='session', autouse=True)\ndef late():\n"
        "    yield\n    raise RuntimeError\ndef test_one(): pass\ndef test_two(): pass\n",
    },
}
PLAIN = ["python3", "-m", "pytest", "-rA", "-q", "--tb=no", "--color=no", "-p", "no:cacheprovider", "./tests"]
CALLED_OFF = 3  # the exit code in that project; pytest lists nothing then
COUNTED = {"error": "errors"}
LISTED = {"PASSED": "passed", "FAILED": "failed", "ERROR": "error", "XFAIL": "xfailed", "XPASS": "xpassed"}


def call(world: ContainerWorld, method: str, **arguments: object) -> Outcome:
    return world.perform(Call(METHODS[method].opcode, method, arguments))


def world_with(start_world: Callable[..., ContainerWorld], isolation: str, files: dict[str, str]):
    spells = [{"name": "plain", "argv": PLAIN}]
    tests = {"isolation": isolation, "honour_project_config": True}
    world = start_world(guest={"tests": tests, "fleet": {"spells": spells}})
    for path, text in files.items():
        assert call(world, "file_write", path=path, content=text).text.startswith("file_write: " + path)
    return world


def of_pytest(outcome: Outcome) -> tuple[int, dict[str, int], list[str]]:
    """Exit code, counts, and outcome by test, as pytest told people."""
    lines = outcome.meta["output"].splitlines()
    summary = next((line for line in reversed(lines) if re.search(r" in [0-9.]+s\b", line)), "")
    told = re.findall(r"(\d+) (passed|failed|skipped|errors?|xfailed|xpassed)", summary)
    counts = {COUNTED.get(word, word): int(number) for number, word in told}
    named = [line.split(" ", 1) for line in lines if line.split(" ", 1)[0] in LISTED]
    listed = [f"{LISTED[word]} {name.strip().split(' - ')[0]}" for word, name in named]
    return outcome.details["exit"], counts, sorted(listed)


def of_guest(outcome: Outcome) -> tuple[int, dict[str, int], list[str]]:
    """The same, as the guest reports it."""
    details = outcome.details
    names = ("passed", "failed", "skipped", "errors", "xfailed", "xpassed")
    counts = {name: details[name] for name in names if details[name]}
    listed = [line for line in details["outcomes"] if not line.startswith("skipped ")]
    return details["exit"], counts, sorted(listed)


@pytest.mark.parametrize("name", PROJECTS)
def test_a_project_gets_the_verdicts_of_plain_pytest_in_both_ways_and_again(start_world, name: str) -> None:
    server = world_with(start_world, "server", PROJECTS[name])
    fresh = world_with(start_world, "fresh", PROJECTS[name])
    plain = of_pytest(call(fresh, "spell_cast", spell="plain"))
    for world in (server, fresh, server):  # the server's second session owes nothing to its first
        outcome = call(world, "test_run", test_path="tests", expected=0)
        exit_code, counts, listed = of_guest(outcome)
        assert (exit_code, counts) == plain[:2], outcome.meta["output"]
        assert listed == plain[2] or exit_code == CALLED_OFF, outcome.meta["output"]


ODD = {
    "conftest.py": """
import pytest
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if "odd" in item.name and call.when == "call": report.outcome = "quarantined"
def pytest_report_teststatus(report):
    if report.outcome == "quarantined": return "quarantined", "Q", "QUARANTINED"
""",
    "tests/test_it.py": "def test_odd(): pass\ndef test_it(): pass\n",
    "alone/test_it.py": "def test_odd(): pass\n",
}


@pytest.mark.parametrize("isolation", ["fresh", "server"])
def test_an_outcome_that_a_plugin_adds_is_told_under_its_name_and_is_no_pass(
    start_world: Callable[..., ContainerWorld], isolation: str
) -> None:
    world = world_with(start_world, isolation, ODD)
    outcome = call(world, "test_run", test_path="tests", expected=1)
    details = outcome.details
    assert outcome.text == "test_run: tests (exit=0)", outcome
    assert (details["complete"], details["executed"], details["passed"]) == (True, 1, 1)
    assert details["other"] == {"quarantined": 1}
    assert sorted(details["outcomes"]) == [
        "passed tests/test_it.py::test_it",
        "quarantined tests/test_it.py::test_odd",
    ]
    assert outcome.meta["summary"] == "1 passed, 1 quarantined"
    alone = call(world, "test_run", test_path="alone", expected=0)
    assert alone.text == "test_run: ERROR alone (exit=0, passed=0, failed=0, expected=0, other=1)"

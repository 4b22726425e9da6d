"""Made-up test suites of every outcome, and a session of each: plain pytest's, and the guest's way."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox_runner.guest import pytest_session, texts
from sandbox_runner.guest.testing import TestReport, read_report
from tests.plain_pytest import OBSERVER, Observed, observed

SESSION_S = 120.0
HEAD = """
import pytest, unittest
TRIED = {}
def tried(name):
    TRIED[name] = TRIED.get(name, 0) + 1
    return TRIED[name]
@pytest.fixture
def broken(): raise ValueError
@pytest.fixture
def late():
    yield
    raise ValueError
@pytest.fixture
def late_once(request):
    yield
    assert tried(request.node.nodeid + " late") > 1
"""


def _kinds(text: str) -> list[str]:
    return text.split("---\n")


# Of each kind of test ``NN`` becomes a number, ``IDS`` a list of ids, ``BOUND`` and ``TIMES`` small numbers.
PLAIN = _kinds("""
def test_NN(): pass
---
def test_NN(): assert 0
---
@pytest.mark.skip
def test_NN(): assert 0
---
def test_NN(): pytest.skip('now')
---
@pytest.mark.xfail
def test_NN(): assert 0
---
@pytest.mark.xfail
def test_NN(): pass
---
@pytest.mark.xfail(strict=True)
def test_NN(): pass
---
@pytest.mark.xfail(run=False)
def test_NN(): pass
---
def test_NN(): pytest.xfail('now')
---
def test_NN(broken): pass
---
@pytest.mark.xfail
def test_NN(broken): pass
---
def test_NN(broken, late): pass
---
def test_NN(late, broken): pass
---
def test_NN(late): pass
---
def test_NN(late): assert 0
---
def test_NN(late): pytest.skip('now')
---
@pytest.mark.xfail
def test_NN(late): assert 0
---
class TestNN:
    def test_a(self): pass
    def test_b(self): assert 0
---
@pytest.mark.parametrize('x', range(len(IDS)), ids=IDS)
def test_NN(x): assert x % 3
---
@pytest.mark.parametrize('x', IDS)
def test_NN(x, late): assert x
---
class TestNN(unittest.TestCase):
    def test_a(self): pass
    @unittest.expectedFailure
    def test_b(self): pass
    @unittest.skip('no')
    def test_c(self): pass
---
class TestNN(unittest.TestCase):
    def test_sub(self):
        for i in range(4):
            with self.subTest(i=i):
                if i == 2: self.skipTest('no')
                self.assertLess(i, BOUND)
---
def test_odd_NN(): pass
---
def test_hidden_NN(): pass
---
def test_kept_NN(late): pass
""")
SUBTESTS = _kinds("""
def test_NN(subtests):
    for i in range(4):
        with subtests.test('é', i=i): assert i < BOUND
---
def test_NN(subtests):
    with subtests.test(): pass
    assert 0
---
def test_NN(subtests, late):
    with subtests.test(): pytest.skip('no')
    with subtests.test(): 1
---
def test_NN(subtests):
    with subtests.test(): pytest.xfail('no')
---
@pytest.mark.xfail
def test_NN(subtests):
    with subtests.test(): assert 0
""")
RERUNS = _kinds("""
@pytest.mark.flaky(reruns=2)
def test_NN(): assert tried('NN') > TIMES
---
@pytest.mark.flaky(reruns=2)
def test_NN(late_once): pass
---
@pytest.mark.flaky(reruns=1)
def test_NN(late): pass
---
@pytest.mark.flaky(reruns=2)
def test_NN(broken): pass
---
@pytest.mark.flaky(reruns=2)
@pytest.mark.parametrize('x', range(len(IDS)), ids=IDS)
def test_NN(x): assert tried(f'NN{x}') > x % 4
""")
RERUN_SUBTESTS = _kinds("""
@pytest.mark.flaky(reruns=2)
def test_NN(subtests):
    with subtests.test(): assert tried('sNN') > 1
    with subtests.test(): pass
    assert tried('NN') > TIMES
""")
ASYNC = _kinds("""
@pytest.mark.asyncio
async def test_NN(): pass
---
@pytest.mark.asyncio
async def test_NN(): assert 0
---
@pytest.mark.timeout(60)
def test_NN(late): pass
""")
CONFTEST = """
import pytest
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if "test_kept" in item.name and call.when == "call": report.outcome = "quarantined"
def pytest_report_teststatus(report):
    if "test_odd" in report.nodeid and report.when == "call":
        return "odd one", "o", "ODD"
    if "test_hidden" in report.nodeid and report.when == "call":
        return "", "", ""
"""
MODULES = [
    "import pytest\npytest.skip('all', allow_module_level=True)\n",
    "import not_there\n",
    "def test_it(:\n",
]
_SUMMARY = re.compile(r"(\d+) ([a-z ]+?)(?=,| in |$)")
_NO_OUTCOMES = {
    *("deselected", "warning", "warnings", "rerun"),
    *("subtests passed", "subtests skipped", "subtests xfailed"),
}
_IDS = [
    *"aZ/:;[](){}'\"# \t",
    *("::", "\\", "\\n", "é", "い", "😀", "\u202e", "\u0301", "ﬀ", "..", "%s", "{}", "x" * 300),
]


@dataclass(frozen=True, slots=True)
class Suite:
    """Files by name, and whether a session heeds the project's configuration."""

    files: dict[str, str]
    honour: bool


def whole_suite(plugins: Sequence[str], *, options: str = "") -> Suite:
    """Every kind of test there is with these plugins, in two files; ``options`` are pytest's."""
    chance = random.Random("whole")
    kinds = _kinds_with(plugins)
    files = {"conftest.py": CONFTEST, "pytest.ini": f"[pytest]\naddopts = {options}\n"}
    for number, part in enumerate((kinds[::2], kinds[1::2])):
        tests = [_filled(kind, f"{number}_{at}", chance) for at, kind in enumerate(part)]
        files[f"test_{number}.py"] = HEAD + "\n".join(tests) + "\n"
    return Suite(files, honour=True)


def _kinds_with(plugins: Sequence[str]) -> list[str]:
    kinds = PLAIN + (SUBTESTS if "subtests" in plugins else [])
    kinds += RERUNS if "rerunfailures" in plugins else []
    kinds += RERUN_SUBTESTS if {"subtests", "rerunfailures"} <= {*plugins} else []
    return kinds + (ASYNC if "asyncio" in plugins else [])


def random_suite(seed: str, *, plugins: Sequence[str] = ()) -> Suite:
    """A suite, the same for every use of a seed.

    Args:
        seed: any text.
        plugins: what it may use of ``subtests``, ``rerunfailures``, ``asyncio``, ``xdist`` and ``randomly``.
    """
    chance = random.Random(seed)
    plain_kinds = _kinds_with(())
    kinds = _kinds_with(plugins)
    kinds += [kind for kind in kinds if kind not in plain_kinds]  # they are few
    files = {}
    for number in range(chance.randint(1, 3)):
        tests = [
            _filled(chance.choice(kinds), f"{number}_{at}", chance) for at in range(chance.randint(0, 12))
        ]
        files[f"test_{number}.py"] = HEAD + "\n".join(tests) + "\n"
    if chance.random() < 0.15:
        files["test_module.py"] = chance.choice(MODULES)
    honour = chance.random() < 0.75
    if honour:
        options = ["--continue-on-collection-errors"] if chance.random() < 0.5 else []
        options += ["-n2"] if "xdist" in plugins and chance.random() < 0.3 else []
        options += ["-p no:randomly"] if "randomly" in plugins and chance.random() < 0.5 else []
        options += ["--maxfail=2"] if "no:randomly" in str(options) and chance.random() < 0.1 else []
        escaping = "disable_test_id_escaping_and_forfeit_all_rights_to_community_support"
        raw = f"{escaping} = true\n" if chance.random() < 0.5 else ""
        files["pytest.ini"] = f"[pytest]\naddopts = {' '.join(options)}\n{raw}"
        files["conftest.py"] = CONFTEST if chance.random() < 0.6 else ""
    return Suite(files, honour)


def _filled(text: str, number: str, chance: random.Random) -> str:
    ids = {"".join(chance.choices(_IDS, k=chance.randint(1, 6))) for _ in range(chance.randint(1, 5))}
    if chance.random() < 0.1:
        ids |= {"y" * 9000 + end for end in "ab"}  # longer than a report has room for
    words = {"NN": number, "BOUND": str(chance.randint(0, 4)), "TIMES": str(chance.randint(0, 3))}
    for word, value in {**words, "IDS": ascii(sorted(ids))}.items():
        text = text.replace(word, value)
    return text


def plain(python: Path, suite: Suite, folder: Path) -> tuple[Observed, dict[str, int], str]:
    """A session of plain pytest: what its terminal was told, its last line's counts, what it printed."""
    root = _made(suite, folder / "plain")
    (folder / "observer").mkdir()
    (folder / "observer" / "observer.py").write_bytes(OBSERVER.read_bytes())
    options = ["-q", "--tb=short", "--color=no", "-p", "observer", "-p", "no:cacheprovider"]
    if not suite.honour:
        options += ["-c", os.devnull, "--rootdir", str(root), "--noconftest", "--import-mode=importlib"]
    written = folder / "observed"
    written.touch()
    done = subprocess.run(
        [python, "-m", "pytest", *options, "./"],
        cwd=root,
        env={**_environment(folder), "PYTHONPATH": str(folder / "observer"), "OBSERVED": str(written)},
        capture_output=True,
        text=True,
        check=False,
        timeout=SESSION_S,
    )
    last = next((line for line in reversed(done.stdout.splitlines()) if re.search(r" in [\d.]+s", line)), "")
    counts = {"errors" if name == "error" else name: int(number) for number, name in _SUMMARY.findall(last)}
    return observed(written.read_bytes().splitlines()), counts, done.stdout + done.stderr


def guests(python: Path, suite: Suite, folder: Path) -> tuple[TestReport, str]:
    """A session as the guest starts it: its report as the guest reads it, and what it printed."""
    root = _made(suite, folder / "guests")
    settings = json.dumps({"honour": suite.honour, "path": "./"})
    source = Path(pytest_session.__file__).read_text()
    argv = [str(python), "-s", "-c", texts._PRELUDE, source, settings]
    report = folder / "report"
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" 3>"$REPORT"', "sh", *argv],
        cwd=root,
        env={**_environment(folder), "REPORT": str(report)},
        capture_output=True,
        text=True,
        check=False,
        timeout=SESSION_S,
    )
    said = read_report(report.read_bytes(), cut=False)
    assert said.end == done.returncode, done.stdout + done.stderr
    return said, done.stdout + done.stderr


def _made(suite: Suite, root: Path) -> Path:
    root.mkdir()
    for name, text in suite.files.items():
        (root / name).write_text(text)
    return root


def _environment(folder: Path) -> dict[str, str]:
    (folder / "tmp").mkdir(exist_ok=True)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "LC_ALL": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def assert_equal(python: Path, suite: Suite, folder: Path) -> Observed:
    """Hold the guest's report of a suite against plain pytest: last line, counts, and test by test."""
    oracle, line, printed = plain(python, suite, folder)
    report, output = guests(python, suite, folder)
    seen = {
        "counts": _some({**report.other, **report.counts}),
        "reruns": report.reruns,
        "subtests": report.subtests,
        "digest": report.sha256(),
    }
    subtests = sum((Counter(dict(test.subtests)) for test in oracle.tests), Counter[str]())
    expected = {
        "counts": _some(oracle.counts()),
        "reruns": sum(test.reruns for test in oracle.tests),
        "subtests": dict(subtests),
        "digest": oracle.digest(),
    }
    # The oracle's own counts are those of the line that pytest printed, but for earlier attempts.
    whole = Counter(oracle.counts()) + oracle.dropped
    if line:
        seen["line"] = _some({name: count for name, count in line.items() if name not in _NO_OUTCOMES})
        expected["line"] = _some({name: count for name, count in whole.items() if name not in _NO_OUTCOMES})
    apart = {name: (seen[name], expected[name]) for name in seen if seen[name] != expected[name]}
    assert not apart, f"{suite.files}\n{printed}\n{output}\n(here, plain): {apart}"
    return oracle


def _some(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


__all__ = ["Suite", "assert_equal", "guests", "plain", "random_suite", "whole_suite"]

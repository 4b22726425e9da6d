"""The target of a test run: host and guest agree on the file that it names, and pytest runs that one.

The host judges and lists a file; the guest makes an argument for pytest. Oracles are the ways in which
releases of pytest take an argument apart, written down here, and for a sample pytest itself.
"""

import contextlib
import json
import os
import posixpath
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sandbox_runner.guest.outcome import StepError
from sandbox_runner.guest.testing import _existing
from sandbox_runner.policy import Policy
from sandbox_runner.policy.manifest import Manifest
from sandbox_runner.trail import METHODS
from sandbox_runner.world import Call

POLICY = Policy.from_mapping(
    {"policy": 1, "opcodes": ["TEST_RUN"], "paths": {"deny": ["hidden/**"]}, "tests": {"paths": ["**"]}}
)
FILES = (
    "tests/test_x.py",
    "hidden/test_x.py",
    "tests/colon:",
    "tests/colon",
    "tests/test_x.py[",
    "tests/a b.py",
    "@file",
    "-p",
    "x:",
)
BODY = """
import pytest
@pytest.mark.parametrize("p", ["\\u3044", "a/../../tests/q", "a::b", "c d", "e\\\\f", "[", "../../hidden/x"])
def test_p(p): pass
class TestIn:
    def test_q(self): pass
"""
PIECES = [
    *(
        "tests",
        "hidden",
        "test_x.py",
        "test_x",
        "/",
        "/",
        "/",
        "//",
        "::",
        "::",
        ":",
        "..",
        ".",
        "/../",
        "/./",
        "[",
        "]",
    ),
    *(
        "test_p",
        "TestIn",
        "test_q",
        "@file",
        "@",
        "-p",
        "-",
        "\\",
        " ",
        "\n",
        "\0",
        "\x7f",
        "\t",
        "\u3044",
        "colon:",
    ),
    *(
        "\u2215",
        "\uff0e\uff0e",
        "\u0000",
        ".git",
        "*",
        "~",
        "%",
        "$HOME",
        "=",
        "a b.py",
        "x:",
        "::/",
        "/::",
        "\ud800",
    ),
    *(
        "tests/test_x.py",
        "hidden/test_x.py",
        "tests/test_x.py::",
        "hidden/test_x.py::test_p[",
        "a/../../tests/q",
    ),
]
TARGETS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("targets")
    for name in FILES:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(BODY)
    return root


@pytest.fixture(scope="module")
def guest(tree: Path) -> Iterator[SimpleNamespace]:
    root = os.open(tree, os.O_RDONLY)
    yield SimpleNamespace(root=root, identity=contextlib.nullcontext())
    os.close(root)


def argument_of(guest: SimpleNamespace, target: str) -> str | None:
    """What pytest would be given, or ``None`` where the step fails before."""
    try:
        return _existing(guest, target)
    except StepError:
        return None


def judged(target: str) -> str | None:
    """The file that the host lists for a target, or ``None`` where the policy does not let it run."""
    call = Call(METHODS["test_run"].opcode, "test_run", {"test_path": target, "expected": 0}, 1)
    if not POLICY.decide(call).allowed:
        return None
    (file,) = Manifest.of([call]).tests
    return file


def readings(argument: str) -> set[str]:
    """The file of an argument as releases of pytest find it: split at each ``::``, or first at ``[``."""
    files = {argument.split("::", 1)[0], argument.split("[", 1)[0].split("::", 1)[0]}
    return {posixpath.normpath(file) for file in files}


@settings(max_examples=3000)
@given(TARGETS)
@example("hidden/test_x.py::test_p[a/../../tests/q]")
@example("tests/colon:/::test_p")
@example("tests/test_x.py[::x")
@example("x:/..::test_p")
@example("::")
def test_what_is_listed_and_judged_is_what_pytest_is_given(guest: SimpleNamespace, target: str) -> None:
    file, argument = judged(target), argument_of(guest, target)
    if argument is not None:
        assert argument.startswith("./"), "neither an option nor a file of arguments"
        assert readings(argument) == {posixpath.normpath(argument.partition("::")[0])}
        if file is not None:
            assert readings(argument) == {file}
            assert not file.startswith("hidden")
        assert argument.partition("::")[1:] == target.partition("::")[1:], "the node id is passed on as it is"


@given(
    TARGETS, st.sampled_from(["", "::x", "::test_p[", "::p[a/../../tests/q]", "/", "/.", "//", "/../x.py"])
)
def test_no_spelling_of_a_denied_file_is_admitted(noise: str, end: str) -> None:
    for spelling in (
        "hidden/test_x.py",
        "./hidden//test_x.py",
        "x/../hidden/./test_x.py",
        "hidden/x/../y.py",
    ):
        assert judged(spelling + end) is None
        assert judged(f"{spelling}::{noise}") is None


COLLECT = """
import json, os, sys, pytest
class Seen:
    def __init__(self): self.ids = []
    def pytest_collection_modifyitems(self, items):
        self.ids += [[str(item.fspath), item.nodeid] for item in items]
quiet = ["-q", "--collect-only", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", os.getcwd()]
answers = []
for argument in json.load(sys.stdin):
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        seen = Seen()
        code = 99
        try: code = int(pytest.main([*quiet, "--import-mode=importlib", argument], plugins=[seen]))
        finally:
            os.write(write, json.dumps([code, seen.ids]).encode())
            os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe: answers.append(json.load(pipe))
    os.waitpid(pid, 0)
json.dump(answers, sys.stdout)
"""


def collected(tree: Path, arguments: list[str]) -> list[tuple[int, list[list[str]]]]:
    """Exit code, and path and node id of each test, as pytest finds them for each of these arguments."""
    python = os.environ.get("TARGETS_PYTHON", sys.executable)  # one with another release of pytest
    done = subprocess.run(
        [python, "-c", COLLECT],
        input=json.dumps(arguments).encode(),
        cwd=tree,
        capture_output=True,
        check=True,
        timeout=240,
    )
    found: list[tuple[int, list[list[str]]]] = json.loads(done.stdout)
    return found


def test_every_node_id_that_pytest_prints_is_admitted_and_runs_that_one_test(
    tree: Path, guest: SimpleNamespace
) -> None:
    ((_, listed),) = collected(tree, ["./tests/test_x.py"])
    ids = [name for _, name in listed]
    assert "tests/test_x.py::test_p[\\u3044]" in ids
    assert len(ids) == 8
    assert {judged(name) for name in ids} == {"tests/test_x.py"}
    arguments = [argument_of(guest, name) for name in ids]
    answers = collected(tree, [argument for argument in arguments if argument])
    found = [[name for _, name in items] for _, items in answers]
    assert found == [[name] for name in ids]


SAMPLE = [
    *(
        "tests",
        "tests/",
        "tests//test_x.py",
        "./tests/./test_x.py",
        "tests/../tests/test_x.py",
        "tests/test_x.py/",
    ),
    *("tests/test_x.py::", "tests/test_x.py::::", "tests/test_x.py:::test_p", "tests/test_x.py::test_p"),
    *("tests/test_x.py::TestIn::test_q", "tests/test_x.py::::TestIn::test_q", "tests/test_x.py::TestIn::"),
    *(
        "tests/test_x.py::test_p[",
        "tests/test_x.py::test_p[a/../../tests/q]",
        "tests/test_x.py::../../hidden/test_x.py",
    ),
    *(
        "hidden/test_x.py::test_p[a/../../tests/q]",
        "::",
        "::test_p",
        ".::x",
        "tests::x",
        "@file",
        "-p",
        "x:",
        "tests/colon:",
    ),
    *(
        "tests/colon:/::test_p",
        "tests/colon:/.::test_p",
        "x:/::test_p",
        "tests/a b.py::test_p",
        "tests/a b.py",
    ),
    *(
        "tests/test_x.py[::test_p",
        "tests/test_x.py[x]",
        "tests[/../hidden/test_x.py",
        "[/../hidden/test_x.py::test_p",
    ),
    *(
        "tests/test_x.py::@file",
        "tests/test_x.py::-p",
        "tests/test_x.py::test_p hidden/test_x.py",
        "~",
        "$HOME",
    ),
]


@pytest.mark.long
def test_pytest_itself_collects_from_the_judged_file_alone(tree: Path, guest: SimpleNamespace) -> None:
    """Whatever the spelling: the tests that are found lie in the file or directory that the host listed."""
    arguments = {target: argument_of(guest, target) for target in SAMPLE}
    given_to = {target: argument for target, argument in arguments.items() if argument is not None}
    found = dict(zip(given_to, collected(tree, list(given_to.values())), strict=True))
    admitted = {target for target in found if judged(target) is not None}
    assert len(admitted) > 20
    ran = 0
    for target in admitted:
        place = (tree / str(judged(target))).resolve()
        code, items = found[target]
        paths = [Path(path).resolve() for path, _ in items]
        assert all(path == place or place in path.parents for path in paths), (target, items)
        assert code in {0, 4, 5}, (target, code)
        ran += bool(items)
    assert ran > 10
    assert not any(
        "hidden" in path for target in admitted if judged(target) != "." for path, _ in found[target][1]
    )

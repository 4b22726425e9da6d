"""What a test session finds, runs and imports in the container, beside plain pytest of the same image."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from sandbox_runner.sandbox import ContainerWorld
from sandbox_runner.trail.operations import METHODS
from sandbox_runner.world import Call, Outcome, Status

pytestmark = pytest.mark.docker

KEEP = """
import json, sys, pytest
def test_path():
    with open("/workspace/path.json", "w") as file: json.dump(sys.path, file)
"""
FILES = {
    "pytest.ini": "[pytest]\npythonpath = lib other\naddopts = -p no:cacheprovider\n",
    "conftest.py": "import sys\nsys.path.append('/of/conftest')\n",
    "tests/deep/test_keep.py": KEEP,
    "tests/deep/conftest.py": "",
    "lib/inner.py": "",
}
SPELLS = [
    {"name": "plain", "argv": ["python3", "-m", "pytest", "./tests"]},
    {"name": "read", "argv": ["cat", "path.json"]},
]


def call(world: ContainerWorld, method: str, **arguments: object) -> Outcome:
    return world.perform(Call(METHODS[method].opcode, method, arguments))


def path_of(world: ContainerWorld, method: str, **arguments: object) -> list[str]:
    outcome = call(world, method, **arguments)
    assert outcome.status is Status.OK, outcome
    found: list[str] = json.loads(call(world, "spell_cast", spell="read").meta["output"])
    return [entry for entry in found if not entry.endswith("python311.zip")]  # left out, for the codecs


def start(start_world: Callable[..., ContainerWorld], files: dict[str, str], **tests: Any) -> ContainerWorld:
    world = start_world(guest={"tests": tests, "fleet": {"spells": SPELLS}})
    for path, text in files.items():
        assert call(world, "file_write", path=path, content=text).status is Status.OK
    return world


@pytest.mark.parametrize("isolation", ["server", "fresh"])
def test_the_path_is_plain_pytests_with_the_source_where_an_installed_project_is(
    start_world: Callable[..., ContainerWorld], isolation: str
) -> None:
    world = start(start_world, FILES, isolation=isolation, honour_project_config=True)
    plain = path_of(world, "spell_cast", spell="plain")
    front = ("tests/deep", "", "lib", "other", "")  # two of conftest files, two of pytest.ini, one of -m
    assert plain[:5] == [f"/workspace/{name}".rstrip("/") for name in front]
    assert path_of(world, "test_run", test_path="tests", expected=1) == plain
    call(world, "file_write", path="src/more_itertools.py", content="mine = True\n")  # the image has one too
    call(world, "file_write", path="src/colorsys.py", content="mine = True\n")
    body = (
        "import colorsys, more_itertools\ndef test_it(): assert more_itertools.mine and colorsys.rgb_to_hsv\n"
    )
    assert call(world, "file_write", path="tests/deep/test_src.py", content=body).status is Status.OK
    found = path_of(world, "test_run", test_path="tests", expected=2)
    at = found.index("/workspace/src")
    assert [entry for entry in found if entry != "/workspace/src"] == plain
    assert found[at - 1].endswith("/lib-dynload")
    assert all("-packages" in entry or entry == "/of/conftest" for entry in found[at + 1 :])


PROGRAMS = r"""
import os, runpy, sys, zipfile, pytest
R = os.path.dirname(os.path.abspath(__file__))
def test_script(): assert runpy.run_path(R + "/script.py")["value"] == "script"
def test_directory(): assert runpy.run_path(R + "/program")["value"] == "program"
def test_archive():
    with zipfile.ZipFile(R + "/bundle.zip", "w") as archive:
        archive.writestr("__main__.py", "value = 'archive'")
        archive.writestr("zipped.py", "value = 1")
    assert runpy.run_path(R + "/bundle.zip")["value"] == "archive"
    sys.path.insert(0, R + "/bundle.zip")
    import zipped
    assert zipped.value == 1
@pytest.mark.parametrize("p", ["\u3044", "a/../../tests/q", "a::b", "c d", "e\\f"])
def test_p(p): pass
"""


def test_programs_of_the_workspace_run_and_node_ids_name_their_tests(
    start_world: Callable[..., ContainerWorld], way: tuple[str, str]
) -> None:
    runtime, isolation = way
    for honour in (True, False):
        tests = {"isolation": isolation, "honour_project_config": honour}
        world = start_world(runtime=runtime, guest={"tests": tests})
        call(world, "file_write", path="script.py", content="value = 'script'\n")
        call(world, "file_write", path="program/__main__.py", content="value = 'program'\n")
        call(world, "file_write", path="test_x.py", content=PROGRAMS)
        outcome = call(world, "test_run", test_path="test_x.py", expected=8)
        assert outcome.status is Status.OK, outcome.meta["output"]
        for name in ("\\u3044", "a/../../tests/q", "a::b", "c d", "e\\\\f"):
            target = f"./x/../test_x.py::test_p[{name}]"
            outcome = call(world, "test_run", test_path=target, expected=1)
            assert outcome.text == f"test_run: {target} (exit=0)"
            assert outcome.details["outcomes"] == [f"passed test_x.py::test_p[{name}]"]
        for target in ("test_x.py[::test_p", "test_x.py:/::test_p", "test_x.py::a\n"):
            assert call(world, "test_run", test_path=target, expected=0).status is Status.FAILED

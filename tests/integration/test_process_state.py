"""The process that runs a test is the one that ``python -m pytest`` would have, whichever way it was made."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox_runner.sandbox import ContainerWorld
from sandbox_runner.trail.operations import METHODS
from sandbox_runner.world import Call, Outcome, Status

pytestmark = pytest.mark.docker

PROBE = Path(__file__).parents[1] / "hostile" / "probes" / "process_state.py"
KEEP = "import sys\nsys.loaded_before = sorted(sys.modules)\n"
SPELLS = [
    {"name": "plain", "argv": ["python3", "-m", "pytest", "./test_state.py"]},
    {"name": "read", "argv": ["python3", "-c", "print(open('state.json').read())"]},
]

# What differs, and why. Of a session beside plain pytest:
PLAIN = {
    "/descriptors/3": "the report; plain pytest has the codecs' archive of the default image open there",
    "/identity/command": "the kernel's, from the start: the session's source stands in it",
    "/modules": "runpy comes with -m, and a codec with the archive that plain pytest reads",
    "/system/argv": "options that the session adds; the program in front of them is the same",
    "/system/flags": "-s: nobody's own folder of packages counts, and /tmp is everybody's home",
    "/system/orig_argv": "the same options",
    "/system/path": "without the codecs' archive of the default image, which a session would keep open",
}
# Of a session that the server forked beside one in a process of its own:
FORKED = {
    "/identity/parent": "its parent is the server, as a shell would be that of plain pytest",
}


def call(world: ContainerWorld, method: str, **arguments: object) -> Outcome:
    return world.perform(Call(METHODS[method].opcode, method, arguments))


def state(world: ContainerWorld, method: str, **arguments: object) -> dict[str, Any]:
    """The state of the process of that call, with the uid's number left out."""
    outcome = call(world, method, **arguments)
    assert outcome.status is Status.OK, outcome
    text = call(world, "spell_cast", spell="read").meta["output"]
    uid = json.loads(text)["identity"]["uid"]
    found: dict[str, Any] = json.loads(text.replace(uid, "UID"))
    return found


def differences(one: Any, other: Any, place: str = "") -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            yield from differences(one.get(key), other.get(key), f"{place}/{key}")
    elif one != other:
        yield place


def test_a_session_has_the_process_that_plain_pytest_has_whichever_way_it_was_made(
    start_world: Callable[..., ContainerWorld], runtime: str
) -> None:
    states: dict[str, dict[str, Any]] = {}
    for isolation in ("fresh", "server"):
        tests = {"isolation": isolation, "honour_project_config": True}
        world = start_world(runtime=runtime, guest={"tests": tests, "fleet": {"spells": SPELLS}})
        call(world, "file_write", path="test_state.py", content=PROBE.read_text())
        call(world, "file_write", path="pytest.ini", content="[pytest]\naddopts = -s -p no:cacheprovider\n")
        call(world, "file_write", path="conftest.py", content=KEEP)
        for time in ("", " again"):
            states[isolation + time] = state(world, "test_run", test_path="test_state.py", expected=1)
    states["plain"] = state(world, "spell_cast", spell="plain")
    chances = [found.pop("chance") for found in states.values()]
    assert all(len(set(chance)) == len(states) for chance in zip(*chances, strict=True)), chances

    assert list(differences(states["fresh"], states["fresh again"])) == []
    assert list(differences(states["server"], states["server again"])) == []
    assert list(differences(states["fresh"], states["server"])) == list(FORKED)
    assert list(differences(states["plain"], states["fresh"])) == list(PLAIN)


PIPES = """
import os, pytest, resource, signal
def test_reader_gone():
    r, w = os.pipe(); os.close(r)
    with pytest.raises(BrokenPipeError): os.write(w, b"x")
def test_file_too_large(tmp_path):
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    with pytest.raises(OSError):
        with open(tmp_path / "f", "wb", buffering=0) as file: file.write(b"x"); file.write(b"y")
def test_interrupted():
    with pytest.raises(KeyboardInterrupt): signal.raise_signal(signal.SIGINT)
def test_own_memory_can_be_read():
    assert open("/proc/self/mem", "rb") and open("/proc/self/environ").read()
def test_foreign_functions():
    import ctypes
    assert ctypes.CDLL(None).getpid() == os.getpid() and ctypes.pythonapi.Py_IsInitialized()
    class Pair(ctypes.Structure): _fields_ = [("a", ctypes.c_int), ("b", ctypes.c_char_p)]
    assert ctypes.sizeof(Pair) == 16 and ctypes.POINTER(Pair)
def test_after(): pass
"""


def test_no_signal_ends_a_session_that_a_new_python_would_not_end_by(
    start_world: Callable[..., ContainerWorld], way: tuple[str, str]
) -> None:
    runtime, isolation = way
    world = start_world(runtime=runtime, guest={"tests": {"isolation": isolation}})
    call(world, "file_write", path="test_pipes.py", content=PIPES)
    outcome = call(world, "test_run", test_path="test_pipes.py", expected=6)
    assert outcome.status is Status.OK, outcome

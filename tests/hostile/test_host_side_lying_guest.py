"""A container whose process 1 is a liar in our guest's place: the host gets a typed error and stays small."""

import ast
import subprocess
import sys
import time
import tracemalloc
from collections import deque
from pathlib import Path

import pytest

import sandbox_runner
from sandbox_runner.errors import SandboxError
from sandbox_runner.sandbox import Deadlines, Engine, Image, RuntimeChoice, Sandbox, SandboxSpec
from sandbox_runner.sandbox.container import launch

pytestmark = pytest.mark.docker

PRELUDE = """
import json, os, struct, sys, time
def frame(header, body=b""):
    text = json.dumps(header).encode()
    return struct.pack(">II", len(text), len(body)) + text + body
def say(data):
    while data:
        data = data[os.write(1, data):]
os.read(0, 65536)
"""
LIES = {
    "mute": "time.sleep(600)",
    "leaves": "sys.exit(3)",
    "floods with bytes": "while True: say(bytes(1 << 20))",
    "floods with answers": "while True: say(frame({'id': 0, 'ok': True, 'more': True}, bytes(1 << 20)))",
    "floods stderr": "while True: os.write(2, b'x' * (1 << 20))",
    "dribbles": "while True: os.write(1, b'\\0'); time.sleep(0.05)",
    "promises": "say(struct.pack('>II', 10, 32 << 20)); time.sleep(600)",
    "promises too much": "say(b'\\xff' * 8); time.sleep(600)",
    "answers what nobody asked": "say(frame({'id': 7, 'ok': True})); time.sleep(600)",
    "sends deep nesting": "say(struct.pack('>II', 200000, 0) + b'[' * 200000); time.sleep(600)",
    "never reads": "time.sleep(600)",
    "holds its streams in a child": "os.fork() or time.sleep(600); os._exit(0)",
}


def lying(engine: Engine, image: Image, lie: str) -> Sandbox:
    spec = SandboxSpec(deadlines=Deadlines(stop=0.3))
    command = ("python3", "-I", "-S", "-c", PRELUDE + lie)
    container = launch(engine, spec, image=image, runtime="runc", uid=1 << 20, command=command)
    return Sandbox(
        engine, spec, image=image, runtime=RuntimeChoice("runc", "test"), uid=1 << 20, container=container
    )


def converse(sandbox: Sandbox, body: bytes) -> None:
    """Ask for an answer in parts, take it for half a second, then ask for something else."""
    end = time.monotonic() + 0.5
    for _ in sandbox.channel.stream("scan", {}, body, allowance_s=1.0):
        if time.monotonic() > end:
            break
    sandbox.request("call", allowance_s=0.5)


@pytest.mark.parametrize("name", LIES)
def test_a_lying_guest_is_a_typed_error_in_time_and_leaves_nothing(engine, image, name: str) -> None:
    sandbox = lying(engine, image, LIES[name])
    tracemalloc.start()
    try:
        with pytest.raises(SandboxError):
            converse(sandbox, bytes(8 << 20) if name == "never reads" else b"")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        receipt = sandbox.close()
    assert receipt.clean, receipt
    assert peak < 48 << 20


def test_a_scan_without_end_is_ended(engine, image) -> None:
    sandbox = lying(engine, image, LIES["floods with answers"])
    try:
        with pytest.raises(SandboxError, match="longer than"):
            deque(sandbox.scan({"max_entries": 100}), maxlen=0)
    finally:
        assert sandbox.close().clean


HOST_PROGRAMS = {
    "sandbox/engine.py": "what Docker says of one file in an image: its first entry, read in memory",
    "sandbox/environments.py": "a build context, which is written and not read",
    "sandbox/wheels.py": "pip, which fetches wheels and may start nothing itself",
    "sandbox/build.py": "mmdebstrap and apt-get, for the image",
    "world/native_process.py": "the unsandboxed world, which says so",
}


def test_the_host_starts_no_program_and_opens_no_archive_on_what_a_workspace_holds() -> None:
    root = Path(sandbox_runner.__file__).parent
    forbidden = {"subprocess", "tarfile", "zipfile", "pty", "runpy", "pickle", "shelve", "xml"}
    for path in root.rglob("*.py"):
        name = path.relative_to(root).as_posix()
        if name.startswith("guest/") or name in HOST_PROGRAMS:
            continue
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            modules = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            assert not {module.split(".")[0] for module in modules} & forbidden, name


def test_importing_the_package_starts_nothing_and_leaves_no_thread() -> None:
    code = "import threading, sandbox_runner.sandbox; print(threading.active_count())"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "1\n"
    )

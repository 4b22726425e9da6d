"""Two sandboxes at once: what one holds in memory, listens on or runs is nowhere in the other."""

import contextlib
import json
import time
from collections.abc import Iterator

import pytest

from sandbox_runner.sandbox import Engine, Image, SandboxSpec
from sandbox_runner.sandbox.container import launch
from sandbox_runner.sandbox.isolation import ask_inside
from sandbox_runner.sandbox.receipt import remove

pytestmark = pytest.mark.docker

LEAVE = """
import os, socket, sys
for folder in ("/dev/shm", "/tmp"):
    with open(folder + "/of-the-neighbour", "w") as file:
        file.write("x")
listener = socket.socket(socket.AF_UNIX)
listener.bind("\\0of-the-neighbour")
listener.listen()
port = socket.create_server(("127.0.0.1", 4077))
if os.fork() == 0:
    sys.stdin.read()
    os._exit(0)
print("ready", flush=True)
sys.stdin.read()
"""

LOOK = """
import errno, json, os, socket
def connect(family, place):
    try:
        socket.socket(family).connect(place)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
print(json.dumps({
    "files": [folder for folder in ("/dev/shm", "/tmp") if os.path.exists(folder + "/of-the-neighbour")],
    "abstract socket": connect(socket.AF_UNIX, "\\0of-the-neighbour"),
    "port": connect(socket.AF_INET, ("127.0.0.1", 4077)),
    "processes": len([name for name in os.listdir("/proc") if name.isdigit()]),
}))
"""


@pytest.fixture
def neighbour(engine: Engine, image: Image, runtime: str) -> Iterator[None]:
    """A sandbox that holds something everywhere, until the test is over."""
    command = ("python3", "-I", "-S", "-c", LEAVE)
    container = launch(engine, SandboxSpec(), image=image, runtime=runtime, uid=1 << 21, command=command)
    try:
        said, end = b"", time.monotonic() + 60
        container.attachment.connection.settimeout(60)
        with contextlib.suppress(TimeoutError):
            while b"ready" not in said and time.monotonic() < end:
                said += container.attachment.connection.recv(4096)
        assert b"ready" in said
        yield
    finally:
        container.attachment.close()
        remove(engine, container.id, (), patience_s=3.0)


def test_what_one_sandbox_holds_another_does_not_see(
    neighbour: None, engine: Engine, image: Image, runtime: str
) -> None:
    assert json.loads(ask_inside(engine, LOOK, image=image, runtime=runtime)) == {
        "files": [],
        "abstract socket": "ECONNREFUSED",
        "port": "ECONNREFUSED",
        "processes": 1,
    }

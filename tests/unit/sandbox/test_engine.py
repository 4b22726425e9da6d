"""The door to Docker against Engines that are absent, mute, broken or rude."""

import contextlib
import gc
import json
import os
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox_runner.errors import DockerError
from sandbox_runner.sandbox.engine import Engine

VERSION = b'{"ApiVersion": "1.41", "Version": "20.10"}'


def http(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.fixture
def fake_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """A socket that answers by the first rule whose key is in the request line; None is silence."""
    path = tmp_path / "docker.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    rules: dict[str, bytes | None] = {}
    threads: list[threading.Thread] = []
    connections: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while request := connection.recv(1 << 16):
                line = request.split(b"\r\n", 1)[0].decode()
                answer = next(
                    (answer for key, answer in rules.items() if key in line),
                    http("404 None", b'{"message": "no such thing"}'),
                )
                if answer is not None:
                    connection.sendall(answer)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                threads.append(threading.Thread(target=serve, args=(connection,), daemon=True))
                threads[-1].start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    yield rules.update
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
    for thread in [acceptor, *threads]:
        thread.join(5)
    for connection in connections:
        connection.close()


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("unix:///nowhere/docker.sock", "No such file or directory"),
        ("tcp://127.0.0.1:1", "Connection refused"),
        ("nonsense://x", "Invalid bind address protocol: nonsense://x"),
    ],
)
def test_no_engine_is_one_sentence_with_a_way_out(monkeypatch, host: str, reason: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    with warnings.catch_warnings():
        # docker-py leaves the socket of a failed connect to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        with pytest.raises(DockerError, match="cannot be reached") as caught:
            Engine.connect(deadline_s=2)
        text, hint = str(caught.value), caught.value.hint
        del caught
        gc.collect()
    assert text == f"Docker cannot be reached at {host}: {reason}."
    assert hint


def test_a_mute_engine_is_an_error_within_the_deadline(fake_docker) -> None:
    fake_docker({"/version": http("200 OK", VERSION), "/json": None, "/events": None})
    engine = Engine.connect(deadline_s=30)
    engine.api.timeout = 0.5  # from here on
    try:
        for ask in (lambda: engine.container("c0ffee"), lambda: engine.history("c0ffee", since=0)):
            with pytest.raises(DockerError, match="no answer within its deadline"):
                ask()
    finally:
        engine.close()


def test_dockers_own_words_are_told_on_one_line(fake_docker) -> None:
    words = b'{"message": "driver failed\\n\\n  programming: ' + b"x" * 2000 + b'"}'
    fake_docker({"/version": http("200 OK", VERSION), "/json": http("500 Internal", words)})
    engine = Engine.connect(deadline_s=30)
    try:
        with pytest.raises(DockerError, match="driver failed programming") as caught:
            engine.container("c0ffee")
        assert len(str(caught.value)) < 800
    finally:
        engine.close()


def test_what_is_gone_is_none_and_not_an_error(fake_docker) -> None:
    fake_docker({"/version": http("200 OK", VERSION)})
    engine = Engine.connect(deadline_s=30)
    try:
        assert engine.container("c0ffee") is None
        assert engine.volume("v") is None
        assert engine.image("i") is None
    finally:
        engine.close()


def test_events_that_are_no_json_are_an_error(fake_docker) -> None:
    fake_docker({"/version": http("200 OK", VERSION), "/events": http("200 OK", b"<html>")})
    engine = Engine.connect(deadline_s=30)
    try:
        with pytest.raises(DockerError, match="no JSON"):
            engine.history("c0ffee", since=0)
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("told", "known"),
    [
        ({}, False),
        ({"KernelVersion": "other"}, False),
        ({"Name": "other"}, False),
        ({"KernelVersion": None, "Name": None}, False),
        (None, True),
    ],
)
def test_where_crashes_go_is_known_of_this_machine_only(
    fake_docker, monkeypatch, tmp_path, told, known
) -> None:
    pattern = tmp_path / "core_pattern"
    pattern.write_text("core\n")
    monkeypatch.setattr("sandbox_runner.sandbox.engine._CORE_PATTERN", pattern)
    here = {"KernelVersion": os.uname().release, "Name": os.uname().nodename}
    info = {"NCPU": 3, "MemTotal": 5, **({**here, **told} if told else here if told is None else {})}
    fake_docker({"/version": http("200 OK", VERSION), "/info": http("200 OK", json.dumps(info).encode())})
    engine = Engine.connect(deadline_s=2)
    try:
        machine = engine.machine()
        assert (machine.cpus, machine.memory) == (3, 5)
        assert machine.core_limit == (0 if known else 1)
        for text, limit in (("|/usr/bin/crash %p\n", 1), ("/var/core\n", 0 if known else 1)):
            pattern.write_text(text)
            assert engine.machine().core_limit == limit
        pattern.unlink()
        assert engine.machine().core_limit == 1
        assert engine.daemon_capabilities() is None  # what listens here is no Docker daemon
    finally:
        engine.close()

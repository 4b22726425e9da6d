"""What a hijacked guest answers: as much as the host's limits let through, and more."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from sandbox_runner.guest.tree_records import DIRECTORY, FILE, OMISSION, pack_scan
from sandbox_runner.guest.wire import BODY_LIMIT, HEADER_LIMIT
from sandbox_runner.record import PolicyInfo, RunDirectory, RunInfo, TrailInfo, now_text
from sandbox_runner.replay import TrailExecutor
from sandbox_runner.runner.artifacts import MEMORY_BYTES as PUSHES_MEMORY
from sandbox_runner.runner.artifacts import keep_ledger, keep_pushes
from sandbox_runner.sandbox import Sandbox
from sandbox_runner.sandbox.channel import MEMORY_BYTES as ANSWER_MEMORY
from sandbox_runner.sandbox.engine import Attachment
from sandbox_runner.sandbox.fast_json import HEADER_VALUES
from sandbox_runner.sandbox.sandbox import FACTS_KEYS
from sandbox_runner.sandbox.spec import SandboxSpec
from sandbox_runner.sandbox.world import KEPT_BYTES, ContainerWorld
from sandbox_runner.snapshot import SnapshotStore
from sandbox_runner.snapshot.capture import MEMORY_BYTES as CAPTURE_MEMORY
from sandbox_runner.trail import compile_worklog, load
from tests.bench.reading import Case, Reader, read_one

__all__ = ["READERS"]

Script = Callable[["Liar"], None]


class Liar:
    """The other end of the stream, in a process of its own: what it holds is not the host's."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def wait(self) -> None:
        self._connection.recv(1 << 16)

    def say(self, header: dict[str, Any] | bytes, body: bytes = b"") -> None:
        text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
        self._write(struct.pack(">II", len(text), len(body)) + text + body)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        for start in range(0, len(view), 1 << 15):
            piece = view[start : start + (1 << 15)]
            self._connection.sendall(struct.pack(">II", 1 << 24, len(piece)) + piece)


def _sandbox(script: Script) -> Sandbox:
    host, guest = socket.socketpair()
    if os.fork() == 0:
        host.close()
        with contextlib.suppress(OSError):
            script(Liar(guest))
        os._exit(0)
    guest.close()
    host.setblocking(False)
    container = SimpleNamespace(id="0" * 64, attachment=Attachment(host, lambda: None), resources=None)
    nothing: Any = SimpleNamespace()
    sandbox = Sandbox(
        nothing, SandboxSpec(), image=nothing, runtime=nothing, uid=1, container=cast("Any", container)
    )
    sandbox._explain = lambda error: error  # no Engine to ask
    return sandbox


def _padded(members: bytes, size: int = HEADER_LIMIT - 10) -> bytes:
    """A whole answer's header of that size, whose last member is one long text."""
    head = b'{"id":0,"ok":true,"status":"ok","text":"","ns":1,"details":{' + members + b'"t":"'
    return head + b"t" * (size - len(head) - 3) + b'"}}'


def _unlike(count: int, width: int = 12) -> bytes:
    """Members that are each an object of their own: the dearest values."""
    return b"".join(b'"%0*x":"%0*x",' % (width, number, width, number) for number in range(count))


def members(liar: Liar) -> None:
    """A header of as many values as there may be, and the largest body."""
    liar.wait()
    liar.say(_padded(_unlike(HEADER_VALUES - 20)), bytes(BODY_LIMIT))


def wide(liar: Liar) -> None:
    """A header that is one text of four bytes a character."""
    liar.wait()
    liar.say(_padded(b'"w":"' + "\U0001f600".encode() * 10 + b'",'), bytes(BODY_LIMIT))


def nested(liar: Liar) -> None:
    """A header of nothing but lists."""
    liar.wait()
    liar.say(_padded(b'"n":[' + b",".join([b"[" * 500 + b"]" * 500] * 1000) + b"],"))


def _ask(sandbox: Sandbox, _folder: Path) -> None:
    sandbox.request("bundles")


def _answers(sandbox: Sandbox, _folder: Path) -> None:
    entries = [{"op": "FILE_READ", "path": "a"} for _ in range(_STEPS)]
    frame = [{"op": "TRAIL_BEGIN", "agent": "a", "trail_id": "t", "ts": 1}, {"op": "TRAIL_END", "status": 0}]
    trail = load(compile_worklog([frame[0], *entries, frame[1]]))
    TrailExecutor(ContainerWorld(sandbox), trail).execute()


_STEPS = 700


def kept_details(liar: Liar) -> None:
    """Details of a mebibyte for every call."""
    _calls(liar, lambda: _padded(b""))


def kept_members(liar: Liar) -> None:
    """Details that take much as objects."""
    _calls(liar, lambda: _padded(b'"m":{' + _unlike(HEADER_VALUES - 300)[:-1] + b"},"))


def kept_texts(liar: Liar) -> None:
    """The longest text for every call, four bytes a character."""
    text = "\U0001f600" + "t" * 65_000
    header = json.dumps({"id": 0, "ok": True, "status": "ok", "text": text, "ns": 1, "details": {}})
    _calls(liar, lambda: header.replace(": ", ":").replace(", ", ",").encode(), times=5)


def _calls(liar: Liar, answer: Callable[[], bytes], times: int = 1) -> None:
    threading.Thread(target=lambda: [liar.wait() for _ in range(10**9)], daemon=True).start()
    told = answer()
    for number in range(_STEPS * times):
        liar.say(told.replace(b'"id":0', b'"id":%d' % number, 1))


def facts(liar: Liar) -> None:
    """Facts of a mebibyte."""
    liar.wait()
    liar.say({"id": 0, "ok": True, "facts": {"f" * 9: "x" * 900_000}})


def many_facts(liar: Liar) -> None:
    """More facts than a guest has."""
    liar.wait()
    liar.say({"id": 0, "ok": True, "facts": dict.fromkeys(map(str, range(FACTS_KEYS + 1)), 1)})


def _set_up(sandbox: Sandbox, _folder: Path) -> None:
    sandbox.set_up("run", {})


def ledger(liar: Liar) -> None:
    """The largest ledger, and as many parts as a header can name."""
    liar.wait()
    parts = {
        "ledger": BODY_LIMIT // 2,
        "bottles": BODY_LIMIT // 2,
        **dict.fromkeys(map(str, range(15_000)), 0),
    }
    liar.say({"id": 0, "ok": True, "entries": 1, "head": "0" * 64, "blobs": parts}, bytes(BODY_LIMIT))


def large_pushes(liar: Liar) -> None:
    """Bundles of 32 MiB without end."""
    liar.wait()
    body = bytes(BODY_LIMIT)
    _pushes(liar, lambda number: (f"r{number}", body))


def small_pushes(liar: Liar) -> None:
    """Small bundles of long names without end."""
    liar.wait()
    _pushes(liar, lambda number: (f"{number:08192d}", b"x"))


def said_pushes(liar: Liar) -> None:
    """References of a mebibyte."""
    liar.wait()
    liar.say({"id": 0, "ok": True, "more": True, "bundle": {"repository": "r", "refs": {"x" * 900_000: "y"}}})


def _pushes(liar: Liar, push: Callable[[int], tuple[str, bytes]]) -> None:
    digests: dict[bytes, str] = {}
    for number in range(10**9):
        name, body = push(number)
        digest = digests.setdefault(body[:1], hashlib.sha256(body).hexdigest())
        facts = {"repository": name, "refs": {"r" * 4_000: "c" * 64}, "sha256": digest}
        liar.say({"id": 0, "ok": True, "more": True, "bundle": facts}, body)


def _directory(folder: Path) -> RunDirectory:
    trail = TrailInfo(sha256="0" * 64, bytes=1, version=2, steps=1)
    policy = PolicyInfo(name="p", sha256="0" * 64)
    info = RunInfo(run_id="run", created_at=now_text(), trail=trail, policy=policy)
    return RunDirectory.create(folder / "runs", info, trail=b"", policy=b"{}")


def _keep_pushes(sandbox: Sandbox, folder: Path) -> None:
    with _directory(folder) as directory:
        keep_pushes(sandbox, directory, [])


def _keep_ledger(sandbox: Sandbox, folder: Path) -> None:
    with _directory(folder) as directory:
        keep_ledger(sandbox, directory)


def scan_names(liar: Liar) -> None:
    """As many files as are accepted, with names as long as all of them may be together."""
    liar.wait()
    top = b"d" * 250
    _scan(
        liar,
        [pack_scan(DIRECTORY, 0, 0, bytes(32), top)],
        (
            pack_scan(FILE, 0, 1, number.to_bytes(32, "big"), b"%b/%0900d" % (top, number))
            for number in range(199_000)
        ),
    )


def scan_deep(liar: Liar) -> None:
    """The deepest directories, one after another."""
    liar.wait()
    paths = (b"/".join([b"%02d" % chain, *[b"d"] * depth]) for chain in range(20) for depth in range(8_180))
    _scan(liar, [], (pack_scan(DIRECTORY, 0, 0, bytes(32), path) for path in paths))


def scan_omissions(liar: Liar) -> None:
    """Nothing but what was left out, with long names."""
    liar.wait()
    _scan(liar, [], (pack_scan(OMISSION, 1, 0, bytes(32), b"%016384d" % number) for number in range(15_000)))


def _scan(liar: Liar, first: list[bytes], records: Iterable[bytes]) -> None:
    body = bytearray(b"".join(first))
    for record in records:
        body += record
        if len(body) > 30 << 20:
            liar.say({"id": 0, "ok": True, "more": True}, bytes(body))
            body.clear()
    liar.say({"id": 0, "ok": True, "more": True}, bytes(body))
    liar.say({"id": 0, "ok": True, "more": False}, pack_scan(b"e"[0], 0, 0, bytes(32), b""))


def _capture(sandbox: Sandbox, folder: Path) -> None:
    SnapshotStore(folder / "store").capture(sandbox)


def _reader(
    memory: int, door: Callable[[Sandbox, Path], None], lies: dict[str, tuple[Script, str, bool]]
) -> Reader:
    def read(folder: Path) -> None:
        script, _, _ = lies[(folder / "lie").read_text()]
        door(_sandbox(script), folder)

    def tell(name: str) -> Callable[[Path], None]:
        return lambda folder: (folder / "lie").write_text(name) and None

    return Reader(
        memory, read, {name: Case(tell(name), refused, quick) for name, (_, refused, quick) in lies.items()}
    )


READERS = {
    "one answer of a guest": _reader(
        ANSWER_MEMORY,
        _ask,
        {
            "members and a body": (members, "", True),
            "a wide text and a body": (wide, "", True),
            "lists": (nested, "values", True),
        },
    ),
    "the answers of a replay": _reader(
        KEPT_BYTES,
        _answers,
        {
            "long details": (kept_details, "", False),
            "details of members": (kept_members, "", False),
            "wide texts": (kept_texts, "", False),
        },
    ),
    "a guest's facts": _reader(
        ANSWER_MEMORY,
        _set_up,
        {"long facts": (facts, "facts", True), "many facts": (many_facts, "facts", False)},
    ),
    "ledger and pushes": _reader(
        PUSHES_MEMORY,
        lambda sandbox, folder: (
            _keep_ledger if (folder / "lie").read_text() == "a ledger" else _keep_pushes
        )(sandbox, folder),
        {
            "a ledger": (ledger, "", True),
            "large pushes without end": (large_pushes, "pushes", True),
            "small pushes without end": (small_pushes, "pushes", True),
            "long names of branches": (said_pushes, "characters", False),
        },
    ),
    "a sandbox's scan": _reader(
        CAPTURE_MEMORY,
        _capture,
        {
            "many long names": (scan_names, "did not come", False),
            "deep directories": (scan_deep, "longer than", False),
            "omissions": (scan_omissions, "leaves out", True),
        },
    ),
}
"""What a guest can make the host hold."""


if __name__ == "__main__":
    read_one(READERS)

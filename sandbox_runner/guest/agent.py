"""Process 1: reads requests, answers them in order, and takes everything with it when the host is gone.

A request's fault (the guest's own trouble) is answered as such and the guest goes on; a stream that carries
no frames ends it.
"""

from __future__ import annotations

import os
import sys

from sandbox_runner.guest import dispatch
from sandbox_runner.guest.config import Config, ConfigError
from sandbox_runner.guest.context import Guest
from sandbox_runner.guest.host import HostGoneError, HostStream
from sandbox_runner.guest.lean import load, signal
from sandbox_runner.guest.outcome import FAILED, REFUSED
from sandbox_runner.guest.wire import FrameError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

__all__ = ["main"]

_TREES = {"scan": "tree", "fetch": "tree", "put": "tree_fill"}  # the module that has each tree request
_UNPERFORMED = {"status": "unperformed", "text": "", "details": {}, "ns": 0}
_PROTOCOL_EXIT = 65  # EX_DATAERR: the stream carried no frames
_SIGNAL_EXIT = 128 + signal.SIGTERM


class Agent:
    """The main loop and the requests that are no call."""

    def __init__(self, host: HostStream) -> None:
        self.host = host
        self.guest: Guest | None = None
        self.stopped: Any = None  # the batch in which a call failed that had to stop it
        self.kinds: dict[str, Callable[[Guest, int, dict[str, Any], bytes], None]] = {
            "call": self.call,
            "scan": self.tree,
            "fetch": self.tree,
            "put": self.tree,
            "origin": self.origin,
            "seal": self.seal,
            "ledger": self.ledger,
            "bundles": self.bundles,
            "quiesce": self.quiesce,
            "end": self.end,
        }

    def serve(self) -> NoReturn:
        """Answer until the stream ends, which is raised as ``HostGoneError``."""
        while True:
            header, body = self.host.next_frame()
            number = header.get("id")
            if type(number) is not int:
                raise FrameError("a request has no number")
            try:
                self.answer(number, header, body)
            except HostGoneError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the host is told and decides
                self.host.send({"id": number, "ok": False, "fault": _fault(error)})

    def answer(self, number: int, header: dict[str, Any], body: bytes) -> None:
        """Answer one request."""
        kind = header.get("do")
        handle = self.kinds.get(kind) if type(kind) is str else None
        if handle is not None and self.guest is not None:
            if kind != "call":
                self.guest.identity.take_off()
            handle(self.guest, number, header, body)
        elif kind == "setup":
            self.setup(number, header)
        elif self.guest is None:
            raise FrameError("the guest is not set up yet")
        else:
            raise FrameError(f"unknown request {kind!r:.60}")

    def setup(self, number: int, header: dict[str, Any]) -> None:
        """Take the configuration, once; answer with the facts of this guest."""
        if self.guest is not None:
            raise ConfigError("the guest is set up already")
        self.guest = Guest(Config(header.get("config"), "config"), self.host)
        facts = load("sandbox_runner.guest.facts").facts(self.guest)
        self.host.send({"id": number, "ok": True, "facts": facts})
        if self.guest.config.tests.isolation == "server":
            self.host.flush()  # the first answer does not wait for pytest
            load("sandbox_runner.guest.server").start_server(self.guest)

    def call(self, guest: Guest, number: int, header: dict[str, Any], body: bytes) -> None:
        """Perform a call, unless an earlier one of its batch stopped it."""
        self.kinds.pop("origin", None)
        batch = header.get("batch")
        if batch is not None and batch == self.stopped:
            self.host.send({"id": number, "ok": True, **_UNPERFORMED})
            return
        guest.output = None
        answer = dispatch.answer_call(guest, header, body)
        if header.get("stop") is True and answer["status"] in (FAILED, REFUSED):
            self.stopped = batch
        if guest.output is None or not guest.output.total:
            self.host.send({"id": number, "ok": True, **answer})
            return
        kept, cut_at = guest.output.kept()
        answer["printed"] = {"bytes": guest.output.total, "cut_at": cut_at}
        guest.output = None
        self.host.send({"id": number, "ok": True, **answer}, kept)

    def tree(self, guest: Guest, number: int, header: dict[str, Any], body: bytes) -> None:
        """Scan, fetch or fill the workspace, answer by answer; the sandbox uid is worn for each."""
        kind = header["do"]
        handler = getattr(load("sandbox_runner.guest." + _TREES[kind]), kind)
        guest.forget()
        with guest.identity:
            for answer, content in handler(guest.root, header, body):
                self.host.send({"id": number, "ok": True, **answer}, content)
                self.host.flush()  # each part has its time, and the next may take a while

    def origin(self, guest: Guest, number: int, header: dict[str, Any], body: bytes) -> None:
        """Be told what the workspace began as; no more of that once a call was made."""
        handler = load("sandbox_runner.guest.origin").origin
        if header.get("here") is True:
            load("sandbox_runner.guest.tree")  # by root, who may read it
        with guest.identity:
            for answer, content in handler(guest, header, body):
                self.host.send({"id": number, "ok": True, **answer}, content)
                self.host.flush()  # as above

    def seal(self, _guest: Guest, number: int, _header: dict[str, Any], _body: bytes) -> None:
        """The workspace is filled and nothing will write: from here on nothing can."""
        self.kinds.pop("put", None)
        load("sandbox_runner.guest.confine").forbid_writing()
        self.host.send({"id": number, "ok": True})

    def ledger(self, guest: Guest, number: int, _header: dict[str, Any], _body: bytes) -> None:
        """Hand out the run ledger and the bottles that were dropped."""
        header, content = guest.ledger.export()
        self.host.send({"id": number, "ok": True, **header}, content)

    def bundles(self, guest: Guest, number: int, _header: dict[str, Any], _body: bytes) -> None:
        """Hand out the push bundles, one answer each; ``more`` is false in the last, which carries none."""
        for _key, bundle in sorted(guest.bundles.items()):
            facts = {
                "repository": bundle.repository,
                "refs": {bundle.ref: bundle.commit},
                "sha256": bundle.sha256,
            }
            self.host.send({"id": number, "ok": True, "more": True, "bundle": facts}, bundle.data)
        self.host.send({"id": number, "ok": True, "more": False})

    def quiesce(self, guest: Guest, number: int, _header: dict[str, Any], _body: bytes) -> None:
        """Kill every foreign process, so that what follows sees a workspace at rest."""
        killed = load("sandbox_runner.guest.foreign").end_foreign(guest)
        self.host.send({"id": number, "ok": True, "killed": killed})

    def end(self, _guest: Guest, number: int, _header: dict[str, Any], _body: bytes) -> None:
        """The host is done."""
        self.host.send({"id": number, "ok": True})
        self.host.flush()
        raise HostGoneError


def main() -> NoReturn:
    """Run as process 1 until the host is gone. Whatever still lives dies with this process."""
    os.setgroups([])
    os.umask(0o022)
    signal.signal(signal.SIGTERM, lambda _signal, _frame: os._exit(_SIGNAL_EXIT))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    agent = Agent(HostStream(0, 1))
    status = 0
    try:
        agent.serve()
    except HostGoneError:
        status = 0
    except FrameError as error:
        status = _PROTOCOL_EXIT
        sys.stderr.write(f"guest: {error}\n")
    finally:
        if agent.guest is not None:
            load("sandbox_runner.guest.foreign").end_foreign(agent.guest)
        os._exit(status)


def _fault(error: Exception) -> dict[str, str]:
    """The guest's own trouble, named well enough to be found."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f"{place.tb_frame.f_code.co_name}:{place.tb_lineno}" if place is not None else "?"
    return {"kind": type(error).__name__, "message": str(error)[:500], "where": where}

"""Logs for people: the same events, one line each, nothing secret, no state shared between loggers."""

import io
import json
import logging
from pathlib import Path

import structlog

from sandbox_runner.record import ChainOrigin, Recorder, people_log
from sandbox_runner.record.logs import build_log
from sandbox_runner.trail import TrailOpcodes
from sandbox_runner.world import Call, Outcome, Status

READ = Call(TrailOpcodes.FILE_READ, "file_read", {"path": "a"}, 4)


def test_a_refusal_is_told_to_people_in_the_same_event(tmp_path: Path) -> None:
    stream = io.StringIO()
    log = people_log(stream, json=True).bind(run="r1", tenant="t1")
    recorder = Recorder(tmp_path, ChainOrigin("a" * 64, "b" * 64), log=log)
    for outcome in (Outcome(Status.OK, "fine"), Outcome(Status.REFUSED, "no\n\x1b[2J")):
        recorder.dispatch(READ)
        recorder.record(outcome)
    (event,) = map(json.loads, stream.getvalue().splitlines())
    assert {
        key: event[key] for key in ("event", "level", "run", "tenant", "step", "opcode", "status", "outcome")
    } == {
        "event": "call",
        "level": "warning",
        "run": "r1",
        "tenant": "t1",
        "step": 5,
        "opcode": "FILE_READ",
        "status": "refused",
        "outcome": "no\\x0a\\x1b[2J",
    }


def test_secrets_are_never_written() -> None:
    stream = io.StringIO()
    log = people_log(stream, json=True)
    log.info("request", api_key="k-123", Authorization="Bearer k-123", private_key_pem="k-123", tenant="t")
    assert "k-123" not in stream.getvalue()
    assert json.loads(stream.getvalue())["tenant"] == "t"


def test_a_terminal_cannot_be_steered() -> None:
    stream = io.StringIO()
    people_log(stream, colours=False).info("evil\x1b[2J", path="a\nb\u202e\x9b")
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert not any(char in text for char in "\x1b\u202e\x9b")


def test_a_level_below_the_limit_is_dropped() -> None:
    stream = io.StringIO()
    log = people_log(stream, level=logging.WARNING, json=True)
    log.info("quiet")
    log.warning("loud")
    assert "loud" in stream.getvalue()
    assert "quiet" not in stream.getvalue()


def test_no_logger_touches_the_global_configuration() -> None:
    before, configured = structlog.get_config(), structlog.is_configured()
    one, other = people_log(io.StringIO()).bind(run="a"), io.StringIO()
    one.info("x")
    people_log(other, json=True).info("y")
    assert "run" not in json.loads(other.getvalue())
    assert structlog.get_config() == before
    assert structlog.is_configured() == configured


def test_a_logger_is_made_of_its_own_parts() -> None:
    seen: list[dict] = []

    class Sink:
        def info(self, event: dict) -> None:
            seen.append(event)

    build_log(Sink(), [lambda _logger, _method, event: ((event,), {})]).bind(a=1).info("e", b=2)
    assert seen == [{"a": 1, "b": 2, "event": "e"}]

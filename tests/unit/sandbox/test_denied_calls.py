"""A denied call seen from the wire: guard, world and channel are real, the guest's end is watched."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from sandbox_runner.guest.wire import encode_frame
from sandbox_runner.policy import GuardedWorld, Policy
from sandbox_runner.record import (
    PolicyInfo,
    RecordedWorld,
    RunDirectory,
    RunInfo,
    TrailInfo,
    new_run_id,
    now_text,
)
from sandbox_runner.replay import TrailExecutor
from sandbox_runner.sandbox.spec import Deadlines
from sandbox_runner.sandbox.world import ContainerWorld
from sandbox_runner.trail import Trail, compile_worklog, load
from sandbox_runner.world import Status

SECRET = "denied-and-never-sent"
TRAIL = load(
    compile_worklog(
        [
            {"op": "TRAIL_BEGIN", "agent": "ann", "trail_id": "t", "ts": 1_753_000_000},
            {"op": "FILE_WRITE", "path": "src/a.py", "content": "allowed"},
            {"op": "FILE_WRITE", "path": "../../etc/passwd", "content": SECRET},
            {"op": "FILE_WRITE", "path": ".git/config", "content": SECRET},
            {"op": "BOTTLE_DROP", "target": "oracle-x", "content": SECRET},
            {"op": "FILE_READ", "path": f"secrets/{SECRET}"},
            {"op": "FILE_READ", "path": "src/a.py"},
            {"op": "TRAIL_END", "status": 0},
        ]
    )
)
RULES = {2: "paths.form", 3: "paths.git", 4: "opcodes", 5: "paths.deny"}


def run_directory(root: Path, trail: Trail, policy: Policy) -> RunDirectory:
    info = RunInfo(
        run_id=new_run_id(),
        created_at=now_text(),
        trail=TrailInfo(
            sha256=trail.sha256, bytes=len(trail.data), version=trail.version, steps=len(trail.steps)
        ),
        policy=PolicyInfo(name=policy.name, sha256=policy.sha256),
    )
    return RunDirectory.create(root, info, trail=trail.data, policy=policy.canonical())


@pytest.mark.parametrize("window", [1, 32])
def test_what_is_denied_never_reaches_the_channel_and_its_rule_is_in_outcome_log_and_event(
    guest_channel, tmp_path: Path, window: int
) -> None:
    seen = bytearray()

    def guest(peer) -> None:
        def reply(header: dict, body: bytes) -> tuple[dict, bytes]:
            seen.extend(encode_frame(header, body))
            return {"status": "ok", "text": header["method"], "details": {}, "ns": 1}, b""

        peer.serve(reply)

    channel = guest_channel(guest)
    sandbox = SimpleNamespace(
        send=channel.send,
        receive=channel.receive,
        channel=channel,
        guest={},
        spec=SimpleNamespace(deadlines=Deadlines()),
    )
    policy = Policy.load("strict")
    with run_directory(tmp_path, TRAIL, policy) as directory:
        world = RecordedWorld(
            GuardedWorld(ContainerWorld(sandbox, window=window), policy), directory.recorder()
        )
        events = TrailExecutor(world, TRAIL).execute().events
        lines = [
            json.loads(line)["fact"] for line in (directory.path / "calls.jsonl").read_bytes().splitlines()
        ]
    assert b"allowed" in seen
    assert SECRET.encode() not in seen
    assert b".git" not in seen
    assert seen.count(b'"method"') == 2
    denied = {event.step_index: event for event in events if event.status is Status.REFUSED}
    assert {step: event.details["rule"] for step, event in denied.items()} == RULES
    assert all(event.result.endswith(f"refused: {RULES[step]}") for step, event in denied.items())
    logged = {fact["step"]: fact["details"]["rule"] for fact in lines if fact["status"] == "refused"}
    assert logged == RULES
    assert len(lines) == 6

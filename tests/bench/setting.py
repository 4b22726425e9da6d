"""What the rows share: the policy, the sandboxes they get, and the things they are compared with."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox_runner.policy import GuardedWorld, Policy, admit, guest_config, withhold
from sandbox_runner.record import (
    PolicyInfo,
    RecordedWorld,
    RunDirectory,
    RunInfo,
    TrailInfo,
    new_run_id,
    now_text,
)
from sandbox_runner.replay import TrailExecutor, TrailResult
from sandbox_runner.sandbox import ContainerWorld, Engine, Sandbox, SandboxSpec, default_tag
from sandbox_runner.snapshot import DirectorySource, SnapshotStore
from sandbox_runner.trail import Trail

__all__ = ["Bench", "bare_run", "bare_start", "echo", "replay", "warm"]

POLICY = Policy.load("default")
WIDE = POLICY.model_copy(
    update={"budget": POLICY.budget.model_copy(update={"steps": 10**6, "write_bytes": 2**40})}
)


@dataclass(frozen=True, slots=True)
class Bench:
    """What every row gets."""

    engine: Engine
    runtime: str
    rounds: int
    scratch: Path

    def spec(self, trail: Trail, *, tests: bool = False) -> SandboxSpec:
        """The sandbox that the runner would give this trail."""
        privileges = withhold(WIDE, admit(trail, WIDE).manifest)
        guest = guest_config(WIDE, principal="bench", privileges=privileges)
        return SandboxSpec(runtime=self.runtime, resources=privileges.resources, guest=guest)

    def folder(self) -> Path:
        """A new empty folder."""
        return Path(tempfile.mkdtemp(dir=self.scratch))

    def snapshot(self, source: Path) -> tuple[SnapshotStore, str]:
        """A directory as the base of runs."""
        store = SnapshotStore(self.folder() / "store")
        return store, store.capture(DirectorySource(source)).digest


def replay(sandbox: Sandbox, trail: Trail, folder: Path) -> TrailResult:
    """A replay with everything on: guard, structured log, chain, events, meta-trail."""
    info = RunInfo(
        run_id=new_run_id(),
        created_at=now_text(),
        trail=TrailInfo(
            sha256=trail.sha256, bytes=len(trail.data), version=trail.version, steps=len(trail.steps)
        ),
        policy=PolicyInfo(name=WIDE.name, sha256=WIDE.sha256),
    )
    with RunDirectory.create(folder, info, trail=trail.data, policy=WIDE.canonical()) as directory:
        recorder = directory.recorder()
        world = RecordedWorld(GuardedWorld(ContainerWorld(sandbox), WIDE), recorder)
        result = TrailExecutor(world, trail, principal="bench", chain_head=lambda: recorder.head).execute()
    if not result.success:
        failed = next(event for event in result.events if event.failed)
        raise RuntimeError(f"a measured step failed: {failed.result}")
    return result


@contextmanager
def warm(bench: Bench, trail: Trail, base: tuple[SnapshotStore, str]) -> Iterator[Sandbox]:
    """A started sandbox with the base in its workspace."""
    with Sandbox.start(bench.spec(trail), engine=bench.engine) as sandbox:
        base[0].fill(base[1], sandbox)
        yield sandbox


@contextmanager
def echo(bench: Bench) -> Iterator[Callable[[], None]]:
    """A container that sends back what it gets, attached the same way; the bare stream."""
    api = bench.engine.api
    made = api.create_container(
        default_tag(),
        ["cat"],
        stdin_open=True,
        network_disabled=True,
        host_config=api.create_host_config(runtime=bench.runtime, log_config={"type": "none"}),
    )["Id"]
    attachment = bench.engine.attach(made)
    api.start(made)
    connection = attachment.connection
    connection.setblocking(True)
    payload = b"x" * 150

    def ping() -> None:
        connection.sendall(payload)
        left = len(payload) + 8
        while left > 0:
            left -= len(connection.recv(4096))

    try:
        ping()
        yield ping
    finally:
        attachment.close()
        api.remove_container(made, force=True)


def bare_run(bench: Bench) -> None:
    """What everybody would type."""
    words = ["docker", "run", "--rm", "--network", "none", "--runtime", bench.runtime, default_tag(), "true"]
    subprocess.run(words, check=True, timeout=60)


def bare_start(bench: Bench, *, remove: bool) -> float:
    """Seconds until a new container, asked for over the Engine's own interface, has answered.

    That spares the command line's own start. What is said first is the answer; without ``remove`` taking the
    container away does not count, as it does not count for ours.
    """
    api = bench.engine.api
    began = time.perf_counter()
    made = api.create_container(
        default_tag(),
        ["echo", "here"],
        network_disabled=True,
        host_config=api.create_host_config(runtime=bench.runtime, log_config={"type": "none"}),
    )["Id"]
    try:
        attachment = bench.engine.attach(made)
        api.start(made)
        attachment.connection.setblocking(True)
        attachment.connection.recv(4096)
        answered = time.perf_counter()
        attachment.close()
    finally:
        api.remove_container(made, force=True)
    return (time.perf_counter() if remove else answered) - began

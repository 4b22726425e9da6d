"""What dead runners leave, and what living ones must keep, in Docker."""

import subprocess
import sys
import time

import pytest

from sandbox_runner.sandbox.janitor import clean, find_leftovers

pytestmark = pytest.mark.docker

RUNNER = """
import sys, time
from sandbox_runner.sandbox import Engine, Sandbox, SandboxSpec
engine = Engine.connect()
sandbox = Sandbox.start(SandboxSpec(runtime="runc", run_id=sys.argv[1]), engine=engine)
if sys.argv[2] == "paused":
    engine.api.pause(sandbox.container_id)
if sys.argv[2] == "created":
    settings = engine.container(sandbox.container_id)
    again = engine.api.create_container(settings["Image"], labels=settings["Config"]["Labels"])
    print(again["Id"], flush=True)
else:
    print(sandbox.container_id, flush=True)
time.sleep(600)
"""


def mine(engine, run: str) -> list:
    return [leftover for leftover in find_leftovers(engine) if leftover.run == run]


@pytest.mark.parametrize("state", ["paused", "created"])
def test_what_a_killed_runner_left_is_found_and_removed_and_a_living_ones_is_not(
    engine, image, state: str
) -> None:
    run = f"janitor-{state}-{time.time_ns()}"
    with subprocess.Popen(
        [sys.executable, "-c", RUNNER, run, state], stdout=subprocess.PIPE, text=True
    ) as runner:
        container = runner.stdout.readline().strip()
        assert engine.container(container) is not None
        assert mine(engine, run) == []
        assert all(leftover.run != run for leftover in clean(engine))
        assert engine.container(container) is not None
        runner.kill()
    left = mine(engine, run)
    assert [
        (leftover.kind, leftover.id, leftover.state) for leftover in left if leftover.id == container
    ] == [("container", container, state)]
    assert {leftover.id for leftover in clean(engine, dry_run=True)} >= {container}
    assert engine.container(container) is not None
    cleaned = [leftover for leftover in clean(engine) if leftover.run == run]
    assert cleaned
    assert all(leftover.removed for leftover in cleaned)
    assert engine.container(container) is None
    filters = {"label": f"sandbox-runner.run={run}"}
    assert not engine.api.volumes(filters=filters)["Volumes"]
    assert mine(engine, run) == []


def test_what_has_no_label_of_ours_is_never_touched(engine, image) -> None:
    foreign = engine.api.create_container(image.id, ["true"], labels={"com.example.owner": "1"})["Id"]
    try:
        clean(engine)
        assert engine.container(foreign) is not None
    finally:
        engine.api.remove_container(foreign, force=True)

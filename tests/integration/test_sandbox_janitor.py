"""What dead runners leave, and what living ones must keep, in Docker."""

import io
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from sandbox_runner.cli import main
from sandbox_runner.sandbox.janitor import clean, find_leftovers, find_strangers
from sandbox_runner.sandbox.owner import Owner, owner_labels
from sandbox_runner.sandbox.receipt import force_container

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


def of_a_dead_owner(run: str = "somebodys-run") -> dict[str, str]:
    """Everything that a runner says of its container, of a runner that is gone."""
    me = Owner.of_this_process()
    return owner_labels(run, lifetime_s=60, owner=Owner(me.pid, me.started + 1, me.boot, me.namespace))


@pytest.fixture
def labelled_image(engine, image) -> Iterator[Callable[[dict[str, str]], str]]:
    """Images that somebody made from ours, with labels of their choice."""
    made: list[str] = []

    def make(labels: dict[str, str]) -> str:
        given = " ".join(f'{name}="{value}"' for name, value in labels.items())
        recipe = io.BytesIO(f"FROM {image.name}\nLABEL {given}\n".encode())  # one layer, to be removed again
        told = list(engine.api.build(fileobj=recipe, rm=True, nocache=True, decode=True))
        (built,) = [entry["aux"]["ID"] for entry in told if "aux" in entry]
        made.append(built)
        return built

    yield make
    for built in made:
        engine.api.remove_image(built, force=True)


@pytest.fixture
def theirs(engine) -> Iterator[Callable[..., str]]:
    """Harmless containers of somebody else."""
    started: list[str] = []

    def start(image: str, **labels: str) -> str:
        made = engine.api.create_container(
            image, labels=labels, entrypoint=["sleep", "600"], network_disabled=True
        )
        started.append(made["Id"])
        engine.api.start(made["Id"])
        return made["Id"]

    yield start
    for container in started:
        force_container(engine, container)


ALL = of_a_dead_owner()


@pytest.mark.parametrize(
    "labels",
    [
        {"sandbox-runner.run": "r"},
        ALL,
        {name: text for name, text in ALL.items() if name != "sandbox-runner.deadline"},
        {**ALL, "sandbox-runner.owner": "me"},
        {**ALL, "sandbox-runner.deadline": "0"},
    ],
    ids=["the run alone", "all of a dead owner", "one missing", "nonsense", "long overdue"],
)
def test_labels_that_a_container_inherits_from_its_image_do_not_make_it_ours(
    engine, labelled_image, theirs, labels: dict[str, str], capsys
) -> None:
    container = theirs(labelled_image(labels))
    assert engine.container(container)["Config"]["Labels"].items() >= labels.items()
    assert container not in {leftover.id for leftover in clean(engine)}
    assert container in {stranger.id for stranger in find_strangers(engine)}
    assert main(["clean", "--dry-run"]) == 0
    assert f"left alone: container {container[:12]}" in capsys.readouterr().err
    assert engine.container(container)["State"]["Running"]


@pytest.mark.parametrize(
    "labels",
    [
        {"sandbox-runner.run": "r"},
        {**ALL, "sandbox-runner.owner": "-1"},
        {**ALL, "sandbox-runner.deadline": "\u0663"},
        {**ALL, "sandbox-runner.run": ""},
        {name: text for name, text in ALL.items() if name != "sandbox-runner.boot"},
    ],
)
def test_labels_given_by_hand_that_no_runner_writes_do_not_make_a_container_or_volume_ours(
    engine, image, theirs, labels: dict[str, str]
) -> None:
    container = theirs(image.id, **labels)
    volume = engine.api.create_volume(labels=labels)["Name"]
    try:
        assert {container, volume}.isdisjoint(leftover.id for leftover in clean(engine))
        assert {container, volume} <= {stranger.id for stranger in find_strangers(engine)}
        assert engine.volume(volume) is not None
    finally:
        engine.api.remove_volume(volume)


def test_a_container_of_an_image_committed_from_a_leftover_is_not_ours_and_the_leftover_is(
    engine, image, theirs
) -> None:
    run = f"janitor-committed-{time.time_ns()}"
    with subprocess.Popen(
        [sys.executable, "-c", RUNNER, run, "paused"], stdout=subprocess.PIPE, text=True
    ) as runner:
        leftover = runner.stdout.readline().strip()
        committed = engine.api.commit(leftover)["Id"]
        runner.kill()
    try:
        container = theirs(committed)
        assert engine.container(container)["Config"]["Labels"]["sandbox-runner.run"] == run
        again = engine.api.create_container(committed, labels=of_a_dead_owner("again"))["Id"]
        cleaned = {item.id for item in clean(engine) if item.removed}
        assert {leftover, again} <= cleaned
        assert engine.container(container)["State"]["Running"]
        force_container(engine, container)
    finally:
        engine.api.remove_image(committed, force=True)


def test_a_volume_with_a_dead_owner_is_removed(engine) -> None:
    volume = engine.api.create_volume(labels=of_a_dead_owner())["Name"]
    assert volume in {leftover.id for leftover in clean(engine) if leftover.removed}
    assert engine.volume(volume) is None

"""What breaks around a sandbox: Docker gone or slow in the middle, the guest killed, two runners at once."""

import threading
import time

import pytest
import requests

from sandbox_runner.errors import DockerError, GuestError, OutOfMemoryError, SandboxError
from sandbox_runner.sandbox import ContainerWorld, Engine, Sandbox, SandboxSpec
from sandbox_runner.trail.operations import METHODS
from sandbox_runner.world import Call

pytestmark = pytest.mark.docker


class Outage(Engine):
    """The real Engine, until it is gone: then every call fails as it does without a daemon."""

    gone = False

    def call(self, what, ask, *arguments, **options):
        if self.gone:
            raise DockerError(f"Docker could not {what}: connection refused.") from requests.ConnectionError()
        return super().call(what, ask, *arguments, **options)


def search(pattern: str) -> Call:
    return Call(METHODS["search_code"].opcode, "search_code", {"pattern": pattern})


def test_docker_gone_in_the_middle_is_a_docker_error_and_the_receipt_admits_what_it_cannot_know(
    engine, image
) -> None:
    outage = Outage(engine.api)
    sandbox = Sandbox.start(SandboxSpec(runtime="runc"), engine=outage)
    outage.gone = True
    sandbox.channel.hang_up()
    with pytest.raises(DockerError, match="connection refused"):
        ContainerWorld(sandbox).file_read("a")
    receipt = sandbox.close()
    assert not receipt.clean
    assert receipt.how == "remains"
    end = time.monotonic() + 60
    while engine.container(sandbox.container_id) and time.monotonic() < end:
        time.sleep(0.05)
    assert engine.container(sandbox.container_id) is None  # its stream ended, so it left all the same


@pytest.mark.parametrize("step", ["attach to a container", "start a container"])
def test_a_start_that_docker_breaks_off_leaves_no_container(engine, image, step: str) -> None:
    created: list[str] = []

    class Broken(Engine):
        def call(self, what, ask, *arguments, **options):
            if what == step:
                raise DockerError(f"Docker could not {what}: no answer within its deadline.")
            answer = super().call(what, ask, *arguments, **options)
            if what == "create a container":
                created.append(answer["Id"])
            return answer

    with pytest.raises(DockerError, match=step):
        Sandbox.start(SandboxSpec(runtime="runc"), engine=Broken(engine.api))
    (container,) = created
    assert engine.container(container) is None


def test_a_guest_killed_between_calls_never_passes_or_fails_a_step(start_world, engine, runtime) -> None:
    world = start_world(runtime=runtime)
    outcomes = world.perform_all([search("x"), *[search("y")] * 3])
    assert next(outcomes).text.startswith("search_code: 'x'")
    outcomes.close()
    engine.api.kill(world.sandbox.container_id)
    with pytest.raises(GuestError):
        list(world.perform_all([search("z")] * 5))
    assert world.sandbox.close().clean


class Unseen(Engine):
    """The real Engine, but a kill goes around it, as one of the process on the host does."""

    def history(self, container, *, since):
        return [event for event in super().history(container, since=since) if event.get("Action") != "kill"]


@pytest.mark.parametrize("isolation", ["server", "fresh"])
def test_a_guest_killed_right_after_a_call_reached_the_memory_limit_is_a_broken_sandbox(
    engine, image, isolation: str
) -> None:
    unseen = Unseen(engine.api)  # under gVisor no guest outlives such a call
    spec = SandboxSpec(runtime="runc", guest={"tests": {"isolation": isolation}})
    with ContainerWorld(Sandbox.start(spec, engine=unseen)) as world:
        world.file_write("test_eat.py", "def test_it():\n    x = [bytearray(9**8) for _ in iter(int, 1)]\n")
        world.file_write("test_wait.py", "import time\ndef test_it():\n    time.sleep(60)\n")
        assert "out of memory" in world.test_run("test_eat.py", 1)
        assert world.ended is None
        killer = threading.Timer(0.2, engine.api.kill, [world.sandbox.container_id])
        killer.start()
        with pytest.raises(GuestError) as told:
            world.test_run("test_wait.py", 1)
        killer.join()
        assert not isinstance(told.value, OutOfMemoryError)


def test_an_abort_from_another_thread_ends_a_long_call_at_once(start_world) -> None:
    world = start_world(guest={"tests": {"timeout_s": 600, "isolation": "fresh"}})
    world.file_write("test_slow.py", "import time\ndef test_slow():\n    time.sleep(600)\n")
    timer = threading.Timer(1.0, world.sandbox.abort)
    timer.start()
    with pytest.raises(SandboxError):
        world.test_run("test_slow.py", 0)
    assert world.sandbox.close().clean
    timer.join()


def test_two_runners_at_once_do_not_meet(start_world) -> None:
    worlds = [start_world() for _ in range(3)]
    texts: dict[int, list[str]] = {}

    def run(number: int) -> None:
        world = worlds[number]
        for step in range(30):
            world.file_write(f"own-{number}-{step}", str(number))
        texts[number] = [world.file_read(f"own-{other}-0") for other in range(3)]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for number in range(3):
        assert ["not found" not in text for text in texts[number]] == [other == number for other in range(3)]
    assert len({world.sandbox.uid for world in worlds}) == 3


def test_a_workspace_that_fills_up_is_the_steps_failure_and_the_guest_lives(start_world, runtime) -> None:
    world = start_world(runtime=runtime)
    chunk = "x" * (8 << 20)
    texts = [world.file_write(f"big-{number}", chunk) for number in range(40)]
    assert texts[0].startswith("file_write: big-0 (")
    assert texts[-1] == "file_write: ERROR no space left"
    assert world.file_read("big-0").startswith("file_read: big-0 (")

"""The warm pool, in Docker."""

import threading
import time

import pytest

from sandbox_runner.errors import DockerError, GuestError, ImageError, SandboxError
from sandbox_runner.sandbox import ContainerWorld, Engine, SandboxPool, SandboxSpec

pytestmark = pytest.mark.docker


@pytest.fixture
def spec(request: pytest.FixtureRequest) -> SandboxSpec:
    """A spec whose containers carry a label of this test alone."""
    return SandboxSpec(runtime="runc", labels={"sandbox-runner.pool-test": request.node.name})


def containers(engine: Engine, spec: SandboxSpec) -> list[str]:
    filters = {"label": [f"{key}={value}" for key, value in spec.labels.items()]}
    return [container["Id"] for container in engine.api.containers(all=True, filters=filters)]


def until(condition, deadline_s: float = 60.0) -> bool:
    end = time.monotonic() + deadline_s
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return bool(condition())


def test_every_sandbox_is_fresh_has_its_own_run_and_is_used_once(engine, image, spec) -> None:
    with SandboxPool(2, spec, engine=engine) as pool:
        used = []
        for number in range(4):
            sandbox = pool.take(f"run-{number}", {"principal": f"agent-{number}"})
            world = ContainerWorld(sandbox)
            assert "not found" in world.file_read("mark")
            world.file_write("mark", str(number))
            used.append((sandbox.container_id, sandbox.uid))
            assert pool.retire(sandbox).result(30).clean
        assert len(set(used)) == 4
    assert containers(engine, spec) == []


def test_the_pool_never_holds_more_than_its_size_and_refills(engine, image, spec) -> None:
    with SandboxPool(2, spec, engine=engine) as pool:
        assert until(lambda: pool.ready == 2)
        time.sleep(0.3)
        assert len(containers(engine, spec)) == 2
        taken = pool.take("run", {})
        assert until(lambda: pool.ready == 2)
        assert len(containers(engine, spec)) == 3
        pool.retire(taken)
    assert containers(engine, spec) == []


def test_a_sandbox_that_died_while_it_waited_is_not_handed_out(engine, image, spec) -> None:
    with SandboxPool(1, spec, engine=engine) as pool:
        assert until(lambda: pool.ready == 1)
        (waiting,) = containers(engine, spec)
        engine.api.kill(waiting)
        sandbox = pool.take("run", {})
        assert sandbox.container_id != waiting
        assert ContainerWorld(sandbox).file_write("a", "x").startswith("file_write: a")
        pool.retire(sandbox)


def test_many_threads_share_a_pool(engine, image, spec) -> None:
    seen: list[str] = []

    def work(pool: SandboxPool, number: int) -> None:
        sandbox = pool.take(f"run-{number}", {})
        seen.append(sandbox.container_id)
        pool.retire(sandbox)

    with SandboxPool(2, spec, engine=engine) as pool:
        threads = [threading.Thread(target=work, args=(pool, number)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    assert len(set(seen)) == 6
    assert containers(engine, spec) == []


class Counting(Engine):
    """The real Engine, which counts the containers it creates."""

    created = 0

    def call(self, what, ask, *arguments, **options):
        self.created += what == "create a container"
        return super().call(what, ask, *arguments, **options)


def test_no_more_are_started_than_will_be_used_unless_more_are_taken(engine, image, spec) -> None:
    counting = Counting(engine.api)
    with SandboxPool(2, spec, engine=counting, uses=3) as pool:
        for number in range(3):
            pool.retire(pool.take(f"run-{number}", {})).result(30)
        time.sleep(0.5)
        assert (counting.created, pool.ready) == (3, 0)
        pool.retire(pool.take("one more", {}, deadline_s=30))
        assert counting.created == 4
    assert containers(engine, spec) == []


class Hiccup(Engine):
    """The real Engine, which refuses to create containers for a while."""

    refusals = 3

    def call(self, what, ask, *arguments, **options):
        if what == "create a container" and self.refusals:
            self.refusals -= 1
            raise DockerError("Docker could not create a container: hiccup.")
        return super().call(what, ask, *arguments, **options)


def test_a_hiccup_of_dockers_is_survived(engine, image, spec) -> None:
    shaky = Hiccup(engine.api)
    with SandboxPool(1, spec, engine=shaky) as pool:
        sandbox = pool.take("run", {}, deadline_s=60)
        assert shaky.refusals == 0
        pool.retire(sandbox)


def test_an_outage_is_told_with_its_reason_within_the_deadline(engine, image, spec) -> None:
    broken = Hiccup(engine.api)
    broken.refusals = 1_000_000
    with SandboxPool(1, spec, engine=broken) as pool:
        assert until(lambda: broken.refusals < 1_000_000)
        with pytest.raises(SandboxError, match="hiccup"):
            pool.take("run", {}, deadline_s=1)


def test_what_can_never_start_is_told_at_once(engine) -> None:
    spec = SandboxSpec(image="sandbox-runner-test:none")
    with SandboxPool(1, spec, engine=engine) as pool, pytest.raises(ImageError, match="no image"):
        pool.take("run", {}, deadline_s=60)


def test_a_configuration_the_guest_refuses_is_the_takers_error_not_a_loop(engine, image, spec) -> None:
    with SandboxPool(1, spec, engine=engine) as pool, pytest.raises(GuestError, match="surprise"):
        pool.take("run", {"surprise": 1}, deadline_s=60)


def test_a_closed_pool_says_so(engine, image, spec) -> None:
    pool = SandboxPool(1, spec, engine=engine)
    pool.close()
    pool.close()
    with pytest.raises(SandboxError, match="closed"):
        pool.take("run", {})

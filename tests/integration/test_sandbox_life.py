"""A sandbox from its first word to its receipt, in Docker."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandbox_runner.errors import (
    ChannelError,
    ConfigurationError,
    GuestError,
    ImageError,
    SandboxError,
    WorkspaceError,
)
from sandbox_runner.guest.tree_records import FILE, read_scan
from sandbox_runner.policy import Resources
from sandbox_runner.sandbox import ContainerWorld, Sandbox, SandboxSpec
from sandbox_runner.sandbox.isolation import look_inside
from sandbox_runner.trail.operations import METHODS
from sandbox_runner.world import Call, Status

pytestmark = pytest.mark.docker


def write(path: str, content: str = "x") -> Call:
    return Call(METHODS["file_write"].opcode, "file_write", {"path": path, "content": content})


def read(path: str) -> Call:
    return Call(METHODS["file_read"].opcode, "file_read", {"path": path})


def test_a_call_goes_in_and_its_outcome_comes_back(start_world, runtime) -> None:
    world = start_world(runtime=runtime)
    assert world.file_write("src/größe.py", "x = 1\n") == "file_write: src/größe.py (6 chars)"
    assert world.file_read("src/größe.py") == "file_read: src/größe.py (6 chars)"
    assert world.file_read("missing") == "file_read: ERROR file not found: missing"


def test_a_window_of_calls_gives_what_one_by_one_gives(start_sandbox) -> None:
    calls = [write(f"d{i % 7}/f{i % 11}.txt", "y" * (i * 97 % 9000)) for i in range(120)]
    calls += [read(f"d{i % 7}/f{i % 13}.txt") for i in range(60)]
    alone = list(ContainerWorld(start_sandbox(), window=1).perform_all(calls))
    ahead = list(ContainerWorld(start_sandbox(), window=64).perform_all(calls))
    assert [(o.status, o.text, o.details) for o in alone] == [(o.status, o.text, o.details) for o in ahead]


def test_nothing_is_performed_after_the_outcome_that_stops(start_world) -> None:
    world = start_world()
    calls = [write("a"), read("missing"), *(write(f"late{i}") for i in range(40))]
    outcomes = list(world.perform_all(calls, stop_on_failure=True))
    assert [outcome.status for outcome in outcomes] == [Status.OK, Status.FAILED]
    assert all(world.file_read(f"late{i}").endswith(f"not found: late{i}") for i in range(40))


def test_none_in_the_stream_delivers_every_outcome_before_more_is_pulled(start_world) -> None:
    delivered: list[str] = []

    def calls():
        yield write("a")
        yield write("b")
        yield None
        assert len(delivered) == 2
        yield write("c")

    for outcome in start_world().perform_all(calls()):
        delivered.append(outcome.text)  # noqa: PERF401 - the generator above looks at it meanwhile
    assert len(delivered) == 3


def test_a_consumer_that_stops_early_can_go_on_with_the_world(start_world) -> None:
    world = start_world()
    outcomes = world.perform_all(write(f"f{i}", "x" * 10_000) for i in range(200))
    next(outcomes)
    outcomes.close()
    assert world.file_write("after", "x") == "file_write: after (1 chars)"
    assert world.sandbox.quiesce().header["killed"] == 0


def test_a_workspace_is_copied_in_and_never_written(tmp_path: Path, engine, image) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("print(1)\n")
    (tmp_path / "big.bin").write_bytes(bytes(range(256)) * 12_000)
    (tmp_path / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "link").symlink_to("src/a.py")
    (tmp_path / "empty").mkdir()
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with ContainerWorld.start(tmp_path, spec=SandboxSpec(runtime="runc"), engine=engine) as world:
        assert world.file_edit("src/a.py", "1", "2") == "file_edit: src/a.py (1 replacement)"
        listed = b"".join(world.sandbox.scan({}))
        assert all(name in listed for name in (b"big.bin", b"run.sh", b"link", b"empty", b"src/a.py"))
    assert (tmp_path / "src" / "a.py").read_text() == "print(1)\n"
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_a_workspace_that_does_not_fit_is_said_to_be_the_workspaces_fault(
    tmp_path: Path, engine, image
) -> None:
    (tmp_path / "big").write_bytes(bytes(3 << 20))
    spec = SandboxSpec(runtime="runc", resources=Resources(workspace=2 << 20))
    with pytest.raises(WorkspaceError, match="big"):
        ContainerWorld.start(tmp_path, spec=spec, engine=engine)
    with pytest.raises(WorkspaceError, match="cannot be opened"):
        ContainerWorld.start(tmp_path / "missing", spec=spec, engine=engine)


def test_the_receipt_proves_that_container_and_volume_are_gone(start_sandbox, engine, runtime) -> None:
    sandbox = start_sandbox(runtime=runtime)
    receipt = sandbox.close()
    assert receipt.clean
    assert receipt.how == "left"
    assert receipt.exit_code == 0
    assert len(receipt.volumes) == {"runc": 2, "runsc": 1}[runtime]  # the workspace, the pseudo-terminals
    assert engine.container(receipt.container) is None
    assert not any(map(engine.volume, receipt.volumes))
    assert sandbox.close() is receipt
    assert json.dumps(receipt.as_dict())


def test_a_closed_sandbox_answers_with_a_sandbox_error(start_sandbox) -> None:
    sandbox = start_sandbox()
    sandbox.close()
    with pytest.raises(SandboxError):
        sandbox.request("quiesce")


def test_a_guest_that_is_killed_is_a_fault_that_names_the_cause(start_world, engine, runtime) -> None:
    world = start_world(runtime=runtime)
    engine.api.kill(world.sandbox.container_id)
    with pytest.raises(GuestError, match="killed from outside"):
        world.file_read("a")
    with pytest.raises(GuestError, match="killed from outside"):
        world.file_read("a")


def test_a_paused_guest_is_a_fault_within_the_allowance_and_leaves_nothing(start_world, engine) -> None:
    world = start_world()
    engine.api.pause(world.sandbox.container_id)
    with pytest.raises(GuestError, match="paused"):
        world.sandbox.request("quiesce", allowance_s=0.5)
    receipt = world.sandbox.close()
    assert receipt.clean
    assert receipt.how == "removed"


def test_a_guest_that_stalls_is_a_channel_error_and_the_rest_is_removed_by_force(
    start_sandbox, engine
) -> None:
    sandbox = start_sandbox()
    engine.api.kill(sandbox.container_id, signal="SIGSTOP")  # for Docker it runs, and it never answers
    with pytest.raises(ChannelError, match="within"):
        sandbox.request("quiesce", allowance_s=0.2)
    assert sandbox.broken
    receipt = sandbox.close()
    assert receipt.clean
    assert receipt.how == "removed"


def test_a_configuration_that_the_guest_does_not_know_is_a_fault(start_sandbox) -> None:
    with pytest.raises(GuestError, match="surprise"):
        start_sandbox(guest={"surprise": 1})


def test_an_image_without_python_is_named_and_leaves_nothing(engine, image, runtime, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text('FROM scratch\nCOPY Dockerfile /\nCMD ["x"]\n')
    events = list(engine.api.build(path=str(tmp_path), tag="sandbox-runner-test:empty", rm=True, decode=True))
    assert "error" not in events[-1]
    try:
        with pytest.raises(ImageError, match="no python3"):
            Sandbox.start(SandboxSpec(image="sandbox-runner-test:empty", runtime=runtime), engine=engine)
    finally:
        engine.api.remove_image("sandbox-runner-test:empty", force=True)
    with pytest.raises(ImageError, match="There is no image"):
        Sandbox.start(SandboxSpec(image="sandbox-runner-test:none"), engine=engine)


def test_a_volume_that_an_image_declares_is_shut(engine, image, start_sandbox, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {image.name}\nVOLUME /data\n")
    events = list(
        engine.api.build(path=str(tmp_path), tag="sandbox-runner-test:volume", rm=True, decode=True)
    )
    assert "error" not in events[-1]
    try:
        sandbox = start_sandbox(image="sandbox-runner-test:volume")
        mounts = engine.container(sandbox.container_id)["Mounts"]
        volumes = {mount["Destination"] for mount in mounts if mount["Type"] == "volume"}
        assert volumes == {"/workspace", "/dev/pts"}
        assert sandbox.close().clean
    finally:
        engine.api.remove_image("sandbox-runner-test:volume", force=True)


def test_an_unknown_runtime_is_a_configuration_error(engine, image) -> None:
    with pytest.raises(ConfigurationError, match=r"it knows: .*runc"):
        Sandbox.start(SandboxSpec(runtime="rocket"), engine=engine)


def test_auto_takes_the_strongest_runtime_that_starts_and_remembers(engine, image, tmp_path: Path) -> None:
    cache = tmp_path / "state" / "runtimes.json"
    with Sandbox.start(SandboxSpec(runtime_cache=cache), engine=engine) as sandbox:
        assert "passed its start test" in sandbox.runtime.reason
        known = engine.info()["Runtimes"]
        assert sandbox.runtime.name == ("runsc" if "runsc" in known else "runc")
    assert sandbox.runtime.name in cache.read_text()


def test_an_image_whose_name_moved_or_was_removed_is_noticed(engine, image) -> None:
    name = "sandbox-runner-test:moving"
    repository, _, tag = name.partition(":")
    try:
        engine.api.tag(image.id, repository, tag)
        spec = SandboxSpec(image=name, runtime="runc")
        with Sandbox.start(spec, engine=engine) as first:
            assert first.image.id == image.id
        made = engine.api.create_container(image.id, ["true"], labels={"moved": "yes"})["Id"]
        moved = engine.api.commit(made, repository, tag)["Id"]
        engine.api.remove_container(made)
        with Sandbox.start(spec, engine=engine) as second:
            assert second.image.id == moved != image.id
        engine.api.remove_image(name)
        with pytest.raises(ImageError, match="There is no image"):
            Sandbox.start(spec, engine=engine)
    finally:
        if engine.image(name) is not None:
            engine.api.remove_image(name, force=True)


def test_an_image_whose_library_is_closed_to_the_sandbox_uid_works(engine, image) -> None:
    name = "sandbox-runner-test:closed"
    made = engine.api.create_container(image.id, ["sh", "-c", "chmod 700 /usr/lib/python3*/lib-dynload"])[
        "Id"
    ]
    try:
        engine.api.start(made)
        engine.api.wait(made, timeout=30)
        engine.api.commit(made, *name.split(":"))
        with ContainerWorld.start(spec=SandboxSpec(image=name, runtime="runc"), engine=engine) as world:
            world.file_write("a", "word")
            assert world.search_code("word").endswith("1 matches")
            assert world.bottle_drop("ada", "x").startswith("bottle_drop")
            world.file_write("b", "x")
            assert world.git_commit("0", "a commit") == "git_commit: a commit"
            world.file_read("a")
            assert {entry.kind for body in world.sandbox.scan({}) for entry in read_scan(body)} >= {FILE}
    finally:
        engine.api.remove_container(made, force=True)
        if engine.image(name) is not None:
            engine.api.remove_image(name, force=True)


def test_the_kernel_confirms_the_isolation(engine, image, runtime) -> None:
    isolation = look_inside(engine, image=image, runtime=runtime)
    assert isolation.ok, isolation.problems
    assert isolation.facts["interfaces"] == ["lo"]
    assert isolation.facts["routes"] <= 0
    if runtime == "runc":
        assert isolation.notes == ()


RUNNER = """
import sys, time
from sandbox_runner.guest.tree_records import FILE, read_scan
from sandbox_runner.sandbox import ContainerWorld, SandboxSpec
world = ContainerWorld.start(spec=SandboxSpec(runtime=sys.argv[1], run_id=sys.argv[2]))
world.file_write("test_a.py", '''
import subprocess, time
def test_a():
    subprocess.Popen(["sleep", "300"], start_new_session=True)
    time.sleep(300)
''')
print(world.sandbox.container_id, flush=True)
world.test_run("test_a.py", 0)
"""


def test_killing_the_runner_during_a_test_run_leaves_nothing(engine, image, runtime) -> None:
    run = f"killed-{runtime}-{time.time_ns()}"
    command = [sys.executable, "-c", RUNNER, runtime, run]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        container = process.stdout.readline().strip()
        inspected = engine.container(container)
        time.sleep(1)
        process.kill()
    volumes = [mount["Name"] for mount in inspected["Mounts"] if mount["Type"] == "volume"]
    end = time.monotonic() + 60  # long before its test would end, or anybody would clean up
    while time.monotonic() < end and (engine.container(container) or any(map(engine.volume, volumes))):
        time.sleep(0.05)
    assert engine.container(container) is None
    assert volumes
    assert not any(map(engine.volume, volumes))

"""Images that declare volumes where the sandbox has its own: they work, or are refused in words."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox_runner.errors import ConfigurationError
from sandbox_runner.sandbox import Sandbox, SandboxSpec
from sandbox_runner.trail.operations import METHODS
from sandbox_runner.world import Call, Status

pytestmark = pytest.mark.docker

NAME = "sandbox-runner-test:declares"

WORKS = """
import os, tempfile
def test_it():
    for place in ("/workspace", "/tmp", "/dev/shm"):
        with tempfile.NamedTemporaryFile(dir=place) as file:
            file.write(bytes(1 << 20)); file.flush()
    for place in (@PLACES@):
        assert set(os.listdir(place)) <= {"a"}, place
        try: os.mkdir(place + "/x")
        except OSError: continue
        assert False, place + " can be written"
"""


@pytest.fixture
def declares(engine, image, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Give the image that declares these volumes; every one has the same name."""

    def declare(*volumes: str) -> str:
        (tmp_path / "Dockerfile").write_text(f"FROM {image.name}\nVOLUME {json.dumps(volumes)}\n")
        events = list(engine.api.build(path=str(tmp_path), tag=NAME, rm=True, decode=True))
        assert "error" not in events[-1], events[-1]
        return NAME

    yield declare
    engine.api.remove_image(NAME, force=True)


VOLUMES = (
    *("//workspace/./", "/tmp/", "/dev/shm"),
    *("/tmp/cache", "/data", "/data/a/b", "/workspaces", "/usr/share/doc"),
)


def test_an_image_with_volumes_beside_or_at_our_places_works(declares, start_world, engine, runtime) -> None:
    world = start_world(image=declares(*VOLUMES), runtime=runtime)
    ours = ("workspace", "tmp", "dev/shm")
    others = [volume for volume in VOLUMES if volume.strip("/.") not in ours]
    world.file_write("test_it.py", WORKS.replace("@PLACES@", "".join(f"{place!r}," for place in others)))
    arguments = {"test_path": "test_it.py", "expected": 1}
    outcome = world.perform(Call(METHODS["test_run"].opcode, "test_run", arguments))
    assert outcome.status is Status.OK, outcome.meta["output"]
    mounts = engine.container(world.sandbox.container_id)["Mounts"]
    volumes_there = {mount["Destination"] for mount in mounts if mount["Type"] == "volume"}
    assert volumes_there <= {"/workspace", "/dev/pts"}


def test_an_image_with_a_volume_in_our_way_is_refused_before_anything_starts_until_it_is_mended(
    declares, engine, start_sandbox
) -> None:
    for volume in ("/workspace/data", "/dev"):
        spec = SandboxSpec(image=declares(volume), runtime="runc")
        with pytest.raises(ConfigurationError, match=f"declares a volume at '{volume}'") as caught:
            Sandbox.start(spec, engine=engine)
        assert caught.value.hint
        assert caught.value.exit_code == 2
        assert engine.api.containers(all=True, filters={"ancestor": NAME}) == []
    assert start_sandbox(image=declares("/data")).close().clean

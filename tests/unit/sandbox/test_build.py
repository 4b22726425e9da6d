"""Making the default image against an Engine in memory: what is tried, what is said, what is left."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from sandbox_runner.errors import DockerError, ImageError
from sandbox_runner.sandbox import build
from sandbox_runner.sandbox.build import make_image


class MemoryEngine:
    """Keeps names of images; a registry answers only where it is given images."""

    def __init__(self, registry: tuple[str, ...] = (), *, broken_build: bool = False) -> None:
        self.images: set[str] = set()
        self.registry = registry
        self.broken_build = broken_build
        self.removed: list[str] = []
        self.built_on: list[str] = []
        self.api = SimpleNamespace(
            pull="pull",
            build="build",
            images="images",
            remove_image="remove",
            import_image_from_file="import",
        )

    def image(self, name: str) -> dict | None:
        return {"Id": name} if name in self.images else None

    def stream(
        self, what: str, deadline_s: float, ask: str, *arguments: str, **options: object
    ) -> Iterator[dict]:
        if ask == "pull":
            name = f"{arguments[0]}:{options['tag']}"
            if name not in self.registry:
                raise DockerError(f"Docker could not {what}: no such host.")
            self.images.add(name)
            return
        self.built_on.append(options["buildargs"]["BASE"])
        yield {"stream": "Step 1/9\n"}
        if self.broken_build:
            yield {"error": "exit code 1"}
        self.images.add(options["tag"])

    def call(self, what: str, ask: str, *arguments: str, **options: object) -> list:
        if ask == "import":
            self.images.add(f"{arguments[1]}:{arguments[2]}")
        return []

    def find(self, what: str, ask: str, name: str) -> None:
        self.removed.append(name)
        self.images.discard(name)

    def close(self) -> None:
        pass


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return []


def make(engine: MemoryEngine, monkeypatch, said: list[str], **options: object) -> None:
    monkeypatch.setattr(build.Engine, "connect", lambda **_options: engine)
    make_image(engine, "sandbox-runner/python:abc", on_progress=said.append, **options)


def stand_in(tmp_path: Path, monkeypatch, code: str) -> None:
    """A program in mmdebstrap's place."""
    program = tmp_path / "mmdebstrap"
    program.write_text(f"#!{sys.executable}\n{code}\n")
    program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(program) if name == "mmdebstrap" else None)


def test_a_registry_that_answers_gives_the_base(monkeypatch, said) -> None:
    engine = MemoryEngine(registry=(build.REGISTRY_BASE,))
    make(engine, monkeypatch, said)
    assert engine.built_on == [build.REGISTRY_BASE]


def test_without_a_registry_debians_packages_are_used_and_it_is_said_why(tmp_path, monkeypatch, said) -> None:
    stand_in(tmp_path, monkeypatch, "import sys; open(sys.argv[-1], 'w').close(); print('I: done')")
    engine = MemoryEngine()
    make(engine, monkeypatch, said)
    (base,) = engine.built_on
    assert base.startswith("sandbox-runner/python:abc-base-")
    assert engine.images == {"sandbox-runner/python:abc"}
    assert any("no such host" in line and "mmdebstrap instead" in line for line in said)
    assert "I: done" in said


def test_a_failing_bootstrap_is_told_with_its_last_words(tmp_path, monkeypatch, said) -> None:
    stand_in(tmp_path, monkeypatch, "import sys; print('E: no mirror'); sys.exit(25)")
    with pytest.raises(ImageError, match=r"mmdebstrap failed with exit 25: E: no mirror"):
        make(MemoryEngine(), monkeypatch, said)


def test_a_bootstrap_without_end_is_ended(tmp_path, monkeypatch, said) -> None:
    stand_in(tmp_path, monkeypatch, "import time; time.sleep(60)")
    monkeypatch.setattr(build, "BOOTSTRAP_S", 0.3)
    with pytest.raises(ImageError, match="mmdebstrap failed"):
        make(MemoryEngine(), monkeypatch, said)


def test_without_mmdebstrap_the_error_says_how_to_get_it(monkeypatch, said) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(ImageError, match="mmdebstrap is not installed") as caught:
        make(MemoryEngine(), monkeypatch, said)
    assert "apt-get install mmdebstrap" in caught.value.hint
    assert "--base" in caught.value.hint


def test_a_base_that_is_there_is_not_asked_of_a_registry(monkeypatch, said) -> None:
    engine = MemoryEngine()
    engine.images.add("mine:1")
    make(engine, monkeypatch, said, base="mine:1")
    assert engine.built_on == ["mine:1"]
    with pytest.raises(ImageError, match="did not give other:1"):
        make(engine, monkeypatch, said, base="other:1")


def test_a_recipe_that_fails_is_told_and_its_base_removed(tmp_path, monkeypatch, said) -> None:
    stand_in(tmp_path, monkeypatch, "import sys; open(sys.argv[-1], 'w').close()")
    engine = MemoryEngine(broken_build=True)
    with pytest.raises(ImageError, match="exit code 1"):
        make(engine, monkeypatch, said)
    assert engine.images == set()

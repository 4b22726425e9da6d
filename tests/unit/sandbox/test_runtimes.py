from pathlib import Path

import pytest

from sandbox_runner.errors import ConfigurationError, DockerError, SandboxError
from sandbox_runner.sandbox.runtimes import RuntimeChooser

BOTH = {
    "ID": "engine",
    "ServerVersion": "1",
    "Runtimes": {"runc": {"path": "runc"}, "runsc": {"path": "runsc"}},
}
PLAIN = {"ID": "engine", "ServerVersion": "1", "Runtimes": {"runc": {"path": "runc"}}}


class Trial:
    """Starts nothing; fails for the runtimes it is told to, and remembers what it was asked."""

    def __init__(self, *broken: str) -> None:
        self.broken = broken
        self.asked: list[str] = []

    def __call__(self, runtime: str) -> None:
        self.asked.append(runtime)
        if runtime in self.broken:
            raise DockerError("no ptrace here")


def test_auto_takes_the_strongest_that_starts() -> None:
    trial = Trial()
    choice = RuntimeChooser(BOTH).choose("auto", "image", trial)
    assert (choice.name, trial.asked) == ("runsc", ["runsc"])


def test_auto_says_why_a_stronger_one_was_not_taken() -> None:
    choice = RuntimeChooser(BOTH).choose("auto", "image", Trial("runsc"))
    assert choice.name == "runc"
    assert "runsc failed its start test: no ptrace here" in choice.reason
    assert "runsc is not registered" in RuntimeChooser(PLAIN).choose("auto", "image", Trial()).reason


def test_auto_fails_when_nothing_starts() -> None:
    with pytest.raises(SandboxError, match="No container runtime works"):
        RuntimeChooser(BOTH).choose("auto", "image", Trial("runsc", "runc"))


def test_a_runtime_asked_for_is_taken_without_a_test_or_refused() -> None:
    trial = Trial("runc")
    assert RuntimeChooser(PLAIN).choose("runc", "image", trial).name == "runc"
    assert trial.asked == []
    with pytest.raises(ConfigurationError, match="no runtime 'runsc'; it knows: runc"):
        RuntimeChooser(PLAIN).choose("runsc", "image", trial)


def test_the_test_is_made_once_for_each_image() -> None:
    chooser, trial = RuntimeChooser(BOTH), Trial()
    for image in ("one", "one", "two"):
        chooser.choose("auto", image, trial)
    assert len(trial.asked) == 2


def test_another_process_reads_what_was_found_out(tmp_path: Path) -> None:
    cache, trial = tmp_path / "state" / "runtimes.json", Trial()
    RuntimeChooser(BOTH).choose("auto", "image", trial, cache=cache)
    again = Trial()
    assert RuntimeChooser(BOTH).choose("auto", "image", again, cache=cache).name == "runsc"
    assert again.asked == []


@pytest.mark.parametrize("change", [{"ServerVersion": "2"}, {"ID": "other"}, PLAIN])
def test_a_finding_about_another_engine_is_not_used(tmp_path: Path, change: dict) -> None:
    cache = tmp_path / "runtimes.json"
    RuntimeChooser(BOTH).choose("auto", "image", Trial(), cache=cache)
    trial = Trial()
    RuntimeChooser({**BOTH, **change}).choose("auto", "image", trial, cache=cache)
    assert trial.asked


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"x": 1}', b"[" * 70_000])
def test_a_cache_that_makes_no_sense_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    cache = tmp_path / "runtimes.json"
    cache.write_bytes(content)
    assert RuntimeChooser(BOTH).choose("auto", "image", Trial(), cache=cache).name == "runsc"
    assert RuntimeChooser(BOTH).choose("auto", "image", Trial("runsc"), cache=cache).name == "runsc"

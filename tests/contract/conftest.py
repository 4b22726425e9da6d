"""The worlds that the contract is held against. A new world is one more ``WorldCase`` in ``CASES``."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sandbox_runner.policy import GuardedWorld, Policy
from sandbox_runner.record import RecordedWorld
from sandbox_runner.record.chain import ChainOrigin
from sandbox_runner.record.recorder import Recorder
from sandbox_runner.trail import METHODS
from sandbox_runner.world import Call, FileWorld, MockWorld, World, adapt


def call_of(method: str, step: int = -1, **arguments: str | float) -> Call:
    return Call(METHODS[method].opcode, method, arguments, step)


@dataclass(frozen=True)
class WorldCase:
    """One world under the contract.

    Attributes:
        name: shown in the test's id.
        start: given a directory (a git repository with the files of ``workspace``), a context with the world.
        failing: a call that fails in this world and has no effect.
        acts: whether it really reads, writes and runs; otherwise only the stream is tested.
        differences: methods of the fleet whose usual text this world does not always give, with the reason.
        marks: pytest marks, for example ``pytest.mark.docker``.
    """

    name: str
    start: Callable[[Path], AbstractContextManager[World]]
    failing: Call = field(default_factory=lambda: call_of("file_read", path="absent"))
    acts: bool = True
    differences: dict[str, str] = field(default_factory=dict)
    marks: tuple[pytest.MarkDecorator, ...] = ()


class PlainFileWorld:
    """A stranger's world: the fourteen methods, as plain functions."""

    def __init__(self, directory: Path) -> None:
        world = FileWorld(directory, backup_on_write=False)
        for method in METHODS:
            setattr(self, method, getattr(world, method))


def mock_world(_: Path) -> AbstractContextManager[World]:
    return nullcontext(MockWorld(fail_on=["git_push"]))


def file_world(directory: Path) -> AbstractContextManager[World]:
    return FileWorld(directory, backup_on_write=False)


def adapted_world(directory: Path) -> AbstractContextManager[World]:
    return nullcontext(adapt(PlainFileWorld(directory)))


@contextmanager
def guarded_world(directory: Path) -> Iterator[World]:
    with FileWorld(directory, backup_on_write=False) as inner:
        yield GuardedWorld(inner, Policy.load("default"))


@contextmanager
def recorded_world(directory: Path) -> Iterator[World]:
    log = directory.with_name("record")
    log.mkdir()
    recorder = Recorder(log, ChainOrigin(trail_sha256="0" * 64, policy_sha256="0" * 64))
    with FileWorld(directory, backup_on_write=False) as inner, closing(recorder):
        yield RecordedWorld(inner, recorder)


CASES = (
    WorldCase("MockWorld", mock_world, failing=call_of("git_push", repo="0"), acts=False),
    WorldCase("FileWorld", file_world),
    WorldCase("adapted plain object", adapted_world),
    WorldCase(
        "GuardedWorld",
        guarded_world,
        differences={"cap_issue": "the default policy grants the actions it names and no other"},
    ),
    WorldCase("RecordedWorld", recorded_world),
)


def _parameters(cases: tuple[WorldCase, ...]) -> list[object]:
    return [pytest.param(case, id=case.name, marks=case.marks) for case in cases]


@pytest.fixture(params=_parameters(CASES))
def case(request: pytest.FixtureRequest) -> WorldCase:
    """Every world."""
    return request.param


@pytest.fixture(params=_parameters(tuple(case for case in CASES if case.acts)))
def acting_case(request: pytest.FixtureRequest) -> WorldCase:
    """Every world that really acts."""
    return request.param

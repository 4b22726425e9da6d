"""Whatever the public interface is given, it does what it says or tells why not, in an error of ours."""

from __future__ import annotations

import contextlib
import enum
import inspect
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sandbox_runner
from sandbox_runner import (
    Call,
    FileWorld,
    GuardedWorld,
    Home,
    MockWorld,
    Outcome,
    Phase,
    Policy,
    Resources,
    Runner,
    RunRecord,
    Sandbox,
    SandboxRunnerError,
    SandboxSpec,
    SnapshotStore,
    Status,
    TrailCompiler,
    TrailDecoder,
    TrailEncoder,
    TrailEvent,
    TrailExecutor,
    TrailOpcodes,
    TrailPrinter,
    TrailProgram,
    TrailResult,
    TrailStep,
    TrailVerifier,
)
from sandbox_runner.record import signing_key

WORKLOG = [
    {"op": "TRAIL_BEGIN", "agent": "a", "trail_id": "t", "ts": 1},
    {"op": "FILE_WRITE", "path": "a.txt", "content": "x"},
    {"op": "TRAIL_END"},
]
TRAIL = TrailCompiler().compile_and_encode(WORKLOG)
READ = Call(TrailOpcodes.FILE_READ, "file_read", {"path": "a.txt"})


class Fine:
    """Makes one sound object of each kind; shown in few words."""

    def __init__(self, make: Callable[[], Mapping[type, Any]]) -> None:
        self.make = make

    def __repr__(self) -> str:
        return "fine"


class Odd:
    """An object of nobody's kind, which refuses to be anything."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return self is other


ODD = st.sampled_from(
    [
        *(None, True, False, 0, 1, -1, 2**16, 2**31, 2**64, -(2**70), 10**4200, 1.5, -0.0, 1e308),
        *(
            float("nan"),
            float("inf"),
            "",
            "x",
            "last",
            "default",
            "ab" * 32,
            "\0",
            "a\0b",
            "\ud800",
            "\udcff",
        ),
        *("../..", "/", "x" * 5000, "ä\u202e\x1b[31m", b"", b"x", b"\xff\xfe", bytearray(b"\xa0"), TRAIL),
        *([], [None], ["\ud800"], [5], [[]], (), {}, {5: 5}, {"a": None}, {"op": []}, {"x": "\ud800"}, set()),
        *(object(), Odd(), Odd, len, Status.OK, Phase.STEP, TrailOpcodes.NOP, READ, Outcome(Status.OK, "x")),
        *(TrailProgram(), TrailStep(TrailOpcodes.NOP, [1]), TrailEvent(0, 0x9F), WORKLOG),
        Path("/nowhere"),
    ]
) | st.recursive(
    st.none() | st.integers() | st.floats() | st.text(st.characters(codec=None)) | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture
def fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fine]:
    """One sound object of each kind that methods are called on."""
    monkeypatch.chdir(tmp_path)
    home = Home(tmp_path / "home")
    (tmp_path / "base").mkdir()
    policy = Policy.load("default")
    executor = TrailExecutor(MockWorld(), TRAIL)
    with contextlib.closing(FileWorld(tmp_path / "base")) as world:
        runner = Runner(policy=policy, home=home, sign=False)
        record = runner.run(WORKLOG, dry_run=True)
        yield Fine(
            lambda: {
                FileWorld: world,
                GuardedWorld: GuardedWorld(MockWorld(), policy),
                Home: home,
                MockWorld: MockWorld(),
                Policy: policy,
                Resources: Resources(),
                RunRecord: record,
                Runner: Runner(policy=policy, home=home, sign=False, start=_no_sandbox),
                SandboxSpec: SandboxSpec(),
                SnapshotStore: home.store(),
                TrailCompiler: TrailCompiler(),
                TrailDecoder: TrailDecoder(),
                TrailEncoder: TrailEncoder(),
                TrailEvent: TrailEvent(1, 0x92, {"path": "a"}, "ok"),
                TrailExecutor: executor,
                TrailPrinter: TrailPrinter(),
                TrailProgram: TrailDecoder().decode(TRAIL),
                TrailResult: executor.execute(),
                TrailVerifier: TrailVerifier(),
                type(signing_key(home.keys)): signing_key(home.keys),
            }
        )


def _no_sandbox(*_given: object, **_named: object) -> Any:
    raise sandbox_runner.SandboxError("there is none here")


def doors() -> Iterator[tuple[str, type | None, str]]:
    """Every public function, constructor and method: its place, its class, its name."""
    for name in sandbox_runner.__all__:
        door = getattr(sandbox_runner, name)
        if inspect.isclass(door):
            if issubclass(door, BaseException) or getattr(door, "_is_protocol", False):
                continue  # errors are ours to make; a protocol is a stranger's to fulfil
            # A sandbox is made by ``start``, of parts that are nobody's to give; an enumeration is Python's.
            if not issubclass(door, (enum.Enum, Sandbox)) and not inspect.isabstract(door):
                yield name, door, "__init__"
            for member, found in inspect.getmembers_static(door):
                kind = found.__func__ if isinstance(found, (classmethod, staticmethod)) else found
                ours = isinstance(kind, FunctionType) and (kind.__module__ or "").startswith("sandbox_runner")
                if ours and not member.startswith("_") and (name, member) not in NOT_HERE:
                    yield f"{name}.{member}", door, member
        elif callable(door):
            yield name, None, name


# What needs a container, or is a part of one, is tried where there are containers.
NOT_HERE = {
    (name, member)
    for name, kind in (("Sandbox", Sandbox), ("ContainerWorld", sandbox_runner.ContainerWorld))
    for member in dir(kind)
    if member not in {"start", "prepare"}
} | {
    (name, member)
    for name in ("World", "RecordedWorld")  # any other world tells of these
    for member in dir(sandbox_runner.World)
}
DOORS = {place: (kind, member) for place, kind, member in doors()}
STARTS = {
    "ContainerWorld.start",
    "Sandbox.start",
    "Sandbox.prepare",
}  # with arguments that are wrong for sure


SANE: Mapping[str, Any] = {
    "text": "x",
    "name": "x",
    "data": TRAIL,
    "bytecode": TRAIL,
    "entries": WORKLOG,
    "trail": WORKLOG,
    "step_index": 1,
    "opcode": TrailOpcodes.FILE_READ,
    "operands": {"path": "a"},
    "result": "ok",
    "status": Status.OK,
    "method": "file_read",
    "arguments": {"path": "a"},
    "call": READ,
    "calls": [READ],
    "slots": [1, 2],
    "table": {},
    "high": 1,
    "low": 2,
    "world": MockWorld(),
    "inner": MockWorld(),
    "policy": Policy.load("default"),
    "form": TrailEvent(1, 0x92).to_dict(),
    "previous": "ab" * 32,
    "success": True,
    "total_steps": 1,
    "completed_steps": 1,
    "failed_steps": 0,
    "keep_last": 1,
    "program": TrailDecoder().decode(TRAIL),
    "message": "x",
    "phase": Phase.STEP,
    "mapping": {"policy": 1},
}
"""By a parameter's name, what it may be given, so that the others' faults come to light."""


def drawn(found: inspect.Signature, data: st.DataObject, *, wrong: bool) -> tuple[list[Any], dict[str, Any]]:
    """Arguments for a signature, by position and by name; each wrong for sure where that is asked for."""
    given_: list[Any] = []
    named: dict[str, Any] = {}
    for parameter in found.parameters.values():
        name = parameter.name
        value = ODD | st.just(SANE[name]) if name in SANE and not wrong else ODD
        if wrong:
            value = value.filter(lambda found: found is not None)
        if parameter.kind is parameter.VAR_POSITIONAL:
            given_ += data.draw(st.lists(value, max_size=3), label=name)
        elif parameter.kind is parameter.VAR_KEYWORD:
            named |= data.draw(
                st.dictionaries(st.sampled_from(["budget", "x", "runtime"]), value), label=name
            )
        elif parameter.kind is not parameter.KEYWORD_ONLY:
            given_.append(data.draw(value, label=name))
        elif parameter.default is parameter.empty or wrong or data.draw(st.booleans(), label=f"give {name}"):
            named[name] = data.draw(value, label=name)
    return given_, named


@pytest.mark.parametrize("place", DOORS)
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_every_door_of_the_public_interface_answers_or_tells(
    place: str, fine: Fine, data: st.DataObject
) -> None:
    kind, member = DOORS[place]
    function = getattr(sandbox_runner, member) if kind is None else kind
    if kind is not None and member != "__init__":
        static = inspect.getattr_static(kind, member)
        subject = kind if isinstance(static, (classmethod, staticmethod)) else fine.make()[kind]
        function = getattr(subject, member)
    given_, named = drawn(inspect.signature(function), data, wrong=place in STARTS)
    allowed = (AssertionError,) if member.startswith("assert_") else ()
    with contextlib.suppress(SandboxRunnerError, *allowed), contextlib.redirect_stdout(io.StringIO()):
        answer = function(*given_, **named)
        if isinstance(answer, Iterator):
            list(answer)

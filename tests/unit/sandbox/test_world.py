"""The world against a sandbox in memory that performs in order and can lie."""

import ast
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from sandbox_runner.errors import ChannelError, GuestError, OutOfMemoryError
from sandbox_runner.guest import dispatch
from sandbox_runner.guest.wire import BODY_LIMIT, OUTPUT_LIMIT
from sandbox_runner.sandbox.channel import Answer
from sandbox_runner.sandbox.spec import Deadlines
from sandbox_runner.sandbox.world import PROGRAMS, ContainerWorld
from sandbox_runner.trail.operations import METHODS
from sandbox_runner.world import Call, Status

OK = {"status": "ok", "text": "done", "details": {}, "ns": 1}


class MemorySandbox:
    """Answers calls as a guest does: in order, nothing of a batch after the failure that stops it."""

    def __init__(self, reply: Callable[[dict, bytes], dict] | None = None) -> None:
        self.reply = reply or (lambda _header, _body: OK)
        self.open: deque[Answer] = deque()
        self.performed: list[str] = []
        self.most_open = 0
        self.allowances: list[float] = []
        self.stopped: int | None = None
        self.guest: dict = {}
        self.spec = SimpleNamespace(deadlines=Deadlines())
        self.channel = self
        self.unsent = 0
        self.abandon = self.open.clear

    @property
    def outstanding(self) -> int:
        return len(self.open)

    def send(self, kind: str, header: dict, body: bytes = b"", *, allowance_s: float) -> None:
        self.allowances.append(allowance_s)
        if self.stopped == header["batch"]:
            self.open.append(Answer({**OK, "status": "unperformed"}, b""))
            return
        self.performed.append(header["method"])
        answer = dict(self.reply(header, body))
        if header["stop"] and answer.get("status") in ("failed", "refused"):
            self.stopped = header["batch"]
        self.open.append(Answer(answer, answer.pop("body", b"")))
        self.most_open = max(self.most_open, len(self.open))

    def receive(self) -> Answer:
        return self.open.popleft()


def call(path: str = "a", method: str = "file_read", **more: object) -> Call:
    return Call(METHODS[method].opcode, method, {"path": path, **more})


def by_path(answers: dict[str, dict]) -> Callable[[dict, bytes], dict]:
    return lambda header, _body: {
        **OK,
        "text": header["args"]["path"],
        **answers.get(header["args"]["path"], {}),
    }


@pytest.mark.parametrize("window", [1, 2, 7, 100])
def test_outcomes_come_in_order_and_no_more_are_open_than_the_window_holds(window: int) -> None:
    sandbox = MemorySandbox(by_path({}))
    outcomes = ContainerWorld(sandbox, window=window).perform_all(call(str(i)) for i in range(30))
    assert [outcome.text for outcome in outcomes] == [str(i) for i in range(30)]
    assert sandbox.most_open == min(window, 30)


@pytest.mark.parametrize("window", [1, 4, 100])
@pytest.mark.parametrize("status", ["failed", "refused"])
def test_a_stopping_outcome_is_the_last(window: int, status: str) -> None:
    sandbox = MemorySandbox(by_path({"2": {"status": status}}))
    world = ContainerWorld(sandbox, window=window)
    outcomes = list(world.perform_all((call(str(i)) for i in range(9)), stop_on_failure=True))
    assert [outcome.text for outcome in outcomes] == ["0", "1", "2"]
    assert len(sandbox.performed) == 3
    assert not sandbox.open
    assert len(list(world.perform_all([call("x"), call("y")], stop_on_failure=True))) == 2


def test_calls_made_while_others_are_on_their_way_are_refused_and_take_none_of_their_outcomes() -> None:
    world = ContainerWorld(MemorySandbox(by_path({})), window=4)
    outcomes = world.perform_all(call(str(i)) for i in range(20))
    first = [next(outcomes).text, next(outcomes).text]
    for other in (lambda: world.perform(call("x")), lambda: list(world.perform_all([call("y")]))):
        with pytest.raises(RuntimeError, match="on their way"):
            other()
    assert first + [outcome.text for outcome in outcomes] == [str(i) for i in range(20)]
    assert world.perform(call("z")).text == "z"


@pytest.mark.parametrize("level", [2**70, -(2**63) - 1, 10**400])
def test_an_integer_of_any_size_travels(level: int) -> None:
    sandbox = MemorySandbox(lambda header, _body: {**OK, "text": str(header["args"]["level"] == level)})
    assert ContainerWorld(sandbox).level_up("ada", level) == "True"


def test_a_number_that_is_not_finite_fails_as_a_step() -> None:
    sandbox = MemorySandbox()
    outcome = ContainerWorld(sandbox).trust_update("ada", float("nan"))
    assert outcome == "trust_update: ERROR delta is no finite number"
    assert not sandbox.performed


def test_skipped_and_failed_outcomes_do_not_stop_unless_asked() -> None:
    sandbox = MemorySandbox(by_path({"1": {"status": "failed"}, "2": {"status": "skipped"}}))
    assert len(list(ContainerWorld(sandbox).perform_all(call(str(i)) for i in range(4)))) == 4


def test_long_texts_travel_as_bytes_and_short_ones_as_json() -> None:
    seen: list[tuple[dict, bytes]] = []
    sandbox = MemorySandbox(lambda header, body: seen.append((header, body)) or OK)
    long = "ß" * 3000
    ContainerWorld(sandbox).perform(call("p", "file_edit", old="short", new=long))
    ((header, body),) = seen
    assert header["args"] == {"path": "p", "old": "short"}
    assert header["blobs"] == {"new": 6000}
    assert body.decode() == long


@pytest.mark.parametrize(
    ("content", "reason"), [("\ud800", "not Unicode"), ("x" * (BODY_LIMIT + 1), "over 32 MiB")]
)
def test_what_cannot_travel_fails_as_a_step_in_its_place(content: str, reason: str) -> None:
    sandbox = MemorySandbox(by_path({}))
    calls = [call("0"), call("1", "file_write", content=content), call("2")]
    outcomes = list(ContainerWorld(sandbox).perform_all(calls))
    assert [outcome.status for outcome in outcomes] == [Status.OK, Status.FAILED, Status.OK]
    assert reason in outcomes[1].text
    stopped = list(ContainerWorld(sandbox).perform_all(calls, stop_on_failure=True))
    assert [outcome.status for outcome in stopped] == [Status.OK, Status.FAILED]


def test_facts_of_one_replay_go_beside_the_details() -> None:
    answer = {**OK, "details": {"passed": 1, "output": "0.1 s", "meta": {"pid": 7}}}
    outcome = ContainerWorld(MemorySandbox(lambda _header, _body: answer)).perform(call())
    assert outcome.details == {"passed": 1}
    assert outcome.meta == {"pid": 7, "output": "0.1 s"}


@pytest.mark.parametrize(
    "lie",
    [
        {"status": "passed"},
        {"status": "unperformed"},
        {"status": ["ok"]},
        {"status": None},
        {"text": None},
        {"text": "x" * 70_000},
        {"details": []},
        {"details": {"meta": 3}},
        {"ns": -1},
        {"ns": True},
        {"ns": "1"},
        {"body": b"surprise"},
    ],
)
def test_an_answer_of_another_form_is_a_broken_sandbox_not_a_failed_step(lie: dict) -> None:
    sandbox = MemorySandbox(lambda _header, _body: {**OK, **lie})
    with pytest.raises(ChannelError):
        ContainerWorld(sandbox).perform(call())


def test_the_host_waits_longer_than_the_guest_allows_itself() -> None:
    sandbox = MemorySandbox()
    sandbox.guest = {"limits": {"call_s": 5}, "tests": {"timeout_s": 90}}
    world = ContainerWorld(sandbox)
    margin = sandbox.spec.deadlines.margin
    assert world.allowance_s("file_read") == 5 + margin
    assert world.allowance_s("test_run") == 90 + margin
    sandbox.guest = {}
    assert ContainerWorld(sandbox).allowance_s("test_run") > 300


def test_a_window_that_holds_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        ContainerWorld(MemorySandbox(), window=0)


class StarvedSandbox(MemorySandbox):
    """Ends when it is asked for the answer to a method; from then on every request breaks."""

    def __init__(self, fatal: str, error: Exception) -> None:
        super().__init__(lambda header, _body: {**OK, "text": header["method"]})
        self.fatal, self.error, self.over = fatal, error, False
        self.asked: deque[str] = deque()
        self.abandon = self._abandon

    def _abandon(self) -> None:
        self.open.clear()
        self.asked.clear()

    def send(self, kind: str, header: dict, body: bytes = b"", *, allowance_s: float) -> None:
        if self.over:
            raise self.error
        super().send(kind, header, body, allowance_s=allowance_s)
        self.asked.append(header["method"])

    def receive(self) -> Answer:
        if self.over or self.asked[0] == self.fatal:
            self.over = True
            raise self.error
        self.asked.popleft()
        return super().receive()


def calls_around(fatal: str) -> list[Call]:
    names = ["room_enter", "file_read", fatal, "file_read", "git_push", "test_run"]
    return [Call(METHODS[name].opcode, name, {}, step) for step, name in enumerate(names)]


@pytest.mark.parametrize("window", [1, 2, 3, 100])
@pytest.mark.parametrize("fatal", sorted(PROGRAMS))
def test_a_sandbox_that_a_program_starved_is_that_calls_failure_and_the_rest_is_skipped(
    fatal: str, window: int
) -> None:
    sandbox = StarvedSandbox(fatal, OutOfMemoryError("the memory limit"))
    world = ContainerWorld(sandbox, window=window)
    outcomes = list(world.perform_all(iter(calls_around(fatal))))
    assert [outcome.status.value for outcome in outcomes] == ["ok", "ok", "failed", *["skipped"] * 3]
    assert outcomes[2].details["exhausted"] == ["memory"]
    assert world.perform(call()).status is Status.SKIPPED
    assert [outcome.status for outcome in world.perform_all([call()])] == [Status.SKIPPED]


@pytest.mark.parametrize("method", sorted(METHODS.keys() - PROGRAMS))
def test_a_sandbox_that_starved_while_no_program_ran_is_broken(method: str) -> None:
    for act in (
        lambda world: list(world.perform_all(calls_around(method))),
        lambda world: world.perform(Call(METHODS[method].opcode, method, {})),
    ):
        world = ContainerWorld(StarvedSandbox(method, OutOfMemoryError("the memory limit")))
        with pytest.raises(OutOfMemoryError):
            act(world)
        assert world.ended is None


@pytest.mark.parametrize("window", [1, 2, 100])
def test_a_sandbox_that_starved_after_a_program_had_run_is_the_failure_of_the_call_at_hand(
    window: int,
) -> None:
    """Under gVisor a program can leave memory behind that nothing frees."""
    names = ["test_run", "file_read", "file_write", "file_read"]
    world = ContainerWorld(StarvedSandbox("file_write", OutOfMemoryError("the memory limit")), window=window)
    outcomes = world.perform_all(
        Call(METHODS[name].opcode, name, {}, step) for step, name in enumerate(names)
    )
    assert [outcome.status.value for outcome in outcomes] == ["ok", "ok", "failed", "skipped"]
    assert world.ran_programs


@pytest.mark.parametrize("error", [GuestError("it died"), ChannelError("it stalled")])
def test_a_sandbox_that_broke_in_any_other_way_is_no_calls_failure(error: Exception) -> None:
    for act in (
        lambda world: list(world.perform_all(calls_around("test_run"))),
        lambda world: world.perform(Call(METHODS["test_run"].opcode, "test_run", {})),
    ):
        with pytest.raises(type(error)):
            act(ContainerWorld(StarvedSandbox("test_run", error)))


def test_the_methods_that_start_programs_are_those_whose_module_can() -> None:
    """Host and guest name them apart: the guest's own imports are the judge."""
    folder = Path(dispatch.__file__).parent

    def imports(module: str, seen: set[str]) -> set[str]:
        if module not in seen:
            seen.add(module)
            for node in ast.walk(ast.parse((folder / f"{module}.py").read_text())):
                package, _, name = str(getattr(node, "module", "")).rpartition(".")
                if package == "sandbox_runner.guest":
                    imports(name, seen)
        return seen

    starting = {name for name, (module, _) in dispatch.METHODS.items() if "process" in imports(module, set())}
    assert starting == PROGRAMS


def test_what_a_test_printed_comes_with_the_answer() -> None:
    answer = {**OK, "printed": {"bytes": 9, "cut_at": 2}, "body": b"abc"}
    outcome = ContainerWorld(MemorySandbox(lambda _header, _body: answer)).perform(call(method="test_run"))
    assert (outcome.printed.data, outcome.printed.total, outcome.printed.missing) == (b"abc", 9, 6)


@pytest.mark.parametrize(
    ("method", "told", "body"),
    [
        ("file_read", {"bytes": 1, "cut_at": 1}, b"x"),
        ("test_run", None, b"x"),
        ("test_run", {"bytes": 0, "cut_at": 0}, b"x"),
        ("test_run", {"bytes": 9, "cut_at": 2}, b"x"),
        ("test_run", {"bytes": True, "cut_at": 1}, b"x"),
        ("test_run", {"bytes": 1 << 60, "cut_at": 1}, b"x"),
        ("test_run", {"bytes": 1 << 30, "cut_at": 0}, bytes(OUTPUT_LIMIT + 1)),
        ("test_run", [], b""),
    ],
)
def test_a_guest_that_lies_about_what_was_printed_is_broken(method: str, told: object, body: bytes) -> None:
    answer = {**OK, "body": body} | ({} if told is None else {"printed": told})
    with pytest.raises(ChannelError):
        ContainerWorld(MemorySandbox(lambda _header, _body: answer)).perform(call(method=method))

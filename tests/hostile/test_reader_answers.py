"""A guest that was taken over: what it says is bounded, and costs the host no more than its length."""

import time
from hashlib import sha256

import orjson
import pytest

from sandbox_runner.errors import ChannelError, GuestError
from sandbox_runner.record import PolicyInfo, RunDirectory, RunInfo, TrailInfo, now_text
from sandbox_runner.replay.details import LastRead, PackedDetails, packed
from sandbox_runner.runner.artifacts import keep_pushes
from sandbox_runner.sandbox import world as worlds
from sandbox_runner.sandbox.channel import Answer
from sandbox_runner.sandbox.fast_json import HEADER_VALUES, decode
from sandbox_runner.sandbox.world import ContainerWorld
from sandbox_runner.trail.operations import METHODS
from sandbox_runner.world import Call


@pytest.fixture
def readings(monkeypatch):
    found = []
    read = orjson.loads

    def counted(data):
        found.append(len(data))
        return read(data)

    monkeypatch.setattr("sandbox_runner.replay.details.orjson.loads", counted)
    return found


WALKS = {
    "dict": dict,
    "items": lambda details: list(details.items()),
    "values": lambda details: list(details.values()),
    "loop": lambda details: [details[name] for name in details],
    "views": lambda details: [details[name] for name in details.keys()],  # noqa: SIM118 - the view is asked
    "equal": lambda details: details == {},
    "repr": repr,
    "copy": lambda details: {**details},
}


@pytest.mark.parametrize("walk", WALKS)
def test_details_of_sixty_thousand_names_are_read_once_for_a_walk_over_them(readings, walk: str) -> None:
    details = packed({f"{number:x}": number for number in range(60_000)}, LastRead())
    assert isinstance(details, PackedDetails)
    began = time.process_time()
    WALKS[walk](details)
    assert len(readings) <= 3  # for its length, its names, what follows; never once for each name
    assert time.process_time() - began < 30.0


def test_packed_details_are_what_was_packed_and_one_is_held_at_a_time(readings) -> None:
    details = {"a": [1, {"b": None}], "c": 2.5, "é": "\U0001f600"}
    shared = LastRead()
    kept, other = packed(details, shared), packed({"a": 1}, shared)
    assert kept == details == kept
    assert dict(kept) == details
    assert kept == packed(details, shared)
    assert kept != other
    before = len(readings)
    assert [kept["c"], other["a"], kept["c"]] == [2.5, 1, 2.5]
    assert len(readings) >= before + 2  # the one was let go for the other


def test_an_answer_of_too_many_values_is_refused_whatever_they_are() -> None:
    for text in (
        b'{"a":[' + b",".join([b"1"] * (HEADER_VALUES + 1)) + b"]}",
        b'{"a":' + b"[" * (HEADER_VALUES + 1) + b"]" * (HEADER_VALUES + 1) + b"}",
        b"{" + b",".join(b'"%d":{}' % number for number in range(HEADER_VALUES)) + b"}",
    ):
        with pytest.raises(ValueError, match="values"):
            decode(text)


def test_an_answer_full_of_brackets_and_commas_as_text_is_accepted() -> None:
    header = {"output": '[{,\\"' * 100_000}
    assert decode(orjson.dumps(header)) == header


class Told:
    """A sandbox that answers every call with the same header."""

    def __init__(self, header: dict) -> None:
        self.header = header
        self.guest: dict = {}
        self.spec = type("Spec", (), {"deadlines": type("Deadlines", (), {"margin": 1.0})})
        self.channel = self
        self.outstanding = self.unsent = 0

    def send(self, *_arguments: object, **_options: object) -> None: ...

    def abandon(self) -> None: ...

    def receive(self) -> Answer:
        return Answer(orjson.loads(orjson.dumps(self.header)), b"")


def ask(header: dict, times: int):
    world = ContainerWorld(Told({"status": "ok", "ns": 1, "text": "", "details": {}, **header}))
    call = Call(METHODS["file_read"].opcode, "file_read", {"path": "a"})
    return list(world.perform_all([call] * times))


@pytest.mark.parametrize("header", [{"text": "t" * 60_000}, {"details": {"listed": ["x" * 60_000]}}])
def test_what_is_kept_of_all_answers_is_bounded_and_what_is_left_out_is_said(monkeypatch, header) -> None:
    monkeypatch.setattr(worlds, "KEPT_BYTES", 1 << 20)
    outcomes = ask(header, 100)
    again = ask(header, 100)
    assert outcomes == again  # a replay leaves out the same
    kept = sum(len(outcome.text) * 4 + len(orjson.dumps(outcome.details)) for outcome in outcomes)
    assert (1 << 20) * 0.5 < kept < (1 << 20) + 100 * 1_000
    last = outcomes[-1]
    assert "left_out" in last.details or last.text.endswith("(60000 characters)")
    assert all(outcome.status == "ok" for outcome in outcomes)  # no trail breaks a sandbox with it


def test_details_of_more_names_than_any_method_has_are_a_broken_guest() -> None:
    with pytest.raises(ChannelError, match="details"):
        ask({"details": {str(number): 1 for number in range(300)}}, 1)


@pytest.fixture
def directory(tmp_path):
    trail = TrailInfo(sha256="0" * 64, bytes=1, version=2, steps=1)
    info = RunInfo(
        run_id="run", created_at=now_text(), trail=trail, policy=PolicyInfo(name="p", sha256="0" * 64)
    )
    with RunDirectory.create(tmp_path / "runs", info, trail=b"", policy=b"{}") as made:
        yield made


class Pushed:
    def __init__(self, *pushes: tuple[object, object]) -> None:
        self.pushes = pushes

    def bundles(self):
        for number, (repository, refs) in enumerate(self.pushes):
            body = b"%d" % number
            facts = {"repository": repository, "refs": refs, "sha256": sha256(body).hexdigest()}
            yield Answer({"more": True, "bundle": facts}, body)


def test_two_branches_of_a_repository_are_two_files(directory) -> None:
    kept: list[dict] = []
    keep_pushes(Pushed(("r", {"refs/heads/a": "1"}), ("r", {"refs/heads/b": "2"})), directory, kept)
    assert len({item["artifact"] for item in kept}) == 2
    assert [item["refs"] for item in kept] == [{"refs/heads/a": "1"}, {"refs/heads/b": "2"}]


@pytest.mark.parametrize(
    ("repository", "refs"),
    [
        ("r" * 9_000, {"a": "b"}),
        (3, {"a": "b"}),
        ("r", None),
        ("r", []),
        ("r", {}),
        ("r", {"a": "b", "c": "d"}),
        ("r", {"a": 3}),
        ("r", {"a": None}),
        ("r", {"a" * 5_000: "b"}),
        ("r", {"a": "b" * 5_000}),
        ("r", {"a": {"deep": ["x"] * 1_000}}),
    ],
)
def test_a_push_that_is_not_told_in_the_agreed_form_is_a_broken_guest(directory, repository, refs) -> None:
    kept: list[dict] = []
    with pytest.raises(GuestError):
        keep_pushes(Pushed(("r", {"refs/heads/a": "1"}), (repository, refs)), directory, kept)
    named = {f"artifacts/{item['artifact']}" for item in kept}  # what came before is kept, and told
    folder = directory.path / "artifacts"
    assert {f"artifacts/{path.relative_to(folder)}" for path in folder.rglob("*.bundle")} == named
    assert len(named) == 1

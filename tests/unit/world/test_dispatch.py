import pytest

from sandbox_runner.errors import SandboxError
from sandbox_runner.trail import METHODS, compile_worklog, load
from sandbox_runner.world import Call, FileWorld, MockWorld, Outcome, Status, World, adapt, call_for

BEGIN = {"op": "TRAIL_BEGIN", "agent": "tester", "trail_id": "dispatch", "ts": 1750000000}
END = {"op": "TRAIL_END", "status": 0}


def step_of(entry):
    return load(compile_worklog([BEGIN, entry, END])).steps[1]


class PlainWorld:
    """A stranger's world: fourteen methods and nothing else."""

    def __init__(self, answer="done"):
        self.answer = answer
        self.made = []

    def __getattr__(self, name):
        if name not in METHODS:
            raise AttributeError(name)
        return lambda *values: self._record(name, values)

    def _record(self, name, values):
        self.made.append((name, values))
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("entry", "arguments"),
    [
        ({"op": "GIT_COMMIT", "repo": 3, "message": "m"}, {"repo": "3", "message": "m"}),
        ({"op": "GIT_PUSH", "repo": 3}, {"repo": "3"}),
        ({"op": "FILE_READ", "path": "p"}, {"path": "p"}),
        ({"op": "FILE_WRITE", "path": "p", "content": "c"}, {"path": "p", "content": "c"}),
        ({"op": "FILE_EDIT", "path": "p", "old": "o", "new": "n"}, {"path": "p", "old": "o", "new": "n"}),
        ({"op": "TEST_RUN", "test_path": "t", "count": 2}, {"test_path": "t", "expected": 2}),
        ({"op": "SEARCH_CODE", "pattern": "p"}, {"pattern": "p"}),
        ({"op": "BOTTLE_DROP", "target": "t", "content": "c"}, {"target": "t", "content": "c"}),
        ({"op": "BOTTLE_READ", "source": "s"}, {"source": "s"}),
        ({"op": "LEVEL_UP", "level": 4}, {"agent": "ada", "level": 4}),
        ({"op": "SPELL_CAST", "spell": "s"}, {"spell": "s"}),
        ({"op": "ROOM_ENTER", "room": "r"}, {"room": "r"}),
        ({"op": "TRUST_UPDATE", "target": "t", "delta": -3}, {"target": "t", "delta": -3.0}),
        ({"op": "CAP_ISSUE", "action": "a", "holder": "h"}, {"action": "a", "holder": "h"}),
    ],
    ids=lambda value: value.get("op", ""),
)
def test_every_action_becomes_the_call_of_its_method(entry, arguments):
    call = call_for(step_of(entry), "ada")
    assert call == Call(METHODS[call.method].opcode, call.method, arguments, 1)
    assert call.opcode.name == entry["op"]
    assert list(call.arguments) == list(arguments)
    assert {name: type(value) for name, value in call.arguments.items()} == {
        name: type(value) for name, value in arguments.items()
    }


@pytest.mark.parametrize("op", ["NOP", "COMMENT", "LABEL", "BRANCH"])
def test_a_marker_calls_nothing(op):
    entry = {"op": op} | {
        "COMMENT": {"comment": "c"},
        "LABEL": {"label": "l"},
        "BRANCH": {"register": 1},
    }.get(op, {})
    with pytest.raises(KeyError):
        call_for(step_of(entry), "ada")


def test_a_world_of_ours_is_taken_as_it_is():
    world = MockWorld()
    assert adapt(world) is world


def test_an_object_that_lacks_methods_is_named_with_what_it_lacks():
    with pytest.raises(TypeError, match=r"int is no world: it lacks git_commit, .*cap_issue"):
        adapt(7)


READ = Call(METHODS["file_read"].opcode, "file_read", {"path": "p"}, 1)


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        ("done", Status.OK, "done"),
        ("", Status.OK, ""),
        ("0 ERRORS found", Status.OK, "0 ERRORS found"),
        ("file_write: ERROR", Status.OK, "file_write: ERROR"),
        ("file_read: ERROR gone", Status.FAILED, "file_read: ERROR gone"),
        ("FILE_READ: ERROR gone", Status.FAILED, "FILE_READ: ERROR gone"),
        (RuntimeError("boom"), Status.FAILED, "FILE_READ: ERROR boom"),
        (KeyError("x"), Status.FAILED, "FILE_READ: ERROR 'x'"),
        (OSError(), Status.FAILED, "FILE_READ: ERROR "),
        (None, Status.FAILED, "FILE_READ: ERROR file_read returned NoneType instead of text"),
        ("lone \ud800", Status.OK, "lone \\ud800"),
    ],
)  # fmt: skip
def test_the_beginning_of_a_plain_text_decides_whether_the_call_failed(answer, status, text):  # D40
    outcome = adapt(PlainWorld(answer)).perform(READ)
    assert (outcome.status, outcome.text) == (status, text)


def test_an_error_that_says_nothing_about_the_step_passes_through():
    with pytest.raises(SandboxError):
        adapt(PlainWorld(SandboxError("gone"))).perform(READ)


def test_the_named_methods_of_an_adapted_world_reach_the_plain_ones():
    plain = PlainWorld()
    assert adapt(plain).trust_update("ada", 5.0) == "done"
    assert plain.made == [("trust_update", ("ada", 5.0))]  # by position, whatever a stranger calls them


def test_a_method_overridden_in_a_world_of_ours_is_the_one_that_is_called(tmp_path):
    class Loud(FileWorld):
        def file_read(self, path):
            return super().file_read(path).upper()

    (tmp_path / "p").write_text("x")
    assert adapt(Loud(tmp_path)).perform(READ).text == "FILE_READ: P (1 CHARS)"
    world = MockWorld()
    world.file_read = lambda path: f"mine: {path}"
    assert adapt(world).perform(READ).text == "mine: p"


def test_a_world_needs_its_one_method_only():
    class One(World):
        def perform_all(self, calls, *, stop_on_failure=False):
            for call in filter(None, calls):
                yield Outcome(Status.OK, f"{call.method} {dict(call.arguments)}")

    assert One().level_up("ada", 3) == "level_up {'agent': 'ada', 'level': 3}"

"""What every world owes its callers, whatever it is made of."""

import itertools
import subprocess

import pytest

from sandbox_runner.errors import SandboxError
from sandbox_runner.trail import METHODS
from sandbox_runner.world import Call, Outcome, Status, World, WorldInterface, canonical_json

NEEDLE = "def total():\n    return 1\n"
TEST = "from src.cart import total\n\n\ndef test_total():\n    assert total() == 1\n"


def call_of(method, step=-1, **arguments):
    return Call(METHODS[method].opcode, method, arguments, step)


def rooms(count):
    """Harmless calls that succeed in every world."""
    return [call_of("room_enter", step, room=f"room-{step}") for step in range(count)]


@pytest.fixture
def workspace(tmp_path):
    directory = tmp_path / "workspace"
    (directory / "src").mkdir(parents=True)
    (directory / "tests").mkdir()
    (directory / "src" / "cart.py").write_text(NEEDLE)
    (directory / "tests" / "test_cart.py").write_text(TEST)
    (directory / "crlf.txt").write_bytes(b"one\r\ntwo\r\n")
    (directory / "braces").write_bytes(b"f(){\nif(a){\nif(b){\n}\n}\n}\n")
    (directory / "bin").write_bytes(b"\xff\x00")
    (directory / "out").symlink_to("/etc")
    (directory / "passwd").symlink_to("/etc/passwd")
    subprocess.run(["git", "init", "-q", directory], check=True)
    return directory


@pytest.fixture
def world(case, workspace):
    with case.start(workspace) as world:
        yield world


@pytest.fixture
def acting(acting_case, workspace):
    with acting_case.start(workspace) as world:
        yield world


# -- the stream -------------------------------------------------------------------------------------------


def test_it_is_a_world_and_has_the_fourteen_methods(world):
    assert isinstance(world, World)
    assert isinstance(world, WorldInterface)


def test_outcomes_come_one_per_call_and_in_order(world):
    calls = rooms(40)
    outcomes = list(world.perform_all(iter(calls)))
    assert len(outcomes) == len(calls)
    for call, outcome in zip(calls, outcomes, strict=True):
        assert isinstance(outcome, Outcome)
        assert outcome.text in {f"room_enter: {call.arguments['room']}", "room_enter: ok"}


def test_no_calls_give_no_outcomes(world):
    assert list(world.perform_all(())) == []
    assert list(world.perform_all((None, None))) == []


def test_barriers_anywhere_change_nothing(world):
    calls = rooms(6)
    barred = [None, *itertools.chain.from_iterable((call, None, None) for call in calls)]
    assert len(list(world.perform_all(barred))) == len(calls)


def test_at_a_barrier_everything_outstanding_is_delivered_before_the_next_pull(world):
    delivered = 0
    seen = []

    def stream():
        for number, call in enumerate(rooms(12), 1):
            yield call
            if number % 4 == 0:
                yield None
                seen.append((number, delivered))

    for _ in world.perform_all(stream()):
        delivered += 1
    assert seen == [(4, 4), (8, 8), (12, 12)]


def test_an_endless_stream_is_served_as_it_comes(world):
    pulled = 0

    def endless():
        nonlocal pulled
        while True:
            pulled += 1
            yield call_of("room_enter", pulled, room="r")

    outcomes = world.perform_all(endless())
    assert len(list(itertools.islice(outcomes, 50))) == 50
    outcomes.close()
    assert pulled < 1000


def test_a_stream_that_is_left_early_leaves_the_world_usable(world):
    outcomes = world.perform_all(iter(rooms(20)))
    next(outcomes)
    outcomes.close()
    (outcome,) = world.perform_all([call_of("room_enter", room="after")])
    assert outcome.text in {"room_enter: after", "room_enter: ok"}


def test_a_failure_does_not_end_the_stream_unless_asked(world, case):
    calls = [*rooms(2), case.failing, *rooms(2)]
    outcomes = list(world.perform_all(calls))
    assert [outcome.status.stops for outcome in outcomes] == [False, False, True, False, False]


def test_stop_on_failure_ends_the_stream_with_the_failure(world, case):
    calls = [*rooms(2), case.failing, *rooms(30)]
    outcomes = list(world.perform_all(iter(calls), stop_on_failure=True))
    assert [outcome.status.stops for outcome in outcomes] == [False, False, True]


def test_a_failed_call_names_itself_and_the_error(world, case):
    outcome = world.perform(case.failing)
    assert outcome.status in {Status.FAILED, Status.REFUSED}
    heads = (f"{case.failing.method}: ERROR ", f"{case.failing.opcode.name}: ERROR ")
    assert outcome.text.startswith(heads)


def test_every_outcome_can_be_written_as_canonical_json(world, case):
    for outcome in world.perform_all([*rooms(1), case.failing]):
        assert canonical_json(dict(outcome.details)).startswith(b"{")
        assert canonical_json(dict(outcome.meta)).startswith(b"{")
        assert outcome.text.encode()
        assert outcome.duration_ns >= 0


def test_an_error_of_the_stream_itself_passes_through_and_leaves_the_world_usable(world):
    def broken():
        yield from rooms(2)
        raise SandboxError("the stream broke")

    with pytest.raises(SandboxError, match="the stream broke"):
        list(world.perform_all(broken()))
    assert world.perform(*rooms(1)).status in {Status.OK, Status.SKIPPED}


# -- what the methods do ----------------------------------------------------------------------------------


def test_nothing_after_the_failure_has_an_effect(acting, acting_case):
    write = call_of("file_write", path="late.txt", content="x")
    list(acting.perform_all([acting_case.failing, write], stop_on_failure=True))
    assert acting.file_read("late.txt") == "file_read: ERROR file not found: late.txt"


def test_files_are_written_read_and_edited_with_the_texts_of_the_reference(acting):
    assert acting.file_write("a/b/hé.txt", "one ☃\n") == "file_write: a/b/hé.txt (6 chars)"
    assert acting.file_read("a/b/hé.txt") == "file_read: a/b/hé.txt (6 chars)"
    assert acting.file_edit("a/b/hé.txt", "one", "zwei") == "file_edit: a/b/hé.txt (1 replacement)"
    assert acting.file_read("a/b/hé.txt") == "file_read: a/b/hé.txt (7 chars)"
    assert acting.file_write("empty", "") == "file_write: empty (0 chars)"


def test_the_effects_of_a_stream_are_those_of_its_calls_in_order(acting):
    calls = [call_of("file_write", path="n", content="0 ")]
    for number in range(30):
        calls.append(call_of("file_edit", path="n", old=f"{number} ", new=f"{number} {number + 1} "))
        calls.append(call_of("file_edit", path="n", old=f"{number} {number + 1} ", new=f"{number + 1} "))
    outcomes = list(acting.perform_all(iter(calls)))
    assert {outcome.text for outcome in outcomes[1:]} == {"file_edit: n (1 replacement)"}
    assert acting.file_read("n") == "file_read: n (3 chars)"


@pytest.mark.parametrize(
    ("method", "arguments", "reason"),
    [
        ("file_read", {"path": "absent"}, "file not found: absent"),
        ("file_read", {"path": "src"}, "is a directory: src"),
        ("file_read", {"path": "bin"}, "not UTF-8 text: bin"),
        ("file_edit", {"path": "absent", "old": "a", "new": "b"}, "file not found: absent"),
        ("file_edit", {"path": "crlf.txt", "old": "", "new": "b"}, "empty old text"),
        ("file_edit", {"path": "crlf.txt", "old": "zero", "new": "b"}, "old text not found in crlf.txt"),
        ("file_edit", {"path": "crlf.txt", "old": "\r", "new": "b"}, "old text found 2 times in crlf.txt"),
        ("file_edit", {"path": "braces", "old": "}\n}\n", "new": "x"}, "old text found 2 times in braces"),
        (
            "file_edit",
            {"path": "crlf.txt", "old": "one\ntwo\n", "new": "x"},
            (
                "old text not found in crlf.txt: its line ends are LF, those of the file are CRLF; "
                "with CRLF in old and new it would be found"
            ),
        ),
        ("file_write", {"path": "src", "content": "x"}, "is a directory: src"),
    ],
)
def test_a_file_operation_that_cannot_be_done_says_why(acting, method, arguments, reason):
    assert getattr(acting, method)(**arguments) == f"{method}: ERROR {reason}"


OUTSIDE = ("../x", "/etc/passwd", "src/../../x", "out/passwd", "passwd", ".git/config", "a\0b")


@pytest.mark.parametrize("method", ["file_read", "file_write", "file_edit"])
def test_no_file_operation_leaves_the_workspace_or_enters_git(acting, method):
    arguments = {"file_write": {"content": "x"}, "file_edit": {"old": "root", "new": "x"}}.get(method, {})
    for path in OUTSIDE:
        text = getattr(acting, method)(path, **arguments)
        assert text.startswith(f"{method}: ERROR "), path


def test_an_edit_keeps_every_other_byte(acting):
    acting.file_edit("crlf.txt", "two", "three")
    assert acting.file_read("crlf.txt") == "file_read: crlf.txt (12 chars)"
    assert acting.file_edit("crlf.txt", "one\r\nthree\r\n", "") == "file_edit: crlf.txt (1 replacement)"


def test_a_write_that_gives_a_file_other_line_ends_says_so(acting, acting_case):
    texts = ("one\r\n", "one\n", "two\n", "one\rtwo\n", "no end", "one\n")
    calls = [call_of("file_write", path="crlf.txt", content=text) for text in texts]
    calls += [call_of("file_edit", path="crlf.txt", old="one", new="one\r")]
    seen = [outcome.details.get("line_ends") for outcome in acting.perform_all(calls)]
    assert seen == [
        None,
        {"before": "CRLF", "after": "LF"},
        None,
        {"before": "LF", "after": "mixed"},
        None,
        None,
        {"before": "LF", "after": "CRLF"},
    ] or (acting_case.name == "adapted plain object" and not any(seen))


def test_a_search_counts_the_files_that_match(acting):
    assert acting.search_code("def total").startswith("search_code: 'def total' → 1 matches")
    assert acting.search_code("absent-needle").startswith("search_code: 'absent-needle' → 0 matches")
    assert acting.search_code("--version").startswith("search_code: '--version' → 0 matches")
    assert acting.search_code("[").startswith("search_code: ERROR invalid pattern: ")


def test_a_commit_is_made_once_and_then_there_is_nothing_to_commit(acting):
    assert acting.git_commit("0", "first: it works") == "git_commit: first: it works"
    assert acting.git_commit("0", "again") == "git_commit: ERROR nothing to commit"
    assert acting.git_commit("0", "") == "git_commit: ERROR empty message"
    assert acting.git_commit("99", "m").startswith("git_commit: ERROR ")


def test_what_differs_from_before_is_committed_as_well_in_a_world_that_works_in_place(acting, workspace):
    """A named difference: a sandbox takes what the run changed, and has the tree that it began with."""
    (workspace / "src/cart.py").write_text("x = 1\n")
    acting.file_write("note.txt", "n\n")
    assert acting.git_commit("0", "both") == "git_commit: both"
    status = ["git", "-C", str(workspace), "status", "--porcelain"]
    assert subprocess.run(status, check=True, capture_output=True, text=True).stdout == ""


def test_a_test_run_tells_passes_from_failures_and_counts(acting):
    path = "tests/test_cart.py"
    assert acting.test_run(path, 1) == f"test_run: {path} (exit=0)"
    assert acting.test_run(path, 7) == f"test_run: ERROR {path} (exit=0, passed=1, failed=0, expected=7)"
    acting.file_edit("src/cart.py", "return 1", "return 2")
    assert acting.test_run(path, 0) == f"test_run: ERROR {path} (exit=1, passed=0, failed=1, expected=0)"


FLEET = [
    ("bottle_drop", {"target": "oracle", "content": "hello"}, "bottle_drop: →oracle (5 chars)"),
    ("bottle_read", {"source": "oracle"}, "bottle_read: ←oracle"),
    ("level_up", {"agent": "executor", "level": 2}, "level_up: executor → level 2"),
    ("spell_cast", {"spell": "look"}, "spell_cast: look"),
    ("room_enter", {"room": "dojo"}, "room_enter: dojo"),
    ("trust_update", {"target": "scout", "delta": -3.0}, "trust_update: scout -3.0"),
    ("cap_issue", {"action": "deploy", "holder": "scout"}, "cap_issue: deploy →scout"),
]


@pytest.mark.parametrize(("method", "arguments", "text"), FLEET, ids=[method for method, _, _ in FLEET])
def test_fleet_calls_have_the_texts_of_the_reference(acting, acting_case, method, arguments, text):
    outcome = acting.perform(call_of(method, **arguments))
    if method in acting_case.differences:
        assert outcome.text.startswith(f"{method}: "), acting_case.differences[method]
    else:
        assert outcome.text == text
        assert outcome.status in {Status.OK, Status.SKIPPED}

from hashlib import sha256
from itertools import pairwise

import pytest

from sandbox_runner.errors import TrailError
from sandbox_runner.replay import TrailExecutor
from sandbox_runner.replay.meta_trail import MOST_STEPS
from sandbox_runner.trail import DEFAULT_LIMITS, TrailOpcodes, compile_worklog, load
from sandbox_runner.world import MockWorld, Outcome, Status

BEGIN = {"op": "TRAIL_BEGIN", "agent": "tester", "trail_id": "meta", "ts": 1750000000}
END = {"op": "TRAIL_END", "status": 0}
READ = {"op": "FILE_READ", "path": "a"}
HEAD = "c" * 64


def trail_of(*body, **options):
    return compile_worklog([BEGIN, *body, END], **options)


def replay(trail, world=None, **options):
    return TrailExecutor(world or MockWorld(), trail, **options).execute()


def texts_of(trail):
    return [
        step.arguments.get("comment", step.arguments.get("label", step.opcode.name))
        for step in load(trail).steps
    ]


ALL_KINDS = trail_of(
    {"op": "COMMENT", "comment": "hello"},
    {"op": "LABEL", "label": "here"},
    {"op": "NOP"},
    {"op": "BRANCH", "register": 2},
    {"op": "FILE_READ", "path": "a"},
)


def test_a_bound_meta_trail_names_its_source_each_outcome_and_the_head_of_the_log():
    result = replay(ALL_KINDS, chain_head=lambda: HEAD)
    events = result.events
    assert texts_of(result.execution_trail) == [
        "TRAIL_BEGIN",
        f"exec: source sha256:{sha256(ALL_KINDS).hexdigest()}",
        "exec: trail_begin",
        "hello",
        "here",
        "NOP",
        f"exec:BRANCH → branch: conditional jump [ok {events[4].outcome_digest}]",
        f"exec:FILE_READ → file_read: ok [ok {events[5].outcome_digest}]",
        "exec: trail_end",
        f"exec: events sha256:{events[-1].chain}",
        f"exec: chain sha256:{HEAD}",
        "TRAIL_END",
    ]
    assert load(result.execution_trail).version == 1


def test_a_label_stays_a_label():  # D48
    steps = load(replay(ALL_KINDS).execution_trail).steps
    assert [step.arguments["label"] for step in steps if step.opcode is TrailOpcodes.LABEL] == ["here"]


def test_a_bound_meta_trail_has_the_time_of_its_source_whatever_the_clock_says():  # D49
    trails = {replay(ALL_KINDS, clock=lambda now=now: now).execution_trail for now in (1000.0, 1001.0, 2e9)}
    (trail,) = trails
    assert load(trail).timestamp == 1750000000


def test_reference_style_has_the_time_of_the_clock():
    result = replay(ALL_KINDS, clock=lambda: 1000.9, meta_style="reference")
    assert load(result.execution_trail).timestamp == 1000


def test_different_trails_with_equal_outcomes_have_different_meta_trails():  # D53
    one = replay(trail_of({"op": "FILE_READ", "path": "a"}))
    other = replay(trail_of({"op": "FILE_READ", "path": "b"}))
    assert [event.result for event in one.events] == [event.result for event in other.events]
    assert one.execution_trail != other.execution_trail


def test_equal_texts_with_different_details_have_different_meta_trails():
    class Detailed(MockWorld):
        def __init__(self, digest):
            super().__init__()
            self.digest = digest

        def perform_all(self, calls, *, stop_on_failure=False):
            for _ in filter(None, calls):
                yield Outcome(Status.OK, "file_read: a (4 chars)", {"sha256": self.digest})

    trail = trail_of({"op": "FILE_READ", "path": "a"})
    assert replay(trail, Detailed("1")).execution_trail != replay(trail, Detailed("2")).execution_trail


@pytest.mark.parametrize("char", ["x", "é", "☃", "\U0001f680"])
def test_a_long_result_is_cut_at_a_character_to_a_string_of_version_1(char):  # D51
    world = MockWorld(call_results={"file_read": char * 300})
    trail = replay(trail_of({"op": "FILE_READ", "path": "a"}), world).execution_trail
    comment = texts_of(trail)[3]
    assert load(trail).version == 1
    assert 255 - len(char.encode()) < len(comment.encode()) <= 255
    assert comment.startswith(f"exec:FILE_READ → {char}")


@pytest.mark.parametrize("op", ["COMMENT", "LABEL"])
def test_a_comment_or_label_beyond_version_1_is_cut_and_names_its_digest(op):
    text = "☃" * 200
    trail = trail_of({"op": op, op.lower(): text})
    assert load(trail).version == 2
    meta_trail = replay(trail).execution_trail
    assert load(meta_trail).version == 1
    kept = texts_of(meta_trail)[3]
    assert kept.startswith("☃☃☃")
    assert kept.endswith(f"… [sha256:{sha256(text.encode()).hexdigest()}]")
    assert len(kept.encode()) <= 255


def test_more_steps_than_version_1_can_hold_give_a_meta_trail_of_version_2():  # D54
    trail = trail_of(*[{"op": "NOP"}] * 65_600)
    result = replay(trail)
    assert result.success
    assert load(result.execution_trail).version == 2
    assert len(load(result.execution_trail).steps) == 65_600 + 2 + 4


def test_a_trail_too_long_for_a_meta_trail_is_refused_before_anything_runs(monkeypatch):  # D54
    monkeypatch.setattr("sandbox_runner.replay.executor.MOST_STEPS", 9)
    assert replay(trail_of(READ, *[{"op": "NOP"}] * 6)).success
    world = MockWorld()
    with pytest.raises(TrailError, match="the trail has 10 steps"):
        replay(trail_of(READ, *[{"op": "NOP"}] * 7), world)
    assert world.calls == []


def test_the_longest_trail_has_a_meta_trail_at_the_limit():  # D54
    meta_trail = load(replay(trail_of(READ, *[{"op": "NOP"}] * 7), chain_head=lambda: HEAD).execution_trail)
    assert len(meta_trail.steps) - 10 == DEFAULT_LIMITS.steps - MOST_STEPS


@pytest.mark.parametrize(
    ("fail_on", "status"),
    [([], 0), (["file_read"], 2), (["file_read", "file_write"], 1)],
    ids=["nothing", "some", "all"],
)
def test_the_end_of_a_meta_trail_tells_how_the_actions_went(fail_on, status):  # D56
    trail = trail_of({"op": "FILE_READ", "path": "a"}, {"op": "FILE_WRITE", "path": "a", "content": "b"})
    result = replay(trail, MockWorld(fail_on=fail_on))
    assert load(result.execution_trail).status == status


def test_three_generations_of_meta_trails_each_name_the_one_before():
    links = [ALL_KINDS]
    for _ in range(3):
        world = MockWorld()
        links.append(replay(links[-1], world).execution_trail)
        if len(links) > 2:
            assert world.calls == []
    for source, link in pairwise(links):
        assert texts_of(link)[1] == f"exec: source sha256:{sha256(source).hexdigest()}"


def test_a_refused_comment_shows_as_refused_and_not_as_said():
    refusals = {1: Outcome(Status.REFUSED, "COMMENT: ERROR refused: opcodes")}
    trail = replay(trail_of({"op": "COMMENT", "comment": "hello"}), refusals=refusals).execution_trail
    assert texts_of(trail)[3].startswith("exec:COMMENT → COMMENT: ERROR refused: opcodes [refused ")

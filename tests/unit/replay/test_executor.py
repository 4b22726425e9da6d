import itertools
import json
from base64 import b64decode
from hashlib import sha256

import pytest

from sandbox_runner.errors import InterruptedRunError, SandboxError, StoreError, TrailError, VerificationError
from sandbox_runner.replay import RunState, TrailExecutor, TrailResult
from sandbox_runner.trail import compile_worklog, load
from sandbox_runner.world import MockWorld, Outcome, Status, World

BEGIN = {"op": "TRAIL_BEGIN", "agent": "tester", "trail_id": "executor", "ts": 1750000000}
READ = {"op": "FILE_READ", "path": "a"}
WRITE = {"op": "FILE_WRITE", "path": "b", "content": "2"}


def trail_of(*body, status=0):
    return compile_worklog([BEGIN, *body, {"op": "TRAIL_END", "status": status}])


TWO_ACTIONS = trail_of(READ, WRITE)


class Raising(MockWorld):
    """A mock world whose ``file_read`` raises or returns whatever it is given."""

    def __init__(self, error=None, answer="file_read: ok"):
        super().__init__()
        self.error = error
        self.answer = answer

    def file_read(self, path):
        super().file_read(path)
        if self.error is not None:
            raise self.error
        return self.answer


class Delivering(World):
    """Yields a fixed list of outcomes, whatever it is given."""

    def __init__(self, outcomes):
        self.outcomes = outcomes

    def perform_all(self, calls, *, stop_on_failure=False):
        for outcome, _ in itertools.zip_longest(self.outcomes, calls):
            if outcome is not None:
                yield outcome


@pytest.mark.parametrize("answer", [None, 7, b"bytes"])
def test_a_method_that_returns_no_text_is_a_failed_step_and_the_result_is_kept(answer):  # D43
    world = Raising(answer=answer)
    result = TrailExecutor(world, TWO_ACTIONS).execute()
    assert result.events[1].status is Status.FAILED
    assert (
        result.events[1].result
        == f"FILE_READ: ERROR file_read returned {type(answer).__name__} instead of text"
    )
    assert result.status_word == "PARTIAL"
    world.assert_call_count("file_write", 1)


def test_an_exception_of_a_plain_world_is_a_failed_step():
    result = TrailExecutor(Raising(KeyError("nope")), TWO_ACTIONS).execute()
    assert result.events[1].result == "FILE_READ: ERROR 'nope'"
    assert result.events[2].status is Status.OK


@pytest.mark.parametrize("error", [SandboxError("gone"), StoreError("full"), InterruptedRunError("stop")])
def test_an_error_that_ends_the_run_passes_through_and_leaves_a_result(error):
    world = Raising(error)
    executor = TrailExecutor(world, TWO_ACTIONS)
    with pytest.raises(type(error)):
        executor.execute()
    result = executor.result()
    assert [event.opcode_name for event in result.events] == ["TRAIL_BEGIN"]
    assert (result.state, result.success) == (RunState.BROKEN, False)
    assert load(result.execution_trail).steps
    world.assert_call_count("file_write", 0)


def test_an_interrupt_of_the_keyboard_passes_through_and_leaves_a_result():
    executor = TrailExecutor(Raising(KeyboardInterrupt()), TWO_ACTIONS)
    with pytest.raises(KeyboardInterrupt):
        executor.execute()
    assert executor.result().state is RunState.BROKEN


def test_an_interrupt_after_the_effect_never_gives_an_outcome_to_the_wrong_step():
    def interrupted():
        if len(world.calls) == 1:
            raise KeyboardInterrupt
        return 0.0

    world = MockWorld()
    executor = TrailExecutor(world, TWO_ACTIONS, clock=interrupted)
    with pytest.raises(KeyboardInterrupt):
        executor.execute()
    with pytest.raises(SandboxError, match="broke at step 2"):
        executor.execute()
    assert [event.step_index for event in executor.get_events()] == [0]
    world.assert_call_count(1)


def test_a_broken_replay_can_be_restarted_explicitly():
    world = Raising(SandboxError("gone"))
    executor = TrailExecutor(world, TWO_ACTIONS)
    with pytest.raises(SandboxError):
        executor.execute()
    world.error = None
    assert executor.execute(resume_from=0).success


def test_a_world_that_raises_something_of_its_own_from_its_stream_is_broken():
    class Buggy(World):
        def perform_all(self, calls, *, stop_on_failure=False):
            raise ZeroDivisionError("oops")
            yield

    with pytest.raises(SandboxError, match=r"broke at step 2 \(FILE_READ\): ZeroDivisionError: oops"):
        TrailExecutor(Buggy(), TWO_ACTIONS).execute()


OK = Outcome(Status.OK, "ok")


@pytest.mark.parametrize("count", [0, 1])
def test_a_world_that_delivers_too_few_outcomes_is_broken(count):
    with pytest.raises(SandboxError, match=f"no outcome for step {count + 2}"):
        TrailExecutor(Delivering([OK] * count), TWO_ACTIONS).execute()


def test_a_world_that_delivers_too_many_outcomes_is_broken():
    executor = TrailExecutor(Delivering([OK] * 3), TWO_ACTIONS)
    with pytest.raises(SandboxError, match="more outcomes than it was given calls"):
        executor.execute()
    assert executor.result().state is RunState.BROKEN


@pytest.mark.parametrize("details", [{"x": object()}, {"x": float("nan")}, {"x": 2**60}, {"x": "\ud800"}])
def test_details_that_are_no_json_break_the_world_and_not_the_result(details):
    executor = TrailExecutor(Delivering([Outcome(Status.OK, "ok", details)] * 2), TWO_ACTIONS)
    with pytest.raises(SandboxError, match="step 2 is no JSON"):
        executor.execute()
    assert executor.result().state is RunState.BROKEN


def test_an_object_without_the_methods_is_no_world():
    with pytest.raises(TypeError, match="it lacks git_commit"):
        TrailExecutor(object(), TWO_ACTIONS)


def test_an_unknown_style_of_meta_trail_is_refused():
    with pytest.raises(ValueError, match="bound, reference"):
        TrailExecutor(MockWorld(), TWO_ACTIONS, meta_style="pretty")


@pytest.mark.parametrize("data", [b"", b"\x9f", TWO_ACTIONS[:-1], TWO_ACTIONS + b"\0"])
def test_bytes_that_are_no_trail_are_refused_before_anything_runs(data):  # D07, D08, D10
    world = MockWorld()
    with pytest.raises(TrailError):
        TrailExecutor(world, data)
    assert world.calls == []


def test_the_callback_sees_every_event_in_order_once_it_is_recorded():
    seen = []
    executor = TrailExecutor(
        MockWorld(), TWO_ACTIONS, on_event=lambda event: seen.append((event, executor.get_events()[-1]))
    )
    result = executor.execute()
    assert [event for event, _ in seen] == list(result.events)
    assert all(event is recorded for event, recorded in seen)


def test_a_callback_that_raises_loses_nothing_and_repeats_nothing():
    def fail_once(event):
        if event.step_index == 1 and not failed:
            failed.append(event)
            raise OSError("screen on fire")

    failed, world = [], MockWorld()
    executor = TrailExecutor(world, TWO_ACTIONS, on_event=fail_once)
    with pytest.raises(OSError, match="fire"):
        executor.execute()
    result = executor.execute()
    assert result.success
    assert [event.step_index for event in result.events] == [0, 1, 2, 3]
    world.assert_call_count(2)


def test_a_refused_step_makes_no_call_and_counts_as_refused():
    refusal = Outcome(Status.REFUSED, "file_read: ERROR refused: paths")
    world = MockWorld()
    result = TrailExecutor(world, TWO_ACTIONS, refusals={1: refusal}).execute()
    assert [call["method"] for call in world.calls] == ["file_write"]
    assert (result.failed_steps, result.refused_steps, result.success) == (1, 1, False)
    assert result.events[1].result == refusal.text
    assert "[x] #001" in result.summary()


def test_a_skipped_step_is_completed_and_counted_apart():
    result = TrailExecutor(Delivering([Outcome(Status.SKIPPED, "file_read: ok"), OK]), TWO_ACTIONS).execute()
    assert (result.success, result.skipped_steps, result.failed_steps) == (True, 1, 0)
    assert "[-] #001" in result.summary()


@pytest.mark.parametrize(("recorded", "fail_on"), [(0, []), (1, []), (2, ["file_read"])])
def test_the_end_of_a_trail_shows_how_its_run_went_beside_how_the_replay_did(recorded, fail_on):  # D26
    trail = trail_of(READ, WRITE, status=recorded)
    result = TrailExecutor(MockWorld(fail_on=fail_on), trail).execute()
    replayed = 2 if fail_on else 0
    assert result.recorded_status == recorded
    assert result.events[-1].details == {"recorded_status": recorded, "replayed_status": replayed}


def test_verify_holds_for_a_whole_replay_alone():  # D59
    executor = TrailExecutor(MockWorld(), TWO_ACTIONS)
    assert executor.verify() is False
    executor.step()
    assert executor.verify() is False
    executor.execute()
    assert executor.verify() is True


def test_verify_is_false_for_a_trail_that_never_ran():  # D59
    executor = TrailExecutor(MockWorld(), trail_of())
    assert executor.verify() is False
    executor.execute()
    assert executor.verify() is True


def test_verify_is_false_where_the_first_steps_were_left_out():
    executor = TrailExecutor(MockWorld(), TWO_ACTIONS)
    executor.execute(resume_from=2)
    assert executor.verify() is False


def test_going_back_performs_the_later_steps_again_and_keeps_the_earlier_events():
    world = MockWorld()
    executor = TrailExecutor(world, TWO_ACTIONS)
    first = executor.execute()
    again = executor.execute(resume_from=2)
    assert again.events[:2] == first.events[:2]
    assert [call["method"] for call in world.calls] == ["file_read", "file_write", "file_write"]
    assert executor.verify()


def test_a_fail_fast_replay_can_be_told_to_go_on_behind_the_failure():
    world = MockWorld(fail_on=["file_read"])
    executor = TrailExecutor(world, TWO_ACTIONS, fail_fast=True)
    assert [event.step_index for event in executor.execute().events] == [0, 1]
    assert [event.step_index for event in executor.execute(resume_from=2).events] == [0, 1, 2, 3]
    world.assert_call_count("file_read", 1)


def test_the_program_and_the_string_table_can_be_read():
    executor = TrailExecutor(MockWorld(), TWO_ACTIONS)
    assert [step.opcode for step in executor.program.steps] == [0xA0, 0x92, 0x93, 0xA1]
    assert {"a", "b", "2"} <= set(executor.string_table.values())


def test_a_loaded_trail_is_taken_as_it_is():
    trail = load(TWO_ACTIONS)
    assert TrailExecutor(MockWorld(), trail).trail is trail


def test_the_json_of_a_result_holds_the_meta_trail_and_reads_back():  # D60
    result = TrailExecutor(MockWorld(fail_on=["file_read"]), TWO_ACTIONS).execute()
    form = json.loads(result.to_json())
    assert b64decode(form["execution_trail"]) == result.execution_trail
    assert form["execution_trail_size"] == len(result.execution_trail)
    assert sha256(result.execution_trail).hexdigest() == form["execution_fingerprint"]
    assert TrailResult.from_dict(form) == result


def test_a_result_with_an_event_taken_out_is_not_loaded():  # D52
    form = TrailExecutor(MockWorld(), TWO_ACTIONS).execute().to_dict()
    del form["events"][1]
    with pytest.raises(VerificationError, match="step 3"):
        TrailResult.from_dict(form)


def test_dry_runs_of_ambiguous_texts_differ_in_their_operands():  # D61
    texts, operands = set(), []
    for target, content in (("a, b", "c"), ("a", "b, c")):
        trail = trail_of({"op": "BOTTLE_DROP", "target": target, "content": content})
        event = TrailExecutor(MockWorld(), trail, dry_run=True).execute().events[1]
        texts.add(event.result)
        operands.append(event.operands)
    assert texts == {"DRY-RUN: BOTTLE_DROP(a, b, c)"}
    assert operands == [{"target": "a, b", "content": "c"}, {"target": "a", "content": "b, c"}]


def test_a_result_cannot_forge_a_line_of_the_summary():
    world = MockWorld(call_results={"file_read": "ok\n  [+] #999 FORGED \x1b[31m"})
    summary = TrailExecutor(world, TWO_ACTIONS).execute().summary()
    assert "\x1b" not in summary
    assert not any(line.startswith("  [+] #999") for line in summary.splitlines())


def test_a_result_made_by_hand_has_the_words_of_the_reference():
    words = [
        TrailResult(
            success=success, total_steps=2, completed_steps=completed, failed_steps=2 - completed
        ).status_word
        for success, completed in ((True, 2), (False, 1), (False, 0))
    ]
    assert words == ["SUCCESS", "PARTIAL", "FAILED"]

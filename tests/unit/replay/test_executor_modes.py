"""The recorded scenarios of the reference's executor; where one carries a defect, what holds instead."""

import dataclasses
import json
from hashlib import sha256
from pathlib import Path

import pytest

from sandbox_runner.errors import TrailError
from sandbox_runner.replay import RunState, TrailExecutor
from sandbox_runner.trail import TrailOpcodes, load
from sandbox_runner.world import MockWorld

FILE = Path(__file__).parents[2] / "data" / "vectors" / "executor_modes.json"
VECTORS = {vector["id"]: vector for vector in json.loads(FILE.read_text())["vectors"]}
CLOCK = 1700000000.0
AGENT_BYTE = 0x5D  # the reference's salted agent byte of its meta-trails, under the seed of the vectors

EXACT = [name for name, vector in VECTORS.items() if not vector["known_defects"]]


class ScriptedWorld(MockWorld):
    """A mock world whose ``file_read`` may raise, or pause the executor that drives it."""

    def __init__(self, script):
        super().__init__(call_results=script.get("call_results"), fail_on=script.get("fail_on", ()))
        self.raises = script.get("raises", {})
        self.pause_in = script.get("pause_in")
        self.executor = None

    def file_read(self, path):
        if "file_read" in self.raises:
            kind, text = self.raises["file_read"]
            raise {"KeyError": KeyError, "OSError": OSError}[kind](text)
        if self.pause_in == "file_read":
            self.executor.pause()
        return super().file_read(path)


def executor_of(vector, **options):
    world = ScriptedWorld(vector["world"])
    executor = TrailExecutor(
        world,
        bytes.fromhex(vector["bytecode_hex"]),
        dry_run=vector["dry_run"],
        fail_fast=vector["fail_fast"],
        **{"principal": "executor", "clock": lambda: CLOCK, "meta_style": "reference", **options},
    )
    world.executor = executor
    return executor, world


def event_form(event):
    operands = {name: value for name, value in event.operands.items() if name != "agent"}
    return {
        "step_index": event.step_index,
        "opcode": event.opcode,
        "name": event.opcode_name,
        "operands": operands,
        "result": event.result,
        "proof": event.proof,
    }


def meta_trail_of(result):
    """The meta-trail with the reference's agent byte."""
    return result.execution_trail[:1] + bytes([AGENT_BYTE]) + result.execution_trail[2:]


def result_form(result):
    events = tuple(dataclasses.replace(event, duration_ms=0.0) for event in result.events)
    summary = dataclasses.replace(result, duration_ms=0.0, events=events).summary()
    meta_trail = meta_trail_of(result)
    return {
        "result": {
            "success": result.success,
            "total_steps": result.total_steps,
            "completed_steps": result.completed_steps,
            "failed_steps": result.failed_steps,
            "status_word": result.status_word,
            "execution_fingerprint": sha256(meta_trail).hexdigest(),
        },
        "events": [event_form(event) for event in result.events],
        "meta_trail_len": len(meta_trail),
        "meta_status": load(meta_trail).status,
        "meta_steps": [meta_step(step) for step in load(meta_trail).steps],
    } | {
        "summary_lines": summary.replace(
            result.execution_fingerprint[:32], sha256(meta_trail).hexdigest()[:32]
        ).split("\n")
    }


def meta_step(step):
    match step.opcode:
        case TrailOpcodes.TRAIL_BEGIN:
            return ["TRAIL_BEGIN", step.arguments["agent_id"]]
        case TrailOpcodes.TRAIL_END:
            return ["TRAIL_END", step.arguments["status"]]
        case _:
            return [step.opcode.name, *step.arguments.values()]


def play(executor, do):
    name, *arguments = do
    answer = getattr(executor, name)(*arguments)
    match name:
        case "execute":
            return result_form(answer)
        case "step":
            return {"event": answer and event_form(answer)}
        case "get_events":
            return {"value": [event_form(event) for event in answer]}
        case _:
            return {"value": answer}


@pytest.mark.parametrize("name", EXACT)
def test_a_scenario_without_a_defect_is_reproduced_to_the_byte(name):
    vector = VECTORS[name]
    executor, world = executor_of(vector)
    for entry in vector["log"]:
        played = play(executor, entry["do"])
        expected = {key: value for key, value in entry.items() if key not in {"do", "state"}}
        assert played == expected, entry["do"]
        assert executor.get_state() == entry["state"], entry["do"]
    assert world.calls == vector["world_calls"]


def test_single_steps_finish_with_the_last_step_and_offer_a_result():  # D47
    vector = VECTORS["step_through"]
    executor, world = executor_of(vector)
    events = [executor.step() for _ in range(7)]
    recorded = [entry["event"] for entry in vector["log"] if entry.get("event")]
    assert [event_form(event) for event in events] == recorded
    assert executor.get_state()["finished"]
    assert executor.step() is None
    whole, _ = executor_of(VECTORS["plain"])
    assert executor.result().execution_trail == whole.execute().execution_trail
    assert world.calls == vector["world_calls"]


def test_single_steps_heed_fail_fast():  # D47
    executor, world = executor_of(VECTORS["fail_fast_step"])
    assert executor.step().opcode_name == "TRAIL_BEGIN"
    assert executor.step().failed
    assert executor.get_state()["finished"]
    assert executor.step() is None
    assert [call["method"] for call in world.calls] == ["file_read"]


def test_executing_while_paused_is_neither_success_nor_finished():  # D44
    executor, world = executor_of(VECTORS["paused_execute"])
    executor.pause()
    result = executor.execute()
    assert (result.success, result.state, result.status_word) == (False, RunState.PAUSED, "PAUSED")
    assert "TRAIL EXECUTION PAUSED" in result.summary()
    assert not executor.get_state()["finished"]
    executor.resume()
    assert executor.step().step_index == 0
    assert executor.execute().success
    assert world.calls == VECTORS["plain"]["log"][0].get("world_calls", VECTORS["plain"]["world_calls"])


def test_a_pause_from_within_a_world_holds_after_that_step():  # D44
    vector = VECTORS["world_pauses"]
    executor, world = executor_of(vector)
    held = executor.execute()
    assert [event.step_index for event in held.events] == [0, 1]
    assert (held.success, held.state, executor.get_state()["finished"]) == (False, RunState.PAUSED, False)
    executor.resume()
    result = executor.execute(resume_from=2)
    assert result_form(result) == {k: v for k, v in vector["log"][2].items() if k not in {"do", "state"}}
    assert world.calls == vector["world_calls"]


def test_executing_after_single_steps_repeats_no_effect():  # D45
    executor, world = executor_of(VECTORS["step_then_execute"])
    executor.step()
    executor.step()
    assert executor.execute().total_steps == 7
    world.assert_call_count("file_read", 1)
    world.assert_call_count(3)


def test_executing_a_finished_replay_again_changes_nothing():  # D45
    executor, world = executor_of(VECTORS["plain"])
    first = executor.execute()
    again = executor.execute()
    assert again.execution_trail == first.execution_trail
    world.assert_call_count(3)


@pytest.mark.parametrize("index", [7, 8, -1, -99, 99])
def test_resuming_from_a_step_that_is_not_there_is_refused(index):  # D46
    executor, world = executor_of(VECTORS["resume_from_7"])
    with pytest.raises(TrailError, match="the trail has 0 to 6"):
        executor.execute(resume_from=index)
    assert executor.get_state() == VECTORS["fresh_state"]["log"][0]["state"]
    assert world.calls == []


def test_resuming_from_the_end_of_a_finished_replay_changes_nothing():
    executor, world = executor_of(VECTORS["plain"])
    executor.execute()
    assert executor.execute(resume_from=7).total_steps == 7
    world.assert_call_count(3)


def test_a_replay_in_which_no_action_succeeded_has_failed():  # D56, D59
    vector = VECTORS["fail_all"]
    executor, _ = executor_of(vector, meta_style="bound")
    result = executor.execute()
    assert (result.status_word, result.success) == ("FAILED", False)
    assert "TRAIL EXECUTION FAILED" in result.summary()
    assert load(result.execution_trail).status == 1
    assert executor.verify() is False
    assert [event_form(event) for event in result.events] == vector["log"][0]["events"]


def test_reference_style_keeps_the_reference_status_of_a_meta_trail():
    vector = VECTORS["fail_all"]
    executor, _ = executor_of(vector)
    assert (
        sha256(meta_trail_of(executor.execute())).hexdigest()
        == (vector["log"][0]["result"]["execution_fingerprint"])
    )


@pytest.mark.parametrize("name", ["result_mentions_errors", "result_text_error_lower"])
def test_a_text_that_mentions_an_error_is_a_success_everywhere(name):  # D40, D42
    executor, _ = executor_of(VECTORS[name])
    result = executor.execute()
    assert (result.success, result.failed_steps, result.status_word) == (True, 0, "SUCCESS")
    assert "[x]" not in result.summary()


def test_a_dry_run_cannot_fail():  # D40
    executor, world = executor_of(VECTORS["dry_run_fail_fast_error_word"])
    result = executor.execute()
    assert result.success
    assert result.events[1].result == "DRY-RUN: FILE_READ(ERROR.txt)"
    assert result.events[-1].opcode_name == "TRAIL_END"
    assert world.calls == []


def test_replaying_the_meta_trail_of_a_failed_run_succeeds():  # D55
    executor, world = executor_of(VECTORS["replay_failed_meta_trail"])
    result = executor.execute()
    assert result.success
    assert result.recorded_status == 2
    assert world.calls == []


def test_an_empty_input_is_no_trail():  # D10
    with pytest.raises(TrailError):
        executor_of(VECTORS["empty_bytecode"])


def test_long_results_that_differ_late_give_different_meta_trails():  # D50
    script = {"world": {"call_results": {"file_read": "L" * 200}}}
    one, _ = executor_of(VECTORS["plain"] | script, meta_style="bound")
    script = {"world": {"call_results": {"file_read": "L" * 199 + "M"}}}
    other, _ = executor_of(VECTORS["plain"] | script, meta_style="bound")
    assert one.execute().execution_fingerprint != other.execute().execution_fingerprint


@pytest.mark.parametrize("style", ["bound", "reference"])
def test_long_results_beyond_ascii_leave_a_readable_meta_trail(style):  # D51
    executor, _ = executor_of(VECTORS["result_long"], meta_style=style)
    trail = load(executor.execute().execution_trail)
    texts = [text for step in trail.steps for text in step.arguments.values() if isinstance(text, str)]
    assert trail.version == 1
    assert max(len(text.encode()) for text in texts) <= 255

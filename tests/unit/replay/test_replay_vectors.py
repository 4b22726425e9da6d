"""Every compiled trail of the reference's vectors, replayed: calls, events, proofs, result and meta-trail."""

import json
from pathlib import Path

import pytest

from sandbox_runner.errors import TrailError
from sandbox_runner.replay import TrailExecutor
from sandbox_runner.trail import load
from sandbox_runner.world import MockWorld

FILE = Path(__file__).parents[2] / "data" / "vectors" / "compile.json"
VECTORS = {vector["id"]: vector for vector in json.loads(FILE.read_text())["vectors"]}
CLOCK = 1700000000.0

# Trails that the reference replays and a strict reader refuses; the trail format's own tests say why each.
REFUSED = {"end_in_middle", "end_status", "len_256", "len_256_multibyte", "len_300", "no_frame"}
REPLAYED = sorted(VECTORS.keys() - REFUSED)
NO_PUSH = [name for name in REPLAYED if "D16" not in VECTORS[name]["known_defects"]]


def replay(vector, **options):
    world = MockWorld()
    data = bytes.fromhex(vector["bytecode_hex"])
    executor = TrailExecutor(
        world, data, principal="executor", clock=lambda: CLOCK, meta_style="reference", **options
    )
    return executor, executor.execute(), world


def without_agent(operands):
    return {name: value for name, value in operands.items() if name != "agent"}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_malformed_trail_of_the_reference_is_refused_before_anything_runs(name):
    world = MockWorld()
    with pytest.raises(TrailError):
        TrailExecutor(world, bytes.fromhex(VECTORS[name]["bytecode_hex"]))
    assert world.calls == []


@pytest.mark.parametrize("name", NO_PUSH)
def test_a_replay_makes_the_calls_and_events_of_the_reference(name):
    vector = VECTORS[name]
    _, result, world = replay(vector)
    expected = vector["execution"]
    assert world.calls == expected["world_calls"]
    for event, recorded in zip(result.events, expected["events"], strict=True):
        assert without_agent(event.operands) == recorded["operands"]
        assert event.step_index == recorded["step_index"]
        assert event.opcode == recorded["opcode"]
        assert event.opcode_name == recorded["name"]
        assert event.result == recorded["result"]
        assert event.proof == recorded["proof"]


@pytest.mark.parametrize("name", sorted(set(REPLAYED) - {"error_words"}))  # D40, see below
def test_a_replay_comes_to_the_result_of_the_reference(name):
    vector = VECTORS[name]
    executor, result, _ = replay(vector)
    expected = vector["execution"]
    for field in ("success", "total_steps", "completed_steps", "failed_steps", "status_word"):
        assert getattr(result, field) == expected["result"][field], field
    assert executor.verify() is expected["verify_method"]


@pytest.mark.parametrize("name", sorted(set(REPLAYED) - {"error_words", "len_254_255"}))  # D40, D51
def test_reference_style_reproduces_the_bytes_of_the_meta_trail(name):
    vector = VECTORS[name]
    _, result, _ = replay(vector)
    expected = bytes.fromhex(vector["execution"]["meta_trail_hex"])
    agent_byte = expected[1:2]  # salted in the reference
    assert result.execution_trail[:1] + agent_byte + result.execution_trail[2:] == expected


@pytest.mark.parametrize("name", NO_PUSH)
def test_a_dry_run_gives_the_texts_and_proofs_of_the_reference(name):
    vector = VECTORS[name]
    _, result, world = replay(vector, dry_run=True)
    assert [event.result for event in result.events] == vector["dry_run"]["results"]
    assert [event.proof for event in result.events] == vector["dry_run"]["proofs"]
    assert world.calls == []
    assert result.success


@pytest.mark.parametrize("name", REPLAYED)
@pytest.mark.parametrize("dry_run", [False, True], ids=["real", "dry"])
def test_every_meta_trail_loads_and_replays_without_a_call(name, dry_run):  # D51, D55
    data = bytes.fromhex(VECTORS[name]["bytecode_hex"])
    meta_trail = TrailExecutor(MockWorld(), data, dry_run).execute().execution_trail
    world = MockWorld()
    meta_meta_trail = TrailExecutor(world, meta_trail).execute()
    assert meta_meta_trail.success
    assert world.calls == []
    assert load(meta_meta_trail.execution_trail).steps


def test_a_push_names_its_repository_by_number():  # D16
    _, result, world = replay(VECTORS["op_git_push"])
    assert world.calls == [{"method": "git_push", "args": {"repo": "3"}}]
    assert result.events[1].operands == {"repo": 3}


def test_the_agent_that_is_levelled_is_the_trails_own_or_the_runs():  # D57
    data = bytes.fromhex(VECTORS["op_level_up"]["bytecode_hex"])
    for principal, agent in ((None, "tester"), ("deckhand", "deckhand")):
        world = MockWorld()
        result = TrailExecutor(world, data, principal=principal).execute()
        (call,) = world.calls
        assert call["args"]["agent"] == agent
        assert result.events[1].operands["agent"] == agent


def test_markers_say_that_they_do_nothing():  # D58
    for name in ("op_branch", "op_label"):
        _, result, _ = replay(VECTORS[name])
        assert result.events[1].details == {"effect": "none"}


def test_comments_and_paths_with_the_word_error_do_not_fail():  # D40
    _, result, _ = replay(VECTORS["error_words"])
    assert (result.success, result.failed_steps) == (True, 0)
    assert "[x]" not in result.summary()

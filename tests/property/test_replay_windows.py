"""A world may work ahead of the outcomes it delivers; nobody can tell from what a replay leaves."""

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox_runner.errors import SandboxError, TrailError
from sandbox_runner.replay import RunState, TrailExecutor
from sandbox_runner.trail import compile_worklog, load
from sandbox_runner.world import Outcome, Status, World

BEGIN = {"op": "TRAIL_BEGIN", "agent": "tester", "trail_id": "windows", "ts": 1750000000}
END = {"op": "TRAIL_END", "status": 0}
REFUSAL = Outcome(Status.REFUSED, "refused: not allowed", {"rule": "opcodes"})
OVER = object()


class WindowedWorld(World):
    """Performs up to ``window`` calls as soon as it can pull them, and delivers their outcomes one by one.

    Its outcomes depend on everything it has performed, so a changed order, a repeated or a lost effect shows.
    """

    def __init__(self, window, statuses=None, breaks_at=None):
        self.window = window
        self.statuses = statuses or {}
        self.breaks_at = breaks_at
        self.effects = []
        self.most_ahead = 0

    def perform_all(self, calls, *, stop_on_failure=False):
        stream, ready, stopped, over = iter(calls), deque(), False, False
        while True:
            while not (over or stopped) and len(ready) < self.window:
                call = next(stream, OVER)
                over = call is OVER
                if over or call is None:
                    break
                outcome = self._effect(call)
                ready.append(outcome)
                stopped = stop_on_failure and outcome.status.stops
            self.most_ahead = max(self.most_ahead, len(ready))
            if not ready and (over or stopped):
                return
            for _ in range(len(ready) if call is None else min(1, len(ready))):
                yield ready.popleft()

    def _effect(self, call):
        if call.step == self.breaks_at:
            raise SandboxError("the guest died")
        self.effects.append((call.step, call.method, dict(call.arguments)))
        status = self.statuses.get(call.step, Status.OK)
        mark = ": ERROR" if status.stops else ":"
        return Outcome(status, f"{call.method}{mark} {len(self.effects)}", {"seen": len(self.effects)})


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)  # no name holds a NUL
entries = st.one_of(
    st.builds(lambda path, text: {"op": "FILE_WRITE", "path": path, "content": text}, texts, texts),
    st.builds(lambda path: {"op": "FILE_READ", "path": path}, texts),
    st.builds(lambda level: {"op": "LEVEL_UP", "level": level}, st.integers(0, 9)),
    st.builds(lambda text: {"op": "COMMENT", "comment": text}, texts),
    st.builds(lambda text: {"op": "LABEL", "label": text}, texts),
    st.just({"op": "NOP"}),
    st.just({"op": "BRANCH", "register": 1}),
)
trails = st.lists(entries, max_size=12).map(lambda body: compile_worklog([BEGIN, *body, END]))
indexes = st.integers(0, 13)
moves = st.lists(st.sampled_from(["step", "execute", "pause", "resume", "result"]), max_size=10)


def replay(world, trail, *, fail_fast, pauses, moves, refused):
    """Replay with a script of moves and pauses; always to the end."""

    def hold(event):
        if event.step_index in pauses:
            executor.pause()

    refusals = dict.fromkeys(refused, REFUSAL)
    executor = TrailExecutor(
        world, trail, fail_fast=fail_fast, on_event=hold, clock=lambda: 0.0, refusals=refusals
    )
    states = []
    for move in moves:
        getattr(executor, move)()
        states.append(executor.get_state())
    while not executor.get_state()["finished"]:
        executor.resume()
        executor.execute()
    result = executor.result()
    events = [event.to_dict() for event in result.events]
    return events, result.execution_trail, result.to_dict()["success"], states, world.effects


@settings(max_examples=200, deadline=None)
@given(
    trail=trails,
    window=st.integers(2, 6),
    statuses=st.dictionaries(indexes, st.sampled_from(list(Status)), max_size=4),
    fail_fast=st.booleans(),
    pauses=st.sets(indexes, max_size=4),
    moves=moves,
    refused=st.sets(st.integers(1, 12), max_size=2),
)
def test_a_world_that_works_ahead_leaves_what_one_call_at_a_time_leaves(
    *, trail, window, statuses, fail_fast, pauses, moves, refused
):
    refused = {index for index in refused if index < len(load(trail).steps) - 1}
    script = {"fail_fast": fail_fast, "pauses": pauses, "moves": moves, "refused": refused}
    one = replay(WindowedWorld(1, statuses), trail, **script)
    ahead = replay(WindowedWorld(window, statuses), trail, **script)
    assert ahead == one


WRITES = [{"op": "FILE_WRITE", "path": f"{n}", "content": ""} for n in range(8)]
EIGHT_WRITES = compile_worklog([BEGIN, *WRITES, END])


def steps_of(world):
    return [step for step, _, _ in world.effects]


def test_execute_lets_a_world_work_ahead():
    world = WindowedWorld(4)
    assert TrailExecutor(world, EIGHT_WRITES).execute().success
    assert world.most_ahead == 4


def test_a_single_step_has_a_single_effect_in_any_world():
    world = WindowedWorld(4)
    executor = TrailExecutor(world, EIGHT_WRITES)
    executor.step()
    for count in range(1, 9):
        executor.step()
        assert steps_of(world) == list(range(1, count + 1))


def test_outcomes_that_were_ahead_at_a_pause_are_delivered_after_it():
    world = WindowedWorld(4)
    executor = TrailExecutor(
        world, EIGHT_WRITES, on_event=lambda event: event.step_index == 2 and executor.pause()
    )
    assert executor.execute().state is RunState.PAUSED
    ahead = steps_of(world)
    assert len(ahead) > 2
    executor.resume()
    result = executor.execute()
    assert steps_of(world) == list(range(1, 9))
    assert [event.details.get("seen") for event in result.events[1:-1]] == list(range(1, 9))


def test_single_steps_after_a_pause_first_take_what_was_ahead():
    world = WindowedWorld(4)
    executor = TrailExecutor(
        world, EIGHT_WRITES, on_event=lambda event: event.step_index == 2 and executor.pause()
    )
    executor.execute()
    ahead = steps_of(world)
    executor.resume()
    for _ in range(len(ahead) - 2):
        executor.step()
    assert steps_of(world) == ahead
    executor.step()
    assert steps_of(world) == [*ahead, ahead[-1] + 1]


def test_a_step_the_world_was_already_given_cannot_be_jumped_over():
    world = WindowedWorld(4)
    executor = TrailExecutor(
        world, EIGHT_WRITES, on_event=lambda event: event.step_index == 2 and executor.pause()
    )
    executor.execute()
    executor.resume()
    with pytest.raises(TrailError, match="continue first"):
        executor.execute(resume_from=8)
    assert executor.execute().success


def test_a_restart_performs_everything_again_and_nothing_in_between():
    world = WindowedWorld(4)
    executor = TrailExecutor(
        world, EIGHT_WRITES, on_event=lambda event: event.step_index == 2 and executor.pause()
    )
    executor.execute()
    ahead = steps_of(world)
    executor.resume()
    executor._on_event = None
    assert executor.execute(resume_from=0).success
    assert steps_of(world) == [*ahead, *range(1, 9)]


@pytest.mark.parametrize("window", [1, 4])
def test_a_refused_step_stops_a_fail_fast_replay_before_anything_later_is_performed(window):
    world = WindowedWorld(window)
    result = TrailExecutor(world, EIGHT_WRITES, fail_fast=True, refusals={4: REFUSAL}).execute()
    assert steps_of(world) == [1, 2, 3]
    assert result.events[-1].status is Status.REFUSED
    assert (result.failed_steps, result.refused_steps, result.state) == (1, 1, RunState.FINISHED)


@pytest.mark.parametrize("window", [1, 3])
def test_a_broken_world_leaves_the_events_so_far_and_a_result(window):
    world = WindowedWorld(window, breaks_at=5)
    executor = TrailExecutor(world, EIGHT_WRITES)
    with pytest.raises(SandboxError, match="the guest died"):
        executor.execute()
    result = executor.result()
    assert (result.state, result.success) == (RunState.BROKEN, False)
    assert "TRAIL EXECUTION BROKEN" in result.summary()
    assert [event.step_index for event in result.events] == list(range(5 - window + 1))
    effects = steps_of(world)
    for go_on in (executor.execute, executor.step):
        with pytest.raises(SandboxError, match="cannot go on"):
            go_on()
    assert steps_of(world) == effects

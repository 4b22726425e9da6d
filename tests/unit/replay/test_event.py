import dataclasses
import json
import pickle
from pathlib import Path
from types import MappingProxyType

import pytest

from sandbox_runner.errors import VerificationError
from sandbox_runner.replay import TrailEvent, TrailExecutor, verify_chain
from sandbox_runner.replay.event import chain_link, kept_operands, outcome_digest
from sandbox_runner.replay.markers import ShownOperands
from sandbox_runner.trail import TrailOpcodes, compile_worklog
from sandbox_runner.world import MockWorld, Status, canonical_digest

FILE = Path(__file__).parents[2] / "data" / "vectors" / "proofs.json"
VECTORS = json.loads(FILE.read_text())
WORKLOG = [
    {"op": "TRAIL_BEGIN", "agent": "tester", "trail_id": "events", "ts": 1750000000},
    {"op": "FILE_WRITE", "path": "a", "content": "good"},
    {"op": "FILE_READ", "path": "a"},
    {"op": "TRAIL_END", "status": 0},
]


def event_of(vector, **changes):
    return TrailEvent(
        step_index=vector["step_index"],
        opcode=vector["opcode"],
        operands={"k": "v"},
        result=vector["result"],
        duration_ms=1.5,
        timestamp=1000.0,
        **changes,
    )


def chained_events():
    return list(TrailExecutor(MockWorld(), compile_worklog(WORKLOG)).execute().events)


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["proof"])
def test_an_event_has_the_proof_and_dictionary_form_of_the_reference(vector):
    event = event_of(vector)
    assert event.proof == vector["proof"]
    assert event.to_dict() == vector["to_dict"]
    assert json.loads(event.to_json()) == vector["to_dict"]
    assert TrailEvent.from_dict(vector["to_dict"]) == event
    assert TrailEvent.from_json(event.to_json()) == event


def test_a_proof_given_explicitly_is_kept():
    event = event_of(VECTORS["vectors"][0], proof=VECTORS["explicit_proof_kept"])
    assert event.proof == "mine"
    assert TrailEvent.from_dict(event.to_dict()).proof == "mine"


def test_a_missing_proof_is_computed_on_load():
    form = dict(VECTORS["vectors"][1]["to_dict"])
    del form["proof"]
    assert TrailEvent.from_dict(form).proof == VECTORS["vectors"][1]["proof"]


def test_an_event_that_was_changed_under_its_proof_is_not_loaded():  # D52
    form = VECTORS["vectors"][1]["to_dict"] | {"result": "something else"}
    with pytest.raises(VerificationError, match="does not fit its event"):
        TrailEvent.from_dict(form)


def test_an_executed_event_survives_its_dictionary_form_whole():
    for event in chained_events():
        assert TrailEvent.from_dict(event.to_dict()) == event


def test_the_handwritten_records_are_canonical_json():
    details = {"b": 1, "a": ["ü", None]}
    text = 'quote " backslash \\ newline \n bell \x07 snowman ☃ rocket \U0001f680'
    assert outcome_digest(Status.FAILED, text, details) == canonical_digest(
        {"status": "failed", "result": text, "details": canonical_digest(details)}
    )
    operands = {"path": text, "level": 3}
    assert chain_link("0" * 64, 7, TrailOpcodes.FILE_READ, operands, "1" * 64) == canonical_digest(
        {"index": 7, "opcode": 0x92, "operands": operands, "outcome": "1" * 64, "previous": "0" * 64}
    )


@pytest.mark.parametrize(
    "change",
    [
        {"operands": {"path": "evil", "content": "good"}},
        {"result": "another"},
        {"status": Status.SKIPPED},
        {"details": {"a": 1}},
        {"step_index": 9},
        {"opcode": TrailOpcodes.FILE_EDIT},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_chain_covers_every_fact_of_an_event(change):  # D52
    events = chained_events()
    start = compile_start()
    verify_chain(events, start)
    events[1] = dataclasses.replace(events[1], **change)
    with pytest.raises(VerificationError):
        verify_chain(events, start)


def compile_start():
    return TrailExecutor(MockWorld(), compile_worklog(WORKLOG)).trail.sha256


def test_the_chain_notices_a_dropped_repeated_or_moved_event():
    events, start = chained_events(), compile_start()
    for wrong in (events[1:], events[:1] + events[:1], [events[1], events[0]], events[:1] + events[2:]):
        with pytest.raises(VerificationError):
            verify_chain(wrong, start)


def test_the_chain_begins_at_the_digest_of_the_trail():  # D53
    with pytest.raises(VerificationError, match="step 1"):
        verify_chain(chained_events(), "0" * 64)


def test_the_operands_of_every_event_are_a_dict_that_json_takes():
    entries = [*WORKLOG[:-1], {"op": "LEVEL_UP", "level": 2}, {"op": "LABEL", "label": "l"}, WORKLOG[-1]]
    events = TrailExecutor(MockWorld(), compile_worklog(entries), principal="ada").execute().events
    assert [type(event.operands) for event in events] == [dict] * len(entries)
    assert json.loads(json.dumps([event.operands for event in events])) == [
        {"trail_id": events[0].operands["trail_id"]},
        {"path": "a", "content": "good"},
        {"path": "a"},
        {"level": 2, "agent": "ada"},
        {"label": "l"},
        {"status": 0},
    ]
    again = pickle.loads(pickle.dumps(events[1]))
    assert again == events[1] == TrailEvent.from_dict(events[1].to_dict())
    assert TrailEvent(1, 0x92, MappingProxyType({"path": "a"})).operands == {"path": "a"}


def test_an_event_is_frozen_and_holds_no_copy_of_its_trail():
    event = TrailExecutor(MockWorld(), compile_worklog(WORKLOG)).execute().events[1]
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.operands = {}
    event.operands["content"] = "other"
    assert event.operands["content"] == "good"
    assert isinstance(kept_operands(event), ShownOperands)

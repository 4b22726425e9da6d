"""Events of a sealed record: read when they are asked for, and never from another place than theirs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox_runner.errors import VerificationError
from sandbox_runner.record import RunRecord
from sandbox_runner.record.event_forms import PLACE, cut_events

EVENTS = [{"step_index": 0, "result": "a"}, {"step_index": 1, "result": '\n"events": [\n'}]
DOCUMENT = '{\n"error": null,\n"events": [\n  %s,\n  %s\n],\n"status": "success"\n}\n'


def written(tmp_path: Path, *events: str, document: str = DOCUMENT) -> Path:
    path = tmp_path / "result.json"
    path.write_text(document % events)
    return path


def test_events_are_cut_out_of_the_document_and_read_on_demand(tmp_path: Path) -> None:
    cut = cut_events(written(tmp_path, *map(json.dumps, EVENTS)))
    assert cut is not None
    document, events = cut
    assert json.loads(document) == {"error": None, "events": [PLACE], "status": "success"}
    assert (len(events), list(events), events[-1], events[:1]) == (2, EVENTS, EVENTS[1], (EVENTS[0],))
    assert events == tuple(EVENTS)
    with pytest.raises(IndexError):
        events[2]


@pytest.mark.parametrize("line", ['{"step_index": }', '{"a": 1}, {"a": 2}'])
def test_a_malformed_event_is_told_when_it_is_read(tmp_path: Path, line: str) -> None:
    cut = cut_events(written(tmp_path, json.dumps(EVENTS[0]), line))
    assert cut is not None
    with pytest.raises(VerificationError, match=r"event 1 of result\.json"):
        list(cut[1])


@pytest.mark.parametrize(
    "document",
    [
        DOCUMENT.replace("  %s,\n", "%s,\n", 1),
        DOCUMENT.replace("\n],\n", "]\n,"),
        DOCUMENT.replace("  %s,\n", "  %s\n", 1),
        DOCUMENT.replace("  %s\n", "  %s,\n"),
    ],
)
def test_a_document_in_another_form_is_not_cut(tmp_path: Path, document: str) -> None:
    assert cut_events(written(tmp_path, *map(json.dumps, EVENTS), document=document)) is None


def test_events_inside_another_member_are_not_taken_for_the_records(
    write_record: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_record(tmp_path)
    result = path / "result.json"
    text = result.read_text()
    begin = text.index('"events": [\n')
    end = text.index("\n],\n", begin) + len("\n],\n")
    assert RunRecord.load(path).result == RunRecord.load(path, whole=True).result
    without = text[text.index('"facts": {') : text.index("\n", text.index('"facts": {'))].rstrip(",")
    nested = '"facts": {\n' + text[begin:end] + '"more": 1}'
    result.write_text(text[:begin] + text[end:].replace(without, nested))
    moved = RunRecord.load(path).result
    assert moved is not None
    assert (len(moved.events), len(moved.facts["events"])) == (0, text[begin:end].count("\n") - 2)

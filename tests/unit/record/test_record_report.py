"""The report: complete, self-contained, and inert whatever a record holds."""

import base64
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sandbox_runner.record import RunDirectory, RunRecord, RunStatus, StepCounts, verify_record
from sandbox_runner.record.report import render_report
from sandbox_runner.record.report.view import duration_text, pairs_of, runs_of_tests, size_text, steps_of
from sandbox_runner.trail import TrailOpcodes
from sandbox_runner.world import Call, Outcome

Writer = Callable[..., Path]


class Page(HTMLParser):
    """Collects what a browser would see as markup."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_nothing_from_a_record_becomes_markup(hostile_page: str) -> None:
    page = Page(hostile_page)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "img", "iframe", "object", "link", "form", "a", "base"}
    assert not [
        attributes for _, attributes in page.tags if any(name.startswith("on") for name in attributes)
    ]
    assert [tag for tag, _ in page.tags].count("style") == 1
    assert "</pre></style><script>document" in "".join(page.text)


def test_no_control_or_direction_character_reaches_the_page(hostile_page: str) -> None:
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", hostile_page)


def test_the_pages_policy_lets_in_its_own_style_and_nothing_else(hostile_page: str) -> None:
    (policy,) = (
        attributes["content"] or ""
        for tag, attributes in Page(hostile_page).tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    style = hostile_page.split("<style>")[1].split("</style>", maxsplit=1)[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'")
    assert not re.search(
        r"""style=|url\(|@import|src=["']?[a-z]+:|href=""", hostile_page.replace("src=x", "")
    )


def test_refused_and_failed_steps_come_first(write_record: Writer, tmp_path: Path) -> None:
    record = write_record(tmp_path)
    page = render_report(
        RunRecord.load(record), checks=verify_record(record, require_signature=False), changes=[]
    )
    order = ["Some steps failed", "Look here first", "path leaves the workspace", "test_run: tests (exit=1)"]
    order += ["Timeline", "Workspace", "The run left the workspace as it was", "What it was allowed", "Proof"]
    places = [page.index(words) for words in order]
    assert places == sorted(places)
    for words in ("src/größe.py", "1 failed, 1 passed in 0.12s", "container", "verified", "pytest exited 1"):
        assert words in page, words


def test_a_refused_run_lists_what_the_policy_refused(write_record: Writer, tmp_path: Path) -> None:
    sample = RunRecord.load(write_record(tmp_path / "other"))
    info = type(sample.info).model_validate(
        {**dict(sample.info), "run_id": "r", "state": "running"}, strict=False
    )
    with RunDirectory.create(tmp_path, info, trail=sample.trail(), policy=b"{}") as directory:
        violation = {
            "step": 6,
            "opcode": "FILE_WRITE",
            "rule": "paths.write",
            "message": "outside the workspace",
        }
        directory.seal(status=RunStatus.REFUSED, exit_code=3, steps=StepCounts(), violations=(violation,))
    page = render_report(RunRecord.load(directory.path))
    assert "Refused by policy" in page
    assert "paths.write" in page
    assert "Nothing was executed" in page


def test_a_run_that_died_is_reported_as_far_as_it_came(write_record: Writer, tmp_path: Path) -> None:
    sample = RunRecord.load(write_record(tmp_path / "other"))
    info = type(sample.info).model_validate(
        {**dict(sample.info), "run_id": "r", "state": "running"}, strict=False
    )
    with RunDirectory.create(tmp_path, info, trail=sample.trail(), policy=b"{}") as directory:
        recorder = directory.recorder()
        for line in list(sample.calls())[:2]:
            recorder.dispatch(Call(TrailOpcodes.FILE_READ, line.fact["method"], {}, line.step))
    page = render_report(RunRecord.load(directory.path))
    assert "Interrupted" in page
    assert "never answered" in page


def test_the_tests_of_a_run_are_listed_the_failed_ones_first(write_record: Writer, tmp_path: Path) -> None:
    def tested(call: Call, outcome: Outcome) -> Outcome:
        details = {
            "passed": 1,
            "failed": 1,
            "skipped": 0,
            "outcomes": ["passed t.py::a", "failed t.py::b[x y]"],
        }
        return Outcome(outcome.status, outcome.text, details) if call.method == "test_run" else outcome

    (run,) = runs_of_tests(steps_of(RunRecord.load(write_record(tmp_path, twist=tested))))
    assert [(case.value, case.name) for case in run.cases] == [
        ("failed", "t.py::b[x y]"),
        ("passed", "t.py::a"),
    ]
    assert [(count.name, count.value) for count in run.counts] == [("passed", "1"), ("failed", "1")]


@pytest.mark.parametrize(
    ("value", "words"),
    [(1_500, "2 µs"), (12_340_000, "12.3 ms"), (3_200_000_000, "3.2 s"), (245_000_000_000, "4 min 5 s")],
)
def test_a_duration_reads_well(value: int, words: str) -> None:
    assert duration_text(value) == words


def test_a_size_reads_well() -> None:
    assert [size_text(value) for value in (752, 65536, 512 << 20, 3 << 30)] == [
        "752 B",
        "64 KiB",
        "512 MiB",
        "3 GiB",
    ]


def test_nested_facts_get_dotted_names_and_empty_ones_go() -> None:
    pairs = pairs_of({"a": {"b": 1, "c": None}, "d": [], "e": ["x", 2], "f": True, "g": [{"h": 1}]})
    assert [(pair.name, pair.value) for pair in pairs] == [
        ("a.b", "1"),
        ("e", "x, 2"),
        ("f", "yes"),
        ("g", '[{"h": 1}]'),
    ]

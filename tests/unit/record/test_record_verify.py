"""Verification: a whole record holds anywhere, a damaged one says where it is wrong."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox_runner.errors import SnapshotError
from sandbox_runner.record import (
    Check,
    RunDirectory,
    RunInfo,
    RunRecord,
    RunStatus,
    SigningKey,
    SnapshotCheck,
    StepCounts,
    compare_records,
    first_divergence,
    signing_key,
    verify_record,
)
from sandbox_runner.record.chain import link
from sandbox_runner.record.encoding import canonical_fact, compact
from sandbox_runner.record.lines import line_start
from sandbox_runner.world import Call, Outcome, Status

Writer = Callable[..., Path]
NAMES = [
    "structure",
    "trail",
    "policy",
    "chain",
    "calls",
    "result",
    "meta-trail",
    "artifacts",
    "outputs",
    "snapshot",
    "attestation",
    "signature",
]


@pytest.fixture(name="key", scope="module")
def _key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return signing_key(tmp_path_factory.mktemp("keys"))


@pytest.fixture(name="record")
def _record(write_record: Writer, tmp_path: Path, key: SigningKey) -> Path:
    return write_record(tmp_path / "runs", signer=key)


def wrong(checks: list[Check]) -> dict[str, str]:
    return {check.name: check.detail for check in checks if not check.ok}


def edit_line(record: Path, number: int, old: str, new: str) -> None:
    lines = (record / "calls.jsonl").read_text().splitlines(keepends=True)
    assert old in lines[number]
    lines[number] = lines[number].replace(old, new, 1)
    (record / "calls.jsonl").write_text("".join(lines))


def test_a_signed_record_holds_and_every_check_is_told(record: Path, key: SigningKey) -> None:
    checks = verify_record(record, trusted=[key.public])
    assert [check.name for check in checks] == NAMES
    assert wrong(checks) == {}


def test_a_record_holds_wherever_it_is_copied(record: Path, key: SigningKey, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(record, tmp_path / "elsewhere" / "renamed"))
    shutil.rmtree(record)
    assert wrong(verify_record(copy, trusted=[key.public])) == {}


def test_a_record_with_a_meta_trail_of_the_reference_style_holds_too(
    write_record: Writer, tmp_path: Path, key: SigningKey
) -> None:
    record = write_record(tmp_path, signer=key, options={"meta_style": "reference"})
    assert wrong(verify_record(record, trusted=[key.public])) == {}


def test_an_unsigned_record_fails_unless_that_is_allowed(write_record: Writer, tmp_path: Path) -> None:
    record = write_record(tmp_path)
    assert wrong(verify_record(record)) == {"signature": "the envelope is not signed"}
    assert wrong(verify_record(record, require_signature=False)) == {}


def test_a_record_signed_by_a_stranger_fails(record: Path, tmp_path: Path) -> None:
    assert (
        "not trusted"
        in wrong(verify_record(record, trusted=[signing_key(tmp_path / "k").public]))["signature"]
    )
    assert "not trusted" in wrong(verify_record(record))["signature"]


@pytest.mark.parametrize(
    ("number", "old", "new", "said"),
    [
        (4, '"status":"refused"', '"status":"ok"', "line 5 was changed"),
        (2, '"seq":2', '"seq":3', "line 3 was changed"),
        (3, '"duration_ns":', '"duration_ns":1', "meta part"),
        (6, "{", "", "line 7 is no JSON"),
        (1, '"fact":{', '"fact":{ ', "line 2 is not in the form"),
    ],
)
def test_the_first_changed_line_is_named(
    record: Path, key: SigningKey, *, number: int, old: str, new: str, said: str
) -> None:
    edit_line(record, number, old, new)
    found = wrong(verify_record(record, trusted=[key.public]))
    assert said in found["chain"]
    assert "attestation" in found


@pytest.mark.parametrize("change", ["drop", "repeat", "swap", "cut"])
def test_a_line_dropped_repeated_swapped_or_cut_is_noticed(
    record: Path, key: SigningKey, change: str
) -> None:
    path = record / "calls.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    changed = {
        "drop": lines[:3] + lines[4:],
        "repeat": [*lines[:3], lines[2], *lines[3:]],
        "swap": [*lines[:3], lines[4], lines[3], *lines[5:]],
        "cut": lines[:-1],
    }[change]
    path.write_bytes(b"".join(changed))
    said = wrong(verify_record(record, trusted=[key.public]))["chain"]
    assert ("8 lines" if change == "cut" else "line 4 carries number") in said


def test_a_forged_chain_does_not_agree_with_the_result(write_record: Writer, tmp_path: Path) -> None:
    """Whoever recomputes the chain must also forge result, meta-trail and signature."""
    record = write_record(tmp_path)
    prev, out = None, []
    for raw in (record / "calls.jsonl").read_bytes().splitlines():
        line = json.loads(raw)
        if line["fact"]["status"] == "refused":
            line["fact"]["status"] = "ok"
        line["fact"]["prev"] = prev or line["fact"]["prev"]
        data = canonical_fact(line["fact"])
        prev = link(data)
        out.append(line_start(prev, data) + compact(line["meta"]) + b"}\n")
    (record / "calls.jsonl").write_bytes(b"".join(out))
    found = wrong(verify_record(record, require_signature=False))
    assert "head" in found["chain"]
    assert "attestation" in found


def test_a_changed_line_with_a_fresh_digest_leaves_the_next_one_hanging(
    record: Path, key: SigningKey
) -> None:
    path = record / "calls.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    line = json.loads(lines[4])
    line["fact"]["status"] = "ok"
    data = canonical_fact(line["fact"])
    lines[4] = line_start(link(data), data) + compact(line["meta"]) + b"}\n"
    path.write_bytes(b"".join(lines))
    found = wrong(verify_record(record, trusted=[key.public]))
    assert found["chain"] == "calls.jsonl line 6 does not follow from what is before it"


def test_a_result_that_flatters_is_noticed(write_record: Writer, tmp_path: Path) -> None:
    record = write_record(tmp_path)
    path = record / "result.json"
    path.write_text(path.read_text().replace('"status": "failed"', '"status": "success"'))
    found = wrong(verify_record(record, require_signature=False))
    assert "says success, its events do not" in found["result"]


def test_an_event_that_contradicts_its_line_is_named(write_record: Writer, tmp_path: Path) -> None:
    record = write_record(tmp_path)
    path = record / "result.json"
    path.write_text(path.read_text().replace('"status":"refused"', '"status":"ok"'))
    found = wrong(verify_record(record, require_signature=False))
    assert "step 7 does not follow" in found["result"]


def test_a_meta_trail_of_another_run_is_noticed(write_record: Writer, tmp_path: Path) -> None:
    one, other = write_record(tmp_path), write_record(tmp_path, principal="eve")
    shutil.copy(other / "meta-trail.flux", one / "meta-trail.flux")
    found = wrong(verify_record(one, require_signature=False))
    assert "not the meta-trail that result.json names" in found["meta-trail"]


def test_another_runs_attestation_is_noticed(
    record: Path, write_record: Writer, tmp_path: Path, key: SigningKey
) -> None:
    other = write_record(tmp_path / "runs", signer=key)
    shutil.copy(other / "attestation.json", record / "attestation.json")
    found = wrong(verify_record(record, trusted=[key.public]))
    assert list(found) == ["attestation"]
    assert "statement.predicate.run" in found["attestation"]


@pytest.mark.parametrize(
    "name", ["trail.flux", "policy.json", "calls.jsonl", "meta-trail.flux", "result.json", "attestation.json"]
)
def test_a_missing_file_is_named(record: Path, key: SigningKey, name: str) -> None:
    (record / name).unlink()
    assert name in wrong(verify_record(record, trusted=[key.public]))["structure"]


@pytest.mark.parametrize("name", ["notes.txt", "artifacts/extra", "artifacts/run.lock", ".hidden"])
def test_a_file_that_was_not_recorded_is_named(record: Path, key: SigningKey, name: str) -> None:
    (record / name).write_text("")
    assert name in wrong(verify_record(record, trusted=[key.public]))["structure"]


def test_what_a_crash_at_the_very_end_leaves_behind_changes_nothing(record: Path, key: SigningKey) -> None:
    (record / "run.lock").write_text("1\n")
    (record / "dispatched.jsonl").write_text('{"method":"file_read","seq":0,"step":1}\n')
    assert wrong(verify_record(record, trusted=[key.public])) == {}
    assert RunRecord.load(record).in_doubt() == ()


def test_links_and_pipes_in_a_record_are_refused_at_once(
    record: Path, key: SigningKey, tmp_path: Path
) -> None:
    data = tmp_path / "calls"
    shutil.move(record / "calls.jsonl", data)
    (record / "calls.jsonl").symlink_to(data)
    assert "no regular file" in wrong(verify_record(record, trusted=[key.public]))["structure"]
    (record / "calls.jsonl").unlink()
    os.mkfifo(record / "calls.jsonl")
    assert "no regular file" in wrong(verify_record(record, trusted=[key.public]))["structure"]


def test_a_changed_artifact_is_named(record: Path, key: SigningKey) -> None:
    (record / "artifacts/pushes/repository-0123456789abcdef.bundle").write_bytes(b"<testsuite>\n\n")
    assert ".bundle" in wrong(verify_record(record, trusted=[key.public]))["artifacts"]


def test_the_snapshots_blobs_are_read_through_the_callback(record: Path, key: SigningKey) -> None:
    asked: list[str] = []

    def missing(digest: str) -> str:
        asked.append(digest)
        if digest.endswith("4"):
            raise SnapshotError(f"the snapshot {digest} lacks a blob")
        return "12 blobs"

    found = wrong(
        verify_record(record, trusted=[key.public], snapshot_check=SnapshotCheck(missing, lambda *_: None))
    )
    assert asked == ["sha256:" + "3" * 64, "sha256:" + "4" * 64]
    assert "lacks a blob" in found["snapshot"]


def test_a_run_that_goes_on_or_died_does_not_verify(tmp_path: Path, write_record: Writer) -> None:
    info = RunRecord.load(write_record(tmp_path / "other")).info
    facts = {**dict(info), "run_id": "r", "state": "running"}
    with RunDirectory.create(
        tmp_path, RunInfo.model_validate(facts, strict=False), trail=b"x", policy=b"{}"
    ) as directory:
        assert "still running" in wrong(verify_record(directory.path))["structure"]
    assert "was interrupted" in wrong(verify_record(directory.path))["structure"]


def test_a_place_without_a_record_fails_and_does_not_raise(tmp_path: Path) -> None:
    checks = verify_record(tmp_path / "nowhere")
    assert [check.name for check in checks] == NAMES
    assert not any(check.ok for check in checks)


def test_a_run_refused_before_anything_ran_verifies(tmp_path: Path, write_record: Writer) -> None:
    sample = write_record(tmp_path / "other")
    loaded = RunRecord.load(sample)
    info = RunInfo.model_validate({**dict(loaded.info), "run_id": "r", "state": "running"}, strict=False)
    trail, policy = loaded.trail(), (sample / "policy.json").read_bytes()
    with RunDirectory.create(tmp_path, info, trail=trail, policy=policy) as directory:
        violation = {"step": 6, "opcode": "FILE_WRITE", "rule": "paths", "message": "no"}
        directory.seal(
            status=RunStatus.REFUSED,
            exit_code=3,
            steps=StepCounts(total=14, refused=1),
            violations=(violation,),
        )
    assert wrong(verify_record(directory.path, require_signature=False)) == {}


def test_two_replays_of_one_trail_do_not_diverge(write_record: Writer, tmp_path: Path) -> None:
    one, other = (
        RunRecord.load(write_record(tmp_path)),
        RunRecord.load(write_record(tmp_path, runtime="runsc")),
    )
    assert compare_records(one, other) is None
    assert (one.result and one.result.chain_head) == (other.result and other.result.chain_head)
    assert one.meta_trail() == other.meta_trail()


def test_the_first_step_and_field_that_differ_are_named(write_record: Writer, tmp_path: Path) -> None:
    def flaky(call: Call, outcome: Outcome) -> Outcome:
        if call.method == "test_run":
            return Outcome(outcome.status, outcome.text, {**outcome.details, "passed": 2})
        return Outcome(Status.OK, "later") if call.method == "git_commit" else outcome

    one = RunRecord.load(write_record(tmp_path))
    other = RunRecord.load(write_record(tmp_path, twist=flaky))
    found = first_divergence(one.calls(), other.calls())
    assert found is not None
    assert found.to_dict() == {"step": 7, "field": "details.passed", "recorded": 1, "replayed": 2}


def test_a_call_that_only_one_log_has_is_a_divergence(write_record: Writer, tmp_path: Path) -> None:
    record = RunRecord.load(write_record(tmp_path))
    lines = list(record.calls())
    found = first_divergence(lines, lines[:-1])
    assert found is not None
    assert (found.step, found.field, found.recorded, found.replayed) == (10, "call", "GIT_COMMIT", None)

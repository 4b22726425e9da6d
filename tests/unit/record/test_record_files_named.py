"""Every output and push that a record names is a file of it, and every file of it is named."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox_runner.record import LeftOutInfo, RunRecord, verify_record
from sandbox_runner.record.encoding import canonical_fact, compact
from sandbox_runner.record.lines import line_start
from sandbox_runner.world.call import Call, Outcome, Printed

OUTPUT = "outputs/step-8.out"
NOISE = b"\xff noise \x00" * 9


def noisy(call: Call, outcome: Outcome) -> Outcome:
    if call.method != "test_run":
        return outcome
    printed = Printed(NOISE, len(NOISE) + 7, 5)
    return Outcome(outcome.status, outcome.text, outcome.details, outcome.duration_ns, outcome.meta, printed)


class Open:
    """A record that somebody changes who can seal it again, but for the signature."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.result = json.loads((path / "result.json").read_bytes())

    def close(self) -> dict[str, str]:
        """What is wrong with it now, attestation aside."""
        self.result["calls_sha256"] = hashlib.sha256((self.path / "calls.jsonl").read_bytes()).hexdigest()
        (self.path / "result.json").write_text(json.dumps(self.result))
        checks = verify_record(self.path, require_signature=False)
        return {check.name: check.detail for check in checks if not check.ok and check.name != "attestation"}

    def put(self, path: str, data: bytes) -> None:
        self.drop(path)
        file = self.path / "artifacts" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        self.result["artifacts"].append({"path": path, "sha256": digest, "bytes": len(data)})

    def drop(self, path: str) -> None:
        (self.path / "artifacts" / path).unlink(missing_ok=True)
        self.result["artifacts"] = [item for item in self.result["artifacts"] if item["path"] != path]

    def tell(self, change: Callable[[dict[str, Any]], Any], *, escaped: bool = False) -> None:
        """Change what the line of the tests says beside its fact."""
        lines = (self.path / "calls.jsonl").read_bytes().splitlines(keepends=True)
        at = next(number for number, line in enumerate(lines) if b'"test_run"' in line)
        line = json.loads(lines[at])
        change(line["meta"]["details"])
        meta = compact(line["meta"])
        if escaped:
            meta = meta.replace(b'"output_file"', b'"\\u006futput_file"')
        lines[at] = line_start(line["digest"], canonical_fact(line["fact"])) + meta + b"}\n"
        (self.path / "calls.jsonl").write_bytes(b"".join(lines))


@pytest.fixture
def opened(write_record: Callable[..., Path], tmp_path: Path) -> Open:
    return Open(write_record(tmp_path / "runs", twist=noisy))


def push(opened: Open) -> str:
    return str(opened.result["facts"]["pushes"][0]["artifact"])


def test_a_record_with_outputs_and_pushes_holds_wherever_it_is(opened: Open, tmp_path: Path) -> None:
    assert OUTPUT in [item["path"] for item in opened.result["artifacts"]]
    assert opened.close() == {}
    opened.tell(lambda _details: None)
    assert opened.close() == {}
    copy = shutil.copytree(opened.path, tmp_path / "copy")
    told = {check.name: check.detail for check in verify_record(copy, require_signature=False)}
    assert told["outputs"] == "1 outputs and 1 pushes, each in its file"


CHANGES: dict[str, tuple[Callable[[Open], object], str]] = {
    "output dropped": (
        lambda it: it.drop(OUTPUT),
        "names outputs/step-8.out, which is not among the artifacts",
    ),
    "output altered": (lambda it: it.put(OUTPUT, NOISE[::-1]), "is not the file that calls.jsonl names"),
    "output cut": (lambda it: it.put(OUTPUT, NOISE[:-1]), "is not the file that calls.jsonl names"),
    "output added": (lambda it: it.put("outputs/step-3.out", b"x"), "step-3.out is there, and nothing"),
    "file added": (lambda it: it.put("notes.txt", b"x"), "notes.txt is there, and nothing"),
    "push added": (lambda it: it.put("pushes/x.bundle", b"x"), "x.bundle is there, and nothing"),
    "ledger of no run": (lambda it: it.put("ledger.jsonl", b"{}"), "ledger.jsonl is there, and nothing"),
    "push dropped": (lambda it: it.drop(push(it)), "which is not an artifact"),
    "push not told": (lambda it: it.result["facts"].pop("pushes"), ".bundle is there, and nothing"),
    "push told twice": (lambda it: it.result["facts"]["pushes"].append({"artifact": push(it)}), "of its own"),
    "push elsewhere": (lambda it: it.result["facts"]["pushes"].append({"artifact": OUTPUT}), "of its own"),
    "pushes of no form": (lambda it: it.result["facts"].update(pushes=[1]), "in a form that is known"),
    "line tells none": (lambda it: it.tell(lambda said: said.pop("output_file")), "step-8.out is there, and"),
    "line of another": (
        lambda it: it.tell(lambda said: said["output_file"].update(path="outputs/step-7.out")),
        "which is of another call",
    ),
    "line leads out": (
        lambda it: it.tell(lambda said: said["output_file"].update(path="../run.json")),
        "names no file of an output",
    ),
    "line, other digest": (
        lambda it: it.tell(lambda said: said["output_file"].update(sha256="0" * 64)),
        "is not the file that calls.jsonl names",
    ),
    "line, other size": (
        lambda it: it.tell(lambda said: said["output_file"].update(bytes=len(NOISE) + 1)),
        "is not the file that calls.jsonl names",
    ),
    "line, no digest": (lambda it: it.tell(lambda said: said["output_file"].pop("sha256")), "misdescribes"),
    "line in disguise": (
        lambda it: (it.drop(OUTPUT), it.tell(lambda _said: None, escaped=True)),
        "names outputs/step-8.out, which is not among the artifacts",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_is_dropped_altered_or_added_is_told(opened: Open, change: str) -> None:
    make, reason = CHANGES[change]
    make(opened)
    found = opened.close()
    assert found.keys() == {"outputs"}
    assert reason in found["outputs"]


def test_an_output_that_a_run_kept_and_then_broke_off_is_its_own(opened: Open) -> None:
    assert RunRecord.load(opened.path).state == "complete"
    lines = (opened.path / "calls.jsonl").read_bytes().splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if b'"test_run"' in line)
    (opened.path / "calls.jsonl").write_bytes(b"".join(lines[:at]))
    head = json.loads(lines[at - 1])["digest"]
    for state, status, doubt, fault in (
        ("error", "error", True, False),
        ("error", "error", False, True),
        ("complete", "failed", True, True),
    ):
        info = json.loads((opened.path / "run.json").read_bytes())
        (opened.path / "run.json").write_text(json.dumps({**info, "state": state}))
        opened.result |= {"status": status, "chain_head": head, "chain_length": at}
        opened.result["in_doubt"] = [{"seq": at, "step": 7, "method": "test_run"}] if doubt else []
        assert ("outputs" in opened.close()) is fault, (state, doubt)


def test_a_base_of_which_something_was_left_out_is_named(
    write_record: Callable[..., Path], tmp_path: Path
) -> None:
    left_out = (LeftOutInfo(reason="fifo", count=1, first=("pipe",)),)
    for base, fault in ((None, True), ("sha256:" + "3" * 64, False)):
        path = write_record(tmp_path / str(base), base_snapshot=base, left_out=left_out)
        found = {check.name for check in verify_record(path, require_signature=False) if not check.ok}
        assert found == ({"snapshot"} if fault else set())

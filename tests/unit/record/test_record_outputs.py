"""What programs printed: every byte of it is in the record, or the record says how many are not."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_runner.errors import VerificationError
from sandbox_runner.guest.wire import OUTPUT_LIMIT
from sandbox_runner.record import PolicyInfo, RunDirectory, RunInfo, RunRecord, RunStatus, TrailInfo, layout
from sandbox_runner.record.outputs import LINE_BYTES, in_line, output_in_line, read_output
from sandbox_runner.trail.operations import TrailOpcodes
from sandbox_runner.world.call import Call, Outcome, Printed, Status

ZERO = "0" * 64


def begun(root: Path) -> RunDirectory:
    info = RunInfo(
        run_id="run",
        created_at="2026-01-01T00:00:00Z",
        trail=TrailInfo(sha256=ZERO, bytes=1, version=1, steps=9),
        policy=PolicyInfo(name="p", sha256=ZERO),
    )
    return RunDirectory.create(root, info, trail=b"t", policy=b"{}")


def recorded(root: Path, *outputs: Printed, steps: tuple[int, ...] = (), seal: bool = True) -> RunRecord:
    with begun(root) as directory:
        recorder = directory.recorder()
        for at, printed in enumerate(outputs):
            step = steps[at] if steps else at
            recorder.dispatch(
                Call(TrailOpcodes.TEST_RUN, "test_run", {"test_path": "t", "expected": 0}, step)
            )
            recorder.record(Outcome(Status.FAILED, "test_run: ERROR", {}, 0, {"output": "short"}, printed))
        if seal:
            directory.seal(status=RunStatus.FAILED, exit_code=1, steps={"total": 9})
    return RunRecord.load(directory.path)


def whole(data: bytes) -> Printed:
    return Printed(data, len(data), len(data))


def files(record: RunRecord) -> list[str]:
    return [artifact.path for artifact in record.result.artifacts]


def test_a_short_output_is_in_its_line_and_makes_no_file(tmp_path: Path) -> None:
    record = recorded(tmp_path, whole("grün\n".encode()))
    (line,) = record.calls()
    assert line.meta["details"] == {"output": "grün\n"}
    assert files(record) == []
    assert read_output(record, line).head == "grün\n".encode()


@pytest.mark.parametrize("data", [b"\xff", b"a\n" * LINE_BYTES, b"x" * (LINE_BYTES + 1)])
def test_an_output_that_no_line_can_hold_is_a_sealed_private_file(tmp_path: Path, data: bytes) -> None:
    record = recorded(tmp_path, whole(b"fine"), whole(data))
    _, line = record.calls()
    assert files(record) == ["outputs/step-2.out"]
    path = record.path / layout.ARTIFACTS / "outputs/step-2.out"
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (data, 0o600)
    assert read_output(record, line).head == data
    path.write_bytes(data + b"!")
    with pytest.raises(VerificationError, match="not the file that was recorded"):
        read_output(record, line)


def test_beginning_and_end_are_in_the_line_and_what_is_missing_is_counted(tmp_path: Path) -> None:
    data = b"BEGIN" + b"." * 100_000 + b"FAILED here"
    record = recorded(tmp_path, Printed(data, 10**10, 60_000))
    (line,) = record.calls()
    short, kept = output_in_line(line), read_output(record, line)
    assert short.head.startswith(b"BEGIN")
    assert short.tail.endswith(b"FAILED here")
    assert len(short.head) + len(short.tail) == LINE_BYTES
    assert short.total == kept.total == 10**10
    assert (kept.head, kept.tail) == (data[:60_000], data[60_000:])


@given(
    data=st.binary(max_size=60), cut=st.integers(0, 60), missing=st.integers(0, 5), scale=st.integers(1, 900)
)
def test_a_line_accounts_for_every_byte(data: bytes, cut: int, missing: int, scale: int) -> None:
    data = data.replace(b"\x80", b"\n").decode("ascii", "ignore").encode() * scale
    printed = Printed(data, len(data) + missing, min(cut * scale, len(data)) if missing else len(data))
    said = in_line(data, printed)
    if isinstance(said, str):
        assert said.encode() == data
        assert not missing
        return
    head, tail = said["head"].encode(), said["tail"].encode()
    assert len(head) + len(tail) + said["missing"] == said["bytes"] == printed.total
    assert data[: printed.cut_at].startswith(head)
    assert data[printed.cut_at if missing else 0 :].endswith(tail)
    assert len(head) + len(tail) <= LINE_BYTES


def test_a_run_keeps_so_much_and_says_of_the_rest_that_it_is_left_out(tmp_path: Path) -> None:
    flood = whole(b"x" * OUTPUT_LIMIT)
    record = recorded(tmp_path, *[flood] * 9)
    lines = list(record.calls())
    assert len(files(record)) == layout.OUTPUTS_BYTES // OUTPUT_LIMIT == 8
    assert "64 MiB" in read_output(record, lines[8]).left_out
    assert read_output(record, lines[7]).left_out == ""


def test_a_step_that_ran_twice_and_a_call_by_hand_have_files_of_their_own(tmp_path: Path) -> None:
    record = recorded(tmp_path, whole(b"\xfa"), whole(b"\xfb"), whole(b"\xfc"), steps=(3, 3, -1))
    assert files(record) == ["outputs/call-1.out", "outputs/call-2.out", "outputs/step-4.out"]
    assert [read_output(record, line).head for line in record.calls()] == [b"\xfa", b"\xfb", b"\xfc"]


def test_a_run_that_died_has_its_outputs_too(tmp_path: Path) -> None:
    record = recorded(tmp_path, whole(b"\xff" * 9), seal=False)
    (line,) = record.calls()
    assert read_output(record, line).head == b"\xff" * 9


@pytest.mark.parametrize(
    "change",
    [
        "outputs/step-1.out",
        {"path": "../../run.json"},
        {"path": "ledger.jsonl"},
        {"path": "outputs/step-7.out"},
        {"cut_at": 99},
        {"missing": -1},
        {"missing": 1.0},
        {"bytes": 8},
        {"bytes": None},
        {"sha256": ZERO},
        {"sha256": None},
    ],
)
def test_a_line_that_names_something_else_is_not_followed(tmp_path: Path, change: object) -> None:
    record = recorded(tmp_path, whole(b"\xff" * 9))
    (line,) = record.calls()
    named = line.meta["details"]["output_file"]
    assert named == {
        "path": "outputs/step-1.out",
        "bytes": 9,
        "sha256": hashlib.sha256(b"\xff" * 9).hexdigest(),
    }
    file = {**named, **change} if isinstance(change, dict) else change
    forged = type(line)(line.fact, {"details": {"output": "x", "output_file": file}}, line.digest)
    with pytest.raises(VerificationError):
        read_output(record, forged)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (7, None),
        ("", None),
        ({"head": 7, "tail": [], "missing": "x"}, b""),
        ({"head": "a", "bytes": 9}, b"a"),
    ],
)
def test_whatever_a_strangers_line_says_of_its_output_is_read(tmp_path: Path, said: object, text) -> None:
    record = recorded(tmp_path, whole(b"x"))
    (line,) = record.calls()
    found = output_in_line(type(line)(line.fact, {"details": {"output": said}}, line.digest))
    assert (found and found.head) == text

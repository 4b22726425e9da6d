"""The run directory: born whole, sealed in one step, honest about a death and a full disk."""

import os
import re
import resource
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox_runner.errors import InputError, StoreError, VerificationError
from sandbox_runner.record import (
    PolicyInfo,
    RunDirectory,
    RunInfo,
    RunRecord,
    RunState,
    RunStatus,
    StepCounts,
    TrailInfo,
    layout,
    list_runs,
    new_run_id,
    now_text,
)
from sandbox_runner.trail import TrailOpcodes
from sandbox_runner.world import Call, Outcome, Status


def info(run_id: str = "r1") -> RunInfo:
    return RunInfo(
        run_id=run_id,
        created_at=now_text(),
        trail=TrailInfo(sha256="a" * 64, bytes=1, version=1, steps=3, source="evil\x1b[2J\udcff.json"),
        policy=PolicyInfo(name="default", sha256="b" * 64),
    )


def create(root: Path, run_id: str = "r1") -> RunDirectory:
    return RunDirectory.create(root, info(run_id), trail=b"t", policy=b"{}")


def seal(directory: RunDirectory, status: RunStatus = RunStatus.SUCCESS) -> None:
    directory.seal(status=status, exit_code=0, steps=StepCounts())


def read(step: int = 0) -> Call:
    return Call(TrailOpcodes.FILE_READ, "file_read", {"path": "a"}, step)


def test_a_record_is_private_to_its_owner(write_record: Callable[..., Path], tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        record = write_record(tmp_path / "runs")
    finally:
        os.umask(old)
    for path in [record, *record.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_sealed_record_holds_the_files_of_the_design_and_nothing_else(
    write_record: Callable[..., Path], tmp_path: Path
) -> None:
    record = write_record(tmp_path)
    assert sorted(str(path.relative_to(record)) for path in record.rglob("*") if path.is_file()) == [
        "artifacts/pushes/repository-0123456789abcdef.bundle",
        "attestation.json",
        "calls.jsonl",
        "meta-trail.flux",
        "policy.json",
        "result.json",
        "run.json",
        "trail.flux",
    ]


def test_while_its_owner_lives_a_run_reads_as_running(tmp_path: Path) -> None:
    with create(tmp_path) as directory:
        assert RunRecord.load(directory.path).state is RunState.RUNNING
        seal(directory)
        assert RunRecord.load(directory.path).state is RunState.COMPLETE


def test_a_run_whose_owner_died_reads_as_interrupted(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from test_record_directory import create, read
        directory = create(Path(sys.argv[1]))
        recorder = directory.recorder()
        recorder.dispatch(read(1))
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), str(Path(__file__).parent)], check=False, timeout=60
    )
    record = RunRecord.load(tmp_path / "r1")
    assert (record.state, record.info.state, record.result) == (RunState.INTERRUPTED, RunState.RUNNING, None)
    assert [(call.seq, call.step, call.method) for call in record.in_doubt()] == [(0, 1, "file_read")]
    assert list(record.calls()) == []


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (RunStatus.SUCCESS, RunState.COMPLETE),
        (RunStatus.REFUSED, RunState.COMPLETE),
        (RunStatus.DRY_RUN, RunState.COMPLETE),
        (RunStatus.INTERRUPTED, RunState.INTERRUPTED),
        (RunStatus.ERROR, RunState.ERROR),
    ],
)
def test_the_state_of_a_sealed_record_follows_its_status(
    tmp_path: Path, status: RunStatus, state: RunState
) -> None:
    with create(tmp_path) as directory:
        seal(directory, status)
    assert RunRecord.load(directory.path).state is state


def test_a_torn_last_line_of_a_dead_run_is_left_out(tmp_path: Path) -> None:
    with create(tmp_path) as directory:
        recorder = directory.recorder()
        recorder.dispatch(read())
        recorder.record(Outcome(Status.OK, "ok"))
    with (directory.path / layout.CALLS).open("ab") as log:
        log.write(b'{"digest":"0')
    assert [line.seq for line in RunRecord.load(directory.path).calls()] == [0]


def test_calls_in_doubt_are_named_in_the_result(tmp_path: Path) -> None:
    with create(tmp_path) as directory:
        directory.recorder().dispatch(read(5))
        seal(directory, RunStatus.ERROR)
    assert [call.step for call in RunRecord.load(directory.path).in_doubt()] == [5]
    assert not (directory.path / layout.DISPATCHED).exists()


def test_a_second_record_of_the_same_name_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with create(tmp_path), pytest.raises(StoreError, match="cannot create"):
        create(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r1"]


def test_facts_that_become_known_are_added(tmp_path: Path) -> None:
    with create(tmp_path) as directory:
        directory.update(runtime="runsc", base_snapshot="c" * 64)
        assert RunRecord.load(directory.path).info.runtime == "runsc"
        with pytest.raises(ValueError, match="rntime"):
            directory.update(rntime="runsc")


def test_a_name_from_outside_is_kept_as_its_escape(tmp_path: Path) -> None:
    with create(tmp_path) as directory:
        assert RunRecord.load(directory.path).info.trail.source == "evil\\x1b[2J\\udcff.json"


@pytest.mark.parametrize("path", ["../x", "/x", "a/../x", "a//b", "", ".", "a/.", "a\0b"])
def test_an_artifact_stays_inside_its_folder(tmp_path: Path, path: str) -> None:
    with create(tmp_path) as directory, pytest.raises(StoreError, match="artifact"):
        directory.add_artifact(path, b"")


def test_an_artifact_is_written_once(tmp_path: Path) -> None:
    with create(tmp_path) as directory:
        directory.add_artifact("a/b", b"1")
        with pytest.raises(StoreError, match="already"):
            directory.add_artifact("a/b", b"2")


def test_past_runs_are_listed_newest_first_with_the_damaged_ones(tmp_path: Path) -> None:
    for name in ("20260101T000000Z-a", "20260102T000000Z-b", "20260103T000000Z-c"):
        with create(tmp_path, name) as directory:
            seal(directory)
    (tmp_path / "20260102T000000Z-b" / "run.json").write_text("{")
    (tmp_path / ".hidden").mkdir()
    runs = list_runs(tmp_path)
    assert [isinstance(run, VerificationError) for run in runs] == [False, True, False]
    assert isinstance(runs[0], RunRecord)
    assert runs[0].run_id == "20260103T000000Z-c"
    assert list_runs(tmp_path / "nowhere") == []


def test_names_of_runs_sort_as_they_were_given_also_within_one_second_and_over_processes() -> None:
    names: list[str] = []
    (mine, yours), (theirs, ours) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:  # answers every byte with a name of its own
        try:
            while os.read(mine, 1) == b"?":
                os.write(ours, new_run_id().encode().ljust(64))
        finally:
            os._exit(0)
    for _ in range(200):
        names += [new_run_id(), new_run_id()]
        os.write(yours, b"?")
        names.append(os.read(theirs, 64).decode().strip())
    os.write(yours, b".")
    os.waitpid(child, 0)
    for descriptor in (mine, yours, theirs, ours):
        os.close(descriptor)
    assert names == sorted(set(names))
    assert len({name[:16] for name in names}) < 10  # so some were of one second
    assert all(re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{12}", name) for name in names)


def test_a_place_without_a_record_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run record"):
        RunRecord.load(tmp_path)


def limited_to(size: int, root: Path, body: str) -> subprocess.CompletedProcess[str]:
    """Run ``body`` in a process whose files end at ``size`` bytes: the kernel cuts writes short there."""
    program = textwrap.dedent("""
        import resource, signal, sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from test_record_directory import *
        root = Path(sys.argv[1])
    """) + textwrap.dedent(body)
    return subprocess.run(
        [sys.executable, "-c", program, str(root), str(Path(__file__).parent)],
        check=False,
        timeout=60,
        text=True,
        capture_output=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )


def test_a_line_that_does_not_fit_on_the_disk_is_taken_back(tmp_path: Path) -> None:
    done = limited_to(
        2500,
        tmp_path,
        """
        directory = create(root)
        recorder = directory.recorder()
        try:
            for step in range(50):
                recorder.dispatch(read(step))
                recorder.record(Outcome(Status.OK, "ok"))
        except StoreError as error:
            print(error)
        try:
            recorder.record(Outcome(Status.OK, "ok"))
        except StoreError as error:
            print(error)
        """,
    )
    assert "free some space" in done.stdout, done.stderr
    assert "an earlier write failed" in done.stdout
    assert (tmp_path / "r1" / "calls.jsonl").read_bytes().endswith(b"}\n")
    record = RunRecord.load(tmp_path / "r1")
    assert [line.seq for line in record.calls()] == list(range(len(list(record.calls()))))
    assert len(record.in_doubt()) == 1


def test_a_full_disk_at_the_end_leaves_a_record_that_does_not_look_whole(tmp_path: Path) -> None:
    done = limited_to(
        2500,
        tmp_path,
        """
        with create(root) as directory:
            try:
                directory.seal(status=RunStatus.SUCCESS, exit_code=0, steps=StepCounts(), error="y" * 5000)
            except StoreError as error:
                print(error)
        """,
    )
    assert "free some space" in done.stdout, done.stderr
    record = RunRecord.load(tmp_path / "r1")
    assert (record.state, record.result) == (RunState.INTERRUPTED, None)
    assert not [path for path in (tmp_path / "r1").iterdir() if path.name.endswith(".part")]


def test_a_full_disk_at_the_start_leaves_nothing(tmp_path: Path) -> None:
    done = limited_to(
        100,
        tmp_path,
        """
        try:
            create(root)
        except StoreError as error:
            print(error)
        """,
    )
    assert "free some space" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []

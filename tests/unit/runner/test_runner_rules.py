"""The runner's pure rules: input, tenants, the sandbox a trail gets, what a run came to."""

from pathlib import Path

import pytest

from sandbox_runner.errors import (
    ConfigurationError,
    ExitCode,
    InputError,
    RefusedError,
    SnapshotError,
    TrailError,
    WorkspaceError,
)
from sandbox_runner.policy import Policy, admit, withhold
from sandbox_runner.record import RunStatus, trusted_keys, verify_record
from sandbox_runner.replay import TrailEvent
from sandbox_runner.runner.home import Home
from sandbox_runner.runner.inputs import read_input
from sandbox_runner.runner.plan import principal_of, runtime_of, sandbox_spec
from sandbox_runner.runner.progress import Phase
from sandbox_runner.runner.runner import Runner
from sandbox_runner.runner.summary import outcome_of, refusals_of, verdict_source
from sandbox_runner.trail import TrailOpcodes, compile_worklog, load
from sandbox_runner.world import Status

EXAMPLES = Path(__file__).parents[2] / "data" / "examples"
BEGIN = {"op": "TRAIL_BEGIN", "agent": "ann", "trail_id": "t", "ts": 1_753_000_000}
END = {"op": "TRAIL_END", "status": 0}


def trail_of(*entries: dict[str, object]):
    return load(compile_worklog([BEGIN, *entries, END]))


def event(status: Status) -> TrailEvent:
    return TrailEvent(step_index=0, opcode=TrailOpcodes.FILE_READ, status=status)


def test_a_worklog_and_its_bytes_are_the_same_input(tmp_path: Path) -> None:
    worklog = read_input(EXAMPLES / "bugfix" / "worklog.json")
    (tmp_path / "t.flux").write_bytes(worklog.trail.data)
    assert read_input(tmp_path / "t.flux").trail == worklog.trail
    assert worklog.source == "worklog.json"
    (tmp_path / "marked.json").write_bytes(
        b"\xef\xbb\xbf \n" + (EXAMPLES / "bugfix" / "worklog.json").read_bytes()
    )
    assert read_input(tmp_path / "marked.json").trail == worklog.trail


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty", b"", "is empty"),
        ("text", b"hello", "neither a trail nor a worklog: it begins with byte 0x68"),
        ("cut", compile_worklog([BEGIN, END])[:-3], "offset"),
    ],
)
def test_what_is_no_trail_is_refused_by_name_and_place(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TrailError, match=words):
        read_input(path)


def test_a_missing_file_and_a_directory_are_no_trail(tmp_path: Path) -> None:
    with pytest.raises(TrailError, match="No such file"):
        read_input(tmp_path / "absent")
    with pytest.raises(TrailError, match="is a directory"):
        read_input(tmp_path)


@pytest.mark.parametrize("name", ["..", "a/b", "", "A", ".hidden", "x" * 64, "a\n"])
def test_a_tenant_whose_name_could_be_a_path_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="tenant name"):
        Home(tmp_path).runs(name)


def test_tenants_share_no_folder(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.runs("a").parent != home.runs("b").parent
    assert home.store("a").layout.root.parent == home.runs("a").parent


def test_state_directories_are_private(tmp_path: Path) -> None:
    home = Home(tmp_path / "new")
    assert home.runs().stat().st_mode & 0o077 == 0
    assert home.keys.stat().st_mode & 0o077 == 0


def test_a_run_takes_a_directory_or_a_snapshot_but_not_both(tmp_path: Path) -> None:
    runner = Runner(policy=Policy.load("default"), home=Home(tmp_path))
    with pytest.raises(SnapshotError, match="not on both"):
        runner.run(compile_worklog([BEGIN, END]), workspace=tmp_path, base="abcd")
    with pytest.raises(WorkspaceError, match="does not exist"):
        runner.run(compile_worklog([BEGIN, END]), workspace=tmp_path / "absent")
    with pytest.raises(WorkspaceError, match="needs a workspace"):
        runner.run(compile_worklog([BEGIN, END]), bind=True)
    assert not any(Home(tmp_path).runs().iterdir())


def test_a_refused_trail_leaves_a_record_and_needs_no_docker(tmp_path: Path) -> None:
    runner = Runner(policy=Policy.load("strict"), home=Home(tmp_path))
    record = runner.run(EXAMPLES / "hostile" / "worklog.json")
    assert record.result is not None
    assert record.result.status is RunStatus.REFUSED
    assert record.result.exit_code == ExitCode.REFUSED
    assert [violation["step"] for violation in record.result.violations] == [2, 3, 4]
    assert record.info.runtime is None


def test_what_admission_refuses_is_on_the_record_like_any_call_and_verifies(tmp_path: Path) -> None:
    home, seen = Home(tmp_path), []
    runner = Runner(policy=Policy.load("strict"), home=home, on_progress=seen.append)
    record = runner.run(EXAMPLES / "hostile" / "worklog.json")
    assert [(line.step, line.status, line.fact["details"]["rule"]) for line in record.calls()] == [
        (2, Status.REFUSED, "paths.form"),
        (3, Status.REFUSED, "paths.form"),
        (4, Status.REFUSED, "paths.git"),
    ]
    assert [event.phase for event in seen] == [Phase.REFUSED, Phase.CLOSED]
    assert all(check.ok for check in verify_record(record.path, trusted=trusted_keys(home.keys)))
    log = record.path / "calls.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))
    assert not all(check.ok for check in verify_record(record.path, trusted=trusted_keys(home.keys)))


def test_a_dry_run_lists_every_step_and_needs_no_docker(tmp_path: Path) -> None:
    runner = Runner(policy=Policy.load("default"), home=Home(tmp_path))
    record = runner.run(EXAMPLES / "bugfix" / "worklog.json", dry_run=True)
    assert record.result is not None
    assert record.result.status is RunStatus.DRY_RUN
    assert len(record.result.events) == record.info.trail.steps
    assert record.result.snapshot is None


def test_the_sandbox_gets_ids_that_depend_on_the_trail_alone() -> None:
    policy, trail = Policy.load("default"), trail_of({"op": "FILE_READ", "path": "a"})
    privileges = withhold(policy, admit(trail, policy).manifest)
    specs = [
        sandbox_spec(trail, policy, privileges, run_id=run_id, image=None, runtime="runc", principal="ann")
        for run_id in ("one", "two")
    ]
    assert specs[0].guest == specs[1].guest
    assert specs[0].guest["run_id"] == trail.sha256[:16]
    assert specs[0].guest["clock"] == 1_753_000_000


def test_a_wish_chooses_a_runtime_only_where_the_policy_leaves_the_choice() -> None:
    free, bound = Policy.load("default"), Policy.from_mapping({"policy": 1, "runtime": "runsc"})
    assert runtime_of(free, None) == "auto"
    assert runtime_of(free, "runc") == "runc"
    assert runtime_of(bound, "auto") == runtime_of(bound, "runsc") == "runsc"
    with pytest.raises(RefusedError, match="runsc and no other"):
        runtime_of(bound, "runc")


def test_the_principal_is_the_callers_word_then_the_trails_agent() -> None:
    trail = trail_of()
    assert principal_of(trail, "bob") == "bob"
    assert principal_of(trail, None) == "ann"


@pytest.mark.parametrize(
    ("statuses", "status", "code"),
    [
        ([Status.OK, Status.SKIPPED], RunStatus.SUCCESS, ExitCode.OK),
        ([Status.OK, Status.FAILED], RunStatus.FAILED, ExitCode.STEP_FAILED),
        ([Status.FAILED, Status.REFUSED], RunStatus.REFUSED, ExitCode.REFUSED),
    ],
)
def test_the_gravest_step_decides(statuses: list[Status], status: RunStatus, code: ExitCode) -> None:
    assert outcome_of([event(one) for one in statuses]) == (status, code)


def test_a_refused_marker_becomes_a_refused_event_and_a_refused_call_is_the_guards() -> None:
    policy = Policy.from_mapping({"policy": 1, "on_violation": "skip", "opcodes": ["FILE_READ"]})
    trail = trail_of({"op": "COMMENT", "comment": "no"}, {"op": "FILE_WRITE", "path": "a", "content": "b"})
    admission = admit(trail, policy)
    assert set(admission.refused) == {1, 2}
    assert set(refusals_of(trail, admission)) == {1}


def test_a_verdict_without_tests_has_no_source() -> None:
    policy = Policy.load("default")
    without = withhold(policy, admit(trail_of(), policy).manifest)
    with_tests = withhold(policy, admit(trail_of({"op": "TEST_RUN", "path": "tests"}), policy).manifest)
    assert verdict_source(policy, without) is None
    assert "self-reported" in str(verdict_source(policy, with_tests))


@pytest.mark.parametrize("policy", [None, 5, b"default", {}, "no-such-policy", "\0"])
def test_a_policy_of_no_use_is_told_in_words(policy: object, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="policy"):
        Runner(policy=policy, home=tmp_path)  # type: ignore[arg-type]


def test_a_runner_takes_the_name_of_a_policy_and_the_entries_of_a_worklog(tmp_path: Path) -> None:
    runner = Runner(policy="default", home=tmp_path / "home")
    assert runner.policy == Policy.load("default")
    assert read_input([BEGIN, END]).trail == trail_of()
    assert read_input(trail_of()).trail == trail_of()
    assert read_input(bytearray(trail_of().data)).trail == trail_of()
    record = runner.run([BEGIN, {"op": "FILE_READ", "path": "a"}, END], dry_run=True, exclude="*.log")
    assert record.result.status is RunStatus.DRY_RUN


@pytest.mark.parametrize(
    "trail", [5, None, 0.5, object(), {}, [5], [None, {}], [{"op": 5}], "", "\0", b"", []]
)
def test_what_can_be_no_trail_is_told_in_words(trail: object, tmp_path: Path) -> None:
    with pytest.raises(TrailError):
        Runner(policy="default", home=tmp_path).run(trail)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["workspace", "base", "exclude", "runs", "labels"])
@pytest.mark.parametrize("wrong", [5, b"x", object(), [5], {5: 5}, {"a": None}, 0.5, True])
def test_an_argument_of_the_wrong_type_is_named(name: str, wrong: object, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=name):
        Runner(policy="default", home=tmp_path).run([BEGIN, END], dry_run=True, **{name: wrong})  # type: ignore[arg-type]

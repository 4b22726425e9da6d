from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sandbox_runner.errors import PolicyError
from sandbox_runner.policy import SHIPPED, GuardedWorld, Policy, admit, shipped_path
from sandbox_runner.policy.narrowing import narrow
from sandbox_runner.trail import OPERATIONS, compile_worklog, load
from sandbox_runner.world import MockWorld

FRAME = [{"op": "TRAIL_BEGIN", "agent": "a", "trail_id": "t", "ts": 1}, {"op": "TRAIL_END", "status": 0}]
DESIGN = """
policy: 1                          # schema version; unknown keys are errors with their line
name: strict
opcodes: [FILE_READ, FILE_WRITE, FILE_EDIT, SEARCH_CODE, TEST_RUN, GIT_COMMIT, COMMENT, LABEL, NOP, BRANCH]
paths:                             # gitignore-style patterns on the normal form
  read:  ["**"]
  write: ["src/**", "tests/**"]
  deny:  ["**/.env", "secrets/**"] # beats read and write; .git internals are always denied to file operations
git:       {repositories: {0: ".", 1: "."}, push: deny}            # deny | quarantine
tests:     {paths: ["tests/**"], timeout_s: 60}
search:    {max_pattern_bytes: 512}
bottles:   {targets: ["oracle-*"], max_count: 100, max_bytes: 65536}
fleet:     {spells: [], rooms: ["*"], undeclared_spell: skip, empty_bottle: skip, capabilities: []}
budget:
  {steps: 10000, wall_clock_s: 600, output_bytes: 16MiB, write_bytes: 64MiB, per_opcode: {TEST_RUN: 20}}
resources: {cpus: 1.0, memory: 512MiB, pids: 128, workspace: 256MiB,
            workspace_inodes: 50000, tmp: 64MiB, open_files: 1024}
runtime: auto
network: none
on_violation: refuse
"""


def write(directory: Path, text: str) -> Path:
    file = directory / "policy.yaml"
    file.write_text(text)
    return file


def test_the_documented_example_loads_with_its_units(tmp_path: Path) -> None:
    policy = Policy.load(write(tmp_path, DESIGN))
    assert policy.budget.output_bytes == 16 * 1024 * 1024
    assert policy.resources.memory == 512 * 1024 * 1024
    assert policy.resources.cpus == 1.0
    assert dict(policy.git.repositories) == {"0": ".", "1": "."}
    assert policy.paths.deny == ("**/.env", "secrets/**")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_policy_loads_and_comments_every_key(name: str) -> None:
    assert Policy.load(name).name == name
    keys = ["policy", "name", "runtime", "network", "on_violation", "unsafe", "seal"]
    for section in ("paths", "git", "tests", "search", "bottles", "fleet", "budget", "resources"):
        keys += (
            getattr(Policy.load(name), section).model_fields_set
            | type(getattr(Policy.load(name), section)).model_fields.keys()
        )
    lines = shipped_path(name).read_text().splitlines()
    for key in keys:
        at = next(index for index, line in enumerate(lines) if line.strip().startswith(f"{key}:"))
        assert "#" in lines[at] or lines[at - 1].strip().startswith("#"), key


def test_the_default_policy_allows_all_operations_and_the_others_fewer() -> None:
    everything = {opcode.name for opcode in OPERATIONS} - {"TRAIL_BEGIN", "TRAIL_END"}
    assert {*Policy.load("default").opcodes} == everything
    assert {*Policy.load("unsafe-open").opcodes} == everything
    assert {*Policy.load("strict").opcodes} < everything
    assert not {*Policy.load("read-only").opcodes} & {"FILE_WRITE", "FILE_EDIT", "GIT_COMMIT", "TEST_RUN"}


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("policy: 1\nopcode: [NOP]\n", 2, "unknown key 'opcode'; did you mean 'opcodes'?"),
        (
            "policy: 1\nbudget:\n  steps: 1\n  stepz: 2\n",
            4,
            "unknown key 'budget.stepz'; did you mean 'steps'?",
        ),
        ("policy: 1\nfleet:\n  room_rules:\n    vault: {leval: 2}\n", 4, "did you mean 'level'?"),
        (
            "policy: 1\n\nresources: {memory: 12parsec}\n",
            3,
            "resources.memory: a size is a whole number of bytes",
        ),
        ("policy: 1\ngit:\n  push: allow\n", 3, "git.push: input should be 'deny' or 'quarantine'"),
        (
            "policy: 1\nopcodes: [FILE_WRIT]\n",
            2,
            "opcodes: 'FILE_WRIT' is no operation; did you mean 'FILE_WRITE'?",
        ),
        ("policy: 1\nbudget: {steps: 1}\nbudget: {steps: 2}\n", 3, "the key 'budget' stands twice"),
        ("policy: 1\nopcodes:\n", 2, "the key 'opcodes' has no value"),
        ('policy: 1\npaths: {deny: ["!x"]}\n', 2, "as a comment, a negation or nothing at all"),
        ("policy: 3\n", 1, "policy: the version of the format is 1"),
        ("name: x\n", None, "the key 'policy' is missing"),
    ],
)
def test_an_error_names_file_line_key_and_the_nearest_valid_one(
    tmp_path: Path, text: str, line: int | None, message: str
) -> None:
    file = write(tmp_path, text)
    with pytest.raises(PolicyError) as caught:
        Policy.load(file)
    assert message in str(caught.value)
    assert caught.value.line == line
    assert caught.value.source == str(file)
    assert (f"{file}:{line}: " if line else f"{file}: ") in str(caught.value)


def test_further_errors_stand_in_the_hint(tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        Policy.load(write(tmp_path, "policy: 1\nnam: x\nbudget: {steps: -1}\n"))
    assert "unknown key 'nam'; did you mean 'name'?" in f"{caught.value} {caught.value.hint}"
    assert "budget.steps" in f"{caught.value} {caught.value.hint}"


def test_a_misspelt_name_is_answered_with_the_nearest_shipped_one() -> None:
    with pytest.raises(PolicyError, match="did you mean 'strict'") as caught:
        Policy.load("strickt")
    assert "read-only" in str(caught.value.hint)


def test_a_canonical_policy_loads_from_a_file(tmp_path: Path) -> None:
    both = Policy.load("default").intersect(Policy.load("strict"))
    file = tmp_path / "policy.json"
    file.write_bytes(both.canonical())
    assert Policy.load(file) == both
    assert both.name == "default+strict"
    assert json.loads(both.canonical())["paths"]["write"] == ["src/**", "tests/**"]


def test_spelling_does_not_change_the_digest() -> None:
    one = Policy.from_mapping({"policy": 1, "opcodes": ["NOP", "LABEL"], "budget": {"write_bytes": "1KiB"}})
    other = Policy.from_mapping(
        {"policy": 1, "opcodes": ["LABEL", "NOP", "NOP"], "budget": {"write_bytes": 1024}}
    )
    assert one.sha256 == other.sha256
    assert one == other


def test_a_copy_with_changed_fields_judges_by_the_changed_fields() -> None:
    policy = Policy.load("default")
    assert policy.judge
    assert policy.sha256 != policy.model_copy(update={"opcodes": ()}).sha256
    assert policy.model_copy(update={"opcodes": ()}).judge is not policy.judge
    with pytest.raises(PolicyError):
        policy.model_copy(update={"opcodes": ("X",)})


def test_a_policy_does_not_change() -> None:
    policy = Policy.load("default")
    with pytest.raises(ValueError, match="frozen"):
        policy.opcodes = ()  # type: ignore[misc]
    with pytest.raises(TypeError):
        policy.git.repositories["2"] = "x"  # type: ignore[index]


def test_every_field_says_how_it_narrows() -> None:
    policy = Policy.load("default")
    assert narrow(policy, policy) == policy  # raises where a field has no rule


def test_the_unsafe_policy_warns_at_every_use() -> None:
    trail = load(compile_worklog(FRAME))
    for name, warnings in (("unsafe-open", 2), ("default", 0)):
        policy = Policy.load(name)
        with capture_logs() as logs:
            admit(trail, policy)
            GuardedWorld(MockWorld(), policy)
        assert [entry["event"] for entry in logs] == ["policy.unsafe"] * warnings
        assert all(entry["log_level"] == "warning" and entry["policy"] == name for entry in logs)


def test_the_warning_stays_off_stdout_in_a_program_that_never_heard_of_structlog() -> None:
    program = "from sandbox_runner import *; GuardedWorld(MockWorld(), Policy.load('unsafe-open'))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == ""
    assert done.stderr.startswith("level='warning' event='policy.unsafe' policy='unsafe-open'")
    assert len(done.stderr.splitlines()) == 1

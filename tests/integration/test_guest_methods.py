"""The fourteen methods in a real sandbox: the reference's texts, effects in the workspace, facts."""

import hashlib
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox_runner.sandbox import ContainerWorld, Engine, Image, SandboxSpec
from sandbox_runner.trail.operations import METHODS
from sandbox_runner.world import Call, Outcome, Status

pytestmark = pytest.mark.docker

GUEST = {
    "principal": "ada",
    "clock": 1_700_000_000,
    "push": "quarantine",
    "repositories": {"0": ".", "1": "lib"},
    "tests": {"timeout_s": 20},
    "fleet": {
        "spells": [
            {"name": "list", "argv": ["python3", "-c", "print(6 * 7)"]},
            {"name": "gone", "argv": ["nope"]},
        ]
    },
}


@pytest.fixture(scope="module")
def world(engine: Engine, image: Image) -> Iterator[ContainerWorld]:
    with ContainerWorld.start(spec=SandboxSpec(runtime="runc", guest=GUEST), engine=engine) as world:
        yield world


@pytest.fixture
def do(world: ContainerWorld):
    def do(method: str, **arguments: Any) -> Outcome:
        return world.perform(Call(METHODS[method].opcode, method, arguments))

    return do


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_files_are_written_read_and_edited_byte_by_byte(do):
    first = do("file_write", path="a/b/ü.txt", content="één\r\ntwo\r\n")
    assert first.text == "file_write: a/b/ü.txt (10 chars)"
    assert (first.details["created"], first.details["sha256"]) == (True, digest("één\r\ntwo\r\n"))
    assert do("file_read", path="a/b/ü.txt").text == "file_read: a/b/ü.txt (10 chars)"
    edit = do("file_edit", path="a/b/ü.txt", old="two\r", new="2\r")
    assert edit.text == "file_edit: a/b/ü.txt (1 replacement)"
    assert (edit.details["line"], edit.details["sha256"]) == (2, digest("één\r\n2\r\n"))
    again = do("file_write", path="a/b/ü.txt", content="")
    assert (again.details["created"], again.details["old_sha256"]) == (False, digest("één\r\n2\r\n"))


@pytest.mark.parametrize(
    ("method", "arguments", "text"),
    [
        ("file_read", {"path": "none"}, "file_read: ERROR file not found: none"),
        ("file_read", {"path": ""}, "file_read: ERROR is a directory: "),
        ("file_write", {"path": "../x", "content": ""}, "file_write: ERROR path outside workspace: ../x"),
        ("file_write", {"path": "kept", "content": "y"}, "file_write: ERROR is a directory: kept"),
        ("file_write", {"path": "kept/f/g", "content": "y"}, "file_write: ERROR not a directory: kept/f/g"),
        ("file_edit", {"path": "kept/f", "old": "", "new": "y"}, "file_edit: ERROR empty old text"),
        (
            "file_edit",
            {"path": "kept/f", "old": "z", "new": "y"},
            "file_edit: ERROR old text not found in kept/f",
        ),
        (
            "file_edit",
            {"path": "kept/f", "old": "a", "new": "y"},
            "file_edit: ERROR old text found 2 times in kept/f",
        ),
        ("git_commit", {"repo": "9", "message": "m"}, "git_commit: ERROR unknown repository: 9"),
        ("git_commit", {"repo": "0", "message": " \n"}, "git_commit: ERROR empty message"),
        (
            "git_commit",
            {"repo": "0", "message": "m" * 70_000},
            "git_commit: ERROR message of 70000 bytes is over the limit of 32768",
        ),
        ("git_push", {"repo": "1"}, "git_push: ERROR not a git repository: 1"),
        ("search_code", {"pattern": "a("}, "search_code: ERROR invalid pattern: unclosed group"),
        (
            "search_code",
            {"pattern": "x" * 9000},
            "search_code: ERROR pattern of 9000 characters is over the limit of 8192",
        ),
        ("test_run", {"test_path": "none.py", "expected": 0}, "test_run: ERROR file not found: none.py"),
        (
            "spell_cast",
            {"spell": "gone"},
            "spell_cast: ERROR the image has no nope; use an image that has it",
        ),
    ],
)
def test_a_step_that_fails_says_why_in_one_sentence(do, method, arguments, text):
    do("file_write", path="kept/f", content="a a")
    do("file_write", path="lib/f", content="")
    outcome = do(method, **arguments)
    assert (outcome.status, outcome.text) == (Status.FAILED, text)


def test_a_replaced_file_keeps_its_mode(do):
    script = "import os\nos.chmod('tool.sh', 0o750)\ndef test_it(): pass\n"
    do("file_write", path="tool.sh", content="a")
    do("file_write", path="test_mode.py", content=script)
    assert do("test_run", test_path="test_mode.py", expected=1).status is Status.OK
    do("file_write", path="tool.sh", content="b")
    do("file_edit", path="tool.sh", old="b", new="c")
    check = "import os\ndef test_it(): assert os.stat('tool.sh').st_mode & 0o777 == 0o750\n"
    do("file_write", path="test_mode.py", content=check)
    assert do("test_run", test_path="test_mode.py", expected=1).status is Status.OK


def test_search_counts_files_sorted_and_takes_any_pattern_as_a_pattern(do):
    for name in ("s/z.py", "s/a.py", "s/-e"):
        do("file_write", path=name, content="needle_7 --pre=evil\n")
    found = do("search_code", pattern=r"needle_\d")
    assert found.text == "search_code: 'needle_\\d' → 3 matches"
    assert found.details["files"] == ["s/-e", "s/a.py", "s/z.py"]
    assert do("search_code", pattern="--pre=evil").text == "search_code: '--pre=evil' → 3 matches"
    assert do("search_code", pattern="nothing like it").text == "search_code: 'nothing like it' → 0 matches"


def test_a_commit_is_the_same_everywhere_and_a_push_is_a_bundle_that_clones(world, do, tmp_path):
    do("file_write", path="lib/m.py", content="x = 1\n")
    first = do("git_commit", repo="1", message="-m first")
    assert first.text == "git_commit: -m first"
    assert first.details["initialised"]
    assert do("git_commit", repo="1", message="again").text == "git_commit: ERROR nothing to commit"
    pushed = do("git_push", repo="1")
    assert pushed.text == "git_push: 1"
    assert pushed.details["refs"] == {"refs/heads/main": [None, first.details["commit"]]}
    assert do("git_push", repo="1").details["up_to_date"]
    (bundle,) = list(world.sandbox.bundles())
    assert bundle.header["bundle"]["repository"] == "1"
    (tmp_path / "b").write_bytes(bundle.body)
    log = ["git", "-C", "clone", "log", "--format=%H %an %ae %at %s"]
    subprocess.run(["git", "clone", "-q", "b", "clone", "-b", "main"], cwd=tmp_path, check=True)
    shown = subprocess.run(log, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert shown == f"{first.details['commit']} ada agent@sandbox.invalid 1700000000 -m first\n"


def test_a_spell_with_a_command_runs_it_and_a_note_does_not(do):
    cast = do("spell_cast", spell="list")
    assert (cast.text, cast.details["exit"], cast.meta["output"]) == ("spell_cast: list", 0, "42\n")
    assert do("spell_cast", spell="unheard-of").status is Status.SKIPPED
    assert "kept" in do("spell_cast", spell="navigatium").details["entries"]


def test_a_name_of_any_length_costs_its_step_and_not_the_sandbox(do):
    for method, arguments in (
        ("room_enter", {"room": "r" * 100_000}),
        ("bottle_drop", {"target": "t" * 100_000, "content": ""}),
        ("file_read", {"path": "p/" * 100_000}),
        ("cap_issue", {"action": "a" * 100_000, "holder": "h"}),
    ):
        assert do(method, **arguments).status is Status.FAILED
    assert do("file_read", path="kept/f").status is Status.OK

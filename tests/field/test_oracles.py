"""The parts of this suite: steps that lead from one state to the other, and comparisons that can fail."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_runner.runner.home import Home
from tests.field.git import git, text
from tests.field.histories import History, of_commit, of_tree, recent_commits
from tests.field.madeup import earlier_states
from tests.field.replays import replay
from tests.field.steps import occurrences, steps_for
from tests.field.suites import Difference, expected_of
from tests.plain_pytest import Observed, Told

_LINES = st.lists(st.sampled_from([b"a\n", b"b\n", b"}\n", b"\r\n", b"x\xc3\xa9\r\n", b"last"])).map(b"".join)


@given(before=st.none() | _LINES, after=_LINES, whole=st.booleans())
def test_steps_lead_from_one_state_to_the_other_and_each_edit_names_one_place(
    before: bytes | None, after: bytes, whole: bool
) -> None:
    data = before
    for step in steps_for("f", before, after, whole=whole) or ():
        if step["op"] == "FILE_WRITE":
            data = step["content"].encode()
            continue
        old, new = step["old"].encode(), step["new"].encode()
        assert data is not None
        assert occurrences(data, old) == 1
        data = data.replace(old, new)
    assert data == after


def test_lines_that_are_utf8_can_be_edited_in_a_file_that_is_not() -> None:
    (step,) = steps_for("f", b"\xff\none\ntwo\n", b"\xff\none\nthree\n") or ()
    assert (step["op"], step["old"]) == ("FILE_EDIT", "two\n")
    assert steps_for("f", b"\xff\none\n", b"\xfe\none\n") is None


def test_a_made_up_history_ends_in_the_files_and_is_the_same_in_every_process() -> None:
    files = {f"{name}.py": b"def f():\r\n    return 1\r\n\n\ndef g():\n    pass\n" for name in "abcdefghij"}
    states = earlier_states(files, seed="s", commits=4)
    assert states[-1] == files
    assert all(before != after for before, after in itertools.pairwise(states))
    told = repr([sorted(state.items()) for state in states]).encode()
    assert hashlib.sha256(told).hexdigest().startswith("818e4b16df50f083")


@given(st.integers(0, 1 << 30))
def test_every_state_of_a_made_up_history_can_be_written_by_steps(seed: int) -> None:
    states = earlier_states(dict.fromkeys("abcde", b"n = 1\n"), seed=str(seed), commits=6)
    for state in states:
        for data in state.values():
            data.decode()


def test_a_known_difference_is_part_of_what_is_expected_and_changes_the_digest() -> None:
    plain = Observed((Told("t::a", ("passed",)), Told("t::b", ("passed",))), 0)
    expected = expected_of(plain, [Difference("t::b", "failed", "no network")])
    assert (expected.counts()["failed"], expected.end) == (1, 1)
    assert expected.digest() != plain.digest()
    assert expected_of(plain, []) == plain


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit that does what steps can do, and what they cannot."""
    place = tmp_path / "repository"
    (place / "d").mkdir(parents=True)
    git(place, "init", "-q", "-b", "main")
    for name, data in {
        "edited": b"1\r\n2\r\n1\r\n",
        "gone": b"x\n",
        "d/moded": b"x\n",
        "binary": b"\xff",
    }.items():
        (place / name).write_bytes(data)
    git(place, "add", "-A")
    git(place, "commit", "-qm", "one")
    (place / "edited").write_bytes(b"1\r\n2\r\n3\r\n")
    (place / "gone").unlink()
    (place / "d/moded").chmod(0o755)
    (place / "d/moded").write_bytes(b"y\n")
    (place / "binary").write_bytes(b"\xfe")
    (place / "new").write_text("é\n")
    (place / "tool").write_text("#!/bin/sh\n")
    (place / "tool").chmod(0o755)
    (place / "link").symlink_to("new")
    git(place, "add", "-A")
    git(place, "commit", "-qm", "two")
    return place


def _history(repository: Path, place: Path) -> History:
    (commit,) = recent_commits(repository, 5)
    return of_commit(repository, commit, place)


def test_what_no_step_can_write_of_a_commit_is_named_and_left_out_of_gits_tree_too(
    repository: Path, tmp_path: Path
) -> None:
    history = _history(repository, tmp_path / "place")
    assert sorted(history.left_out) == [
        "'binary': not UTF-8",
        "'d/moded': its mode changed",
        "'gone': deleted",
        "'link': a link or another repository",
        "'tool': new and executable",
    ]
    (commit,) = history.commits
    assert sorted(entry["path"] for entry in commit.entries) == ["d/moded", "edited", "new"]
    listed = text(history.oracle, "ls-tree", "-r", commit.tree)
    assert [row.split()[0::3] for row in listed.splitlines()] == [
        ["100644", name] for name in ("binary", "d/moded", "edited", "gone", "new")
    ]


@pytest.mark.docker
def test_a_replay_of_a_commit_has_gits_tree_and_one_that_has_not_is_told(
    repository: Path, tmp_path: Path
) -> None:
    history = _history(repository, tmp_path / "place")
    home = Home(tmp_path / "home")
    found = replay(history, home, runtime="runc")
    assert (found.equal, found.problems) == (1, [])
    assert not text(repository, "status", "--porcelain")
    (commit,) = history.commits
    wrong = dataclasses.replace(commit, entries=commit.entries[:-1])
    told = replay(dataclasses.replace(history, commits=[wrong]), home, runtime="runc")
    assert told.equal == 0
    assert len(told.problems) == 2  # the tree, and the file


def test_a_history_is_made_up_of_the_tree_alone(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in "abcdefgh":
        (tree / name).write_bytes(b"one\ntwo\r\nthree\n" * 3)
    history = of_tree(tree, tmp_path / "place", name="n", commits=2)
    assert text(history.oracle, "rev-parse", "HEAD^{tree}") == history.commits[-1].tree
    assert {path.name: path.read_bytes() for path in tree.iterdir()} == {
        path.name: path.read_bytes() for path in history.oracle.iterdir() if path.is_file()
    }

"""The files of a ``.git`` that the guest reads and writes itself."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox_runner.guest import git_files
from sandbox_runner.guest.git_survey import survey
from sandbox_runner.guest.outcome import StepError
from sandbox_runner.guest.scratch import remove_tree

ID = "1" * 40


@pytest.fixture
def git(tmp_path: Path) -> Iterator[int]:
    (tmp_path / ".git").mkdir()
    fd = os.open(tmp_path / ".git", os.O_RDONLY)
    yield fd
    os.close(fd)


def branch(name: bytes) -> bytes | None:
    try:
        return git_files.branch_of(b"ref: " + name)
    except StepError:
        return None


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                [b"/", b".", b"..", b".lock", b"@{", b"@", b"~", b" ", b"\\", b"a", b"-", b"\x7f"]
            ),
            st.binary(min_size=1, max_size=2),
        ),
        max_size=6,
    ).map(b"".join)
)
def test_a_name_is_a_branch_where_git_says_so(name: bytes) -> None:
    name = b"refs/heads/" + name.replace(b"\0", b"~")
    if name != name.strip():
        return  # git too takes blanks off the end of a HEAD before it looks
    said = subprocess.run([b"git", b"check-ref-format", name], check=False).returncode == 0
    assert (branch(name) == name) is said


@pytest.mark.parametrize("name", [b"HEAD", b"../x", b"refs/tags/x", b"refs/heads", b"refs/heads/a\0b", b""])
def test_what_is_below_no_heads_or_holds_a_nul_is_no_branch(name: bytes) -> None:
    assert branch(name) is None


def test_a_packed_reference_is_found_and_one_in_the_way_is_refused() -> None:
    text = f"# pack-refs with: peeled\n{ID} refs/heads/a/b\n^{ID}\n{ID} refs/tags/c\n".encode()
    assert git_files.packed(text, b"refs/heads/a/b") == ID
    assert git_files.packed(text, b"refs/heads/b") is None
    for name in (b"refs/heads/a", b"refs/heads/a/b/c"):
        with pytest.raises(StepError, match="in the way"):
            git_files.packed(text, name)


def test_a_reference_is_written_under_its_lock_or_not_at_all(git: int, tmp_path: Path) -> None:
    place = tmp_path / ".git/refs/heads/deep/main"

    def seen() -> None:
        assert (place.parent / "main.lock").read_text() == "new"
        assert not place.exists()

    git_files.replace(git, b"refs/heads/deep/main", b"new", seen)
    assert place.read_text() == "new"
    (place.parent / "main.lock").write_text("somebody's")
    with pytest.raises(StepError, match="file exists"):
        git_files.replace(git, b"refs/heads/deep/main", b"newer", lambda: None)
    (place.parent / "main.lock").unlink()

    def refuse() -> None:
        raise StepError("moved")

    with pytest.raises(StepError, match="moved"):
        git_files.replace(git, b"refs/heads/deep/main", b"newer", refuse)
    assert [path.name for path in place.parent.iterdir()] == ["main"]
    assert place.read_text() == "new"


@pytest.mark.parametrize("kind", ["fifo", "directory", "link", "link before it"])
def test_nothing_but_a_regular_file_is_read_or_written(git: int, tmp_path: Path, kind: str) -> None:
    outside, place = tmp_path / "outside", tmp_path / ".git/logs/HEAD"
    outside.mkdir()
    (outside / "HEAD").write_text("untouched")
    if kind == "link before it":
        place.parent.symlink_to(outside)
    else:
        place.parent.mkdir()
        if kind == "fifo":
            os.mkfifo(place)
        elif kind == "directory":
            place.mkdir()
        else:
            place.symlink_to(outside / "HEAD")
    for act in (
        lambda: git_files.read(git, b"logs/HEAD", 100),
        lambda: git_files.append(git, b"logs/HEAD", b"x"),
        lambda: git_files.must_be_file(git, b"logs/HEAD"),
        lambda: git_files.write_new(git, b"logs/HEAD", b"x"),
    ):
        with pytest.raises(StepError):
            act()
    assert (outside / "HEAD").read_text() == "untouched"


def test_what_is_missing_is_told_from_what_is_wrong(git: int, tmp_path: Path) -> None:
    assert git_files.read(git, b"no/where", 100) is None
    assert not git_files.must_be_file(git, b"no/where")
    assert git_files.names(git, b"no/where") == []
    assert git_files.loose(git, b"refs/heads/main") is None
    (tmp_path / ".git/refs/heads/main").mkdir(parents=True)
    assert git_files.loose(git, b"refs/heads/main") is None
    git_files.replace(git, b"refs/heads/main", ID.encode(), lambda: None)
    assert git_files.loose(git, b"refs/heads/main") == ID
    (tmp_path / ".git/refs/heads/main").write_text("ref: refs/heads/other\n")
    with pytest.raises(StepError, match="names no object"):
        git_files.loose(git, b"refs/heads/main")


def test_a_survey_counts_what_is_there_and_leaves_no_descriptor_open(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "a/b").mkdir(parents=True)
    os.mkfifo(tmp_path / "a/pipe")
    (tmp_path / ".git/hooks/link").symlink_to("/")
    before = len(list(Path("/proc/self/fd").iterdir()))
    fd = os.open(tmp_path, os.O_RDONLY)
    assert survey(fd, str(tmp_path)) >= 7
    os.mkfifo(tmp_path / ".git/pipe")
    with pytest.raises(StepError, match=r"not a regular file: \.git/pipe"):
        survey(fd, str(tmp_path))
    os.close(fd)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_tree_is_removed_whatever_its_modes_and_whatever_name_is_taken(tmp_path: Path) -> None:
    top = tmp_path / "top"
    for number in range(1, 4):
        (top / f".emptying-{number}" / "x").mkdir(parents=True)
    (top / "a/b/c").mkdir(parents=True)
    (top / "a/b/c/f").touch()
    (top / "a/b").chmod(0)
    fd = os.open(tmp_path, os.O_RDONLY)
    remove_tree(fd, "top")
    remove_tree(fd, "missing")
    os.close(fd)
    assert not list(tmp_path.iterdir())

"""Paths of a trail: a normal form below the workspace, or a failure; descriptors that follow no link."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_runner.guest.outcome import FAILED, REFUSED, StepError
from sandbox_runner.guest.paths import close_parent, normal, open_parent, read_file


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("a/b", [b"a", b"b"]),
        ("./a//b/", [b"a", b"b"]),
        ("a/x/../b", [b"a", b"b"]),
        ("", []),
        (".", []),
        ("-rf", [b"-rf"]),
        ("a ", [b"a "]),
        ("a\\..\\b", [b"a\\..\\b"]),
        ("e\u0301", ["e\u0301".encode()]),
        ("\uff0e\uff0e/a", ["\uff0e\uff0e".encode(), b"a"]),
        (".gitignore", [b".gitignore"]),
    ],
)
def test_a_path_has_one_normal_form_compared_byte_by_byte(path, parts):
    assert normal(path) == parts


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "..", "a/../..", "../a", "a/../../workspace/b", "a\0b", "\ud800", "a" * 5000]
)
def test_a_path_that_is_none_or_leads_out_fails(path):
    with pytest.raises(StepError) as caught:
        normal(path)
    assert caught.value.status == FAILED


@pytest.mark.parametrize(
    "path", [".git/config", "sub/.git", ".GIT/hooks/x", "a/../.git/HEAD", ".git/../.git/x"]
)
def test_the_inside_of_git_is_refused(path):
    with pytest.raises(StepError, match="refused") as caught:
        normal(path)
    assert caught.value.status == REFUSED


@pytest.mark.parametrize("path", [".gitmodules", "sub/.gitattributes", ".GitAttributes"])
def test_files_that_configure_git_can_be_read_but_not_written(path):
    assert normal(path)
    with pytest.raises(StepError, match="refused"):
        normal(path, write=True)


@given(st.text(st.sampled_from("./a\\-~ \u00e9"), max_size=30))
def test_no_path_ever_leads_above_the_workspace(path):
    try:
        parts = normal(path)
    except StepError:
        return
    assert not {b"", b".", b".."} & set(parts)
    assert os.path.normpath(path or ".") == os.path.normpath(os.fsdecode(b"/".join(parts)) or ".")


@pytest.fixture(name="tree")
def _tree(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_text("data")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / "loop").symlink_to("loop")
    (tmp_path / "real" / "out").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "fifo")
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def read(root: int, path: str) -> bytes:
    parts = normal(path)
    parent = open_parent(root, parts, path)
    try:
        return read_file(parent, parts[-1], path, 100)[0]
    finally:
        close_parent(root, parent)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("link/file", "symbolic link in path: link/file"),
        ("real/loop", "symbolic link in path: real/loop"),
        ("real/out", "symbolic link in path: real/out"),
        ("fifo", "not a regular file: fifo"),
        ("fifo/x", "not a directory: fifo/x"),
        ("real", "is a directory: real"),
        ("real/none", "file not found: real/none"),
        ("none/file", "file not found: none/file"),
        ("real/file/x", "not a directory: real/file/x"),
        ("n" * 300, "name too long: " + "n" * 300),
    ],
)
def test_what_is_no_regular_file_below_the_workspace_is_named_for_what_it_is(tree, path, reason):
    with pytest.raises(StepError) as caught:
        read(tree, path)
    assert caught.value.reason == reason


def test_failures_leave_no_descriptor_open(tree):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in ("link/file", "real/out", "fifo", "none/x", "real/file/x/y", "real/file"):
        try:
            read(tree, path)
        except StepError:
            continue
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_directory_that_becomes_a_link_during_the_call_leads_nowhere(tree, tmp_path):
    parent = open_parent(tree, normal("real/file"), "real/file")
    (tmp_path / "real").rename(tmp_path / "moved")
    (tmp_path / "real").symlink_to("/etc")
    assert read_file(parent, b"file", "real/file", 10)[0] == b"data"
    os.close(parent)


def test_a_file_over_the_limit_is_not_read(tree, tmp_path):
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(StepError, match="over the limit"):
        read(tree, "sparse")

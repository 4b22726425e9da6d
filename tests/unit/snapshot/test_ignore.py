import os

import pytest

from sandbox_runner.errors import InputError
from sandbox_runner.snapshot import DirectorySource


@pytest.fixture
def names(store):
    def captured_names(path, **options):
        source = DirectorySource(path, **options)
        snapshot = store.capture(source)
        return {entry.path.decode() for entry in store.entries(snapshot.digest)}, source.excluded

    return captured_names


def fill(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)


def test_excluded_paths_are_left_out_and_counted(tmp_path, names):
    fill(tmp_path / "t", "a.py", "a.log", "node_modules/x/y", "keep.log", "src/b.log")
    found, excluded = names(tmp_path / "t", exclude=["*.log", "!keep.log", "node_modules/"])
    assert found == {"a.py", "keep.log", "src"}
    assert excluded == 3


def test_gitignore_files_do_not_count_unless_asked_for(tmp_path, names):
    fill(tmp_path / "t", "a.log")
    (tmp_path / "t" / ".gitignore").write_text("*.log\n")
    assert "a.log" in names(tmp_path / "t")[0]


def test_gitignore_files_mean_what_they_mean_to_git(tmp_path, names, git):
    root = tmp_path / "t"
    fill(
        root,
        *("a.log", "keep.log", "build/x", "src/build/x", "src/a.tmp", "src/sub/a.tmp", "src/sub/b.log"),
        *("/docs/a.txt".lstrip("/"), "src/docs/a.txt", "src/sub/deep/build"),
    )
    (root / ".gitignore").write_text("*.log\n!keep.log\n/build/\n/docs\n# comment\n\n")
    (root / "src" / ".gitignore").write_text("*.tmp\n!sub/\nsub/deep/\n")
    (root / "src" / "sub" / ".gitignore").write_text("!a.tmp\n!b.log\n")
    git(root, "init", "-q")
    git(root, "add", "-A")
    tracked = set(git(root, "ls-files").split())
    found, _ = names(root, gitignore=True, exclude=[".git/"])
    files = {path for path in found if (root / path).is_file()}
    assert files == tracked


def test_a_gitignore_that_is_a_link_or_a_directory_is_passed_over(tmp_path, names):
    root = tmp_path / "t"
    fill(root, "a.log", "sub/b.log", "sub/.gitignore/c")
    (tmp_path / "rules").write_text("*.log\n")
    (root / ".gitignore").symlink_to(tmp_path / "rules")
    found, _ = names(root, gitignore=True)
    assert {"a.log", "sub/b.log"} <= found


def test_names_that_are_not_text_can_be_excluded(tmp_path, names):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / os.fsdecode(b"\xff.log")).touch()
    assert names(tmp_path / "t", exclude=["*.log"]) == (set(), 1)


def test_a_pattern_without_meaning_is_refused(tmp_path, names):
    fill(tmp_path / "t", "a")
    with pytest.raises(InputError):
        names(tmp_path / "t", exclude=["!"])

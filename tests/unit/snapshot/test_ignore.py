import os
import tempfile
from pathlib import Path

import pytest

from sandbox_runner.errors import InputError
from sandbox_runner.snapshot import DirectorySource, groups_of

EXCLUDED, IGNORED = "named by an exclude pattern", "named by a .gitignore"


@pytest.fixture
def names(store):
    def captured_names(path, **options):
        snapshot = store.capture(DirectorySource(path, **options))
        entries = {entry.path.decode() for entry in store.entries(snapshot.digest)}
        return entries, {item.path: item.text for item in snapshot.omissions}

    return captured_names


def fill(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)


def test_excluded_paths_are_omissions_and_a_directory_is_one(tmp_path, names):
    fill(tmp_path / "t", "a.py", "a.log", "node_modules/x/y", "keep.log", "src/b.log")
    found, left_out = names(tmp_path / "t", exclude=["*.log", "!keep.log", "node_modules/"])
    assert found == {"a.py", "keep.log", "src"}
    assert left_out == dict.fromkeys([b"a.log", b"node_modules", b"src/b.log"], EXCLUDED)


def test_an_omission_says_who_named_it(tmp_path, names):
    fill(tmp_path / "t", "a.log", "b.tmp", "kept.log")
    (tmp_path / "t" / ".gitignore").write_text("*.log\n")
    os.mkfifo(tmp_path / "t" / "pipe")
    _, left_out = names(tmp_path / "t", exclude=["*.tmp", "!kept.log"], gitignore=True)
    assert left_out == {b"a.log": IGNORED, b"b.tmp": EXCLUDED, b"pipe": "fifo"}


def test_very_many_excluded_files_are_named_in_part_and_all_counted(tmp_path, store):
    root = tmp_path / "t"
    root.mkdir()
    for number in range(1_500):
        (root / f"{number:04}.log").touch()
    os.mkfifo(root / "pipe")
    (root / "z.tmp").touch()
    snapshot = store.capture(DirectorySource(root, exclude=["*.log"]))
    assert len(snapshot.omissions) == 1_001  # what could not be captured is never crowded out
    fifo, excluded = groups_of(snapshot)
    assert (fifo.reason, fifo.count, fifo.first) == ("fifo", 1, (b"pipe",))
    assert (excluded.reason, excluded.count) == (EXCLUDED, 1_500)
    assert excluded.first == (b"0000.log", b"0001.log", b"0002.log")
    for number in range(1_200, 1_500):
        (root / f"{number:04}.log").unlink()
    fewer = store.capture(DirectorySource(root, exclude=["*.log"]))  # the names that the digest covers agree
    assert [group.count for group in groups_of(fewer)] == [1, 1_200]


def test_what_was_left_out_makes_another_snapshot_of_the_same_tree(tmp_path, store):
    fill(tmp_path / "t", "a", "b.log")
    partial = store.capture(DirectorySource(tmp_path / "t", exclude=["*.log"]))
    (tmp_path / "t" / "b.log").unlink()
    whole = store.capture(DirectorySource(tmp_path / "t", exclude=["*.log"]))
    assert (partial.root, partial.partial, whole.partial) == (whole.root, True, False)
    assert partial.digest != whole.digest
    assert store.fsck().ok


class _AsNobody(DirectorySource):
    """The same directory, walked by a user who owns nothing in it."""

    def scan(self, options):
        os.seteuid(65534)
        try:
            return iter(list(super().scan(options)))
        finally:
            os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user who may not read")
def test_what_the_user_cannot_read_is_told_with_its_name(store):
    with tempfile.TemporaryDirectory() as place:  # not below tmp_path, which is closed to others
        root = Path(place)
        root.chmod(0o755)
        fill(root, "open", "secret", "closed/a", "names-only/b")
        (root / "secret").chmod(0o600)
        (root / "closed").chmod(0o700)
        (root / "names-only").chmod(0o744)
        snapshot = store.capture(_AsNobody(root))
    assert {item.path: item.text for item in snapshot.omissions} == dict.fromkeys(
        [b"closed", b"names-only", b"secret"], "unreadable"
    )


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
    assert names(tmp_path / "t", exclude=["*.log"]) == (set(), {b"\xff.log": EXCLUDED})


def test_a_pattern_without_meaning_is_refused(tmp_path, names):
    fill(tmp_path / "t", "a")
    with pytest.raises(InputError):
        names(tmp_path / "t", exclude=["!"])

"""Two copies of one repository, whatever git did to their indexes meanwhile, are one tree."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox_runner.snapshot import DirectorySource, SnapshotStore
from tests.plain_git import git

STATES = {
    "split": ("update-index", "--split-index"),
    "whole": ("update-index", "--no-split-index"),
    "untracked cache": ("update-index", "--untracked-cache"),
    "looked at": ("update-index", "-q", "--refresh"),
    "status": ("status", "--porcelain"),
}


def seen(folder: Path) -> tuple[str, str, str]:
    listed = git(folder, "ls-files", "-v", "--stage")
    return listed, git(folder, "status", "--porcelain"), git(folder, "fsck", "--strict")


@settings(max_examples=8, deadline=None)
@given(
    form=st.sampled_from(["sha1", "sha256"]),
    version=st.sampled_from(["2", "3", "4"]),
    gone=st.sets(st.integers(0, 19), max_size=4),
    changed=st.sets(st.integers(0, 19), max_size=4),
    states=st.lists(st.sampled_from(sorted(STATES)), max_size=4),
)
def test_two_copies_have_one_digest_and_git_finds_the_restored_one_unchanged(
    form: str, version: str, gone: set[int], changed: set[int], states: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as place:
        one, two, restored = (Path(place) / name for name in ("one", "two", "restored"))
        one.mkdir()
        git(one, "init", "-q", f"--object-format={form}")
        git(one, "config", "index.version", version)
        git(one, "config", "splitIndex.maxPercentChange", "100")
        for number in range(20):
            (one / f"file_{number}").write_text(f"{number}\n")
        git(one, "add", "-A")
        git(one, "commit", "-qm", "one")
        git(one, "update-index", "--split-index")
        for number in changed:
            (one / f"file_{number}").write_text("new\n")
        for number in gone:
            (one / f"file_{number}").unlink()
        (one / "added").write_text("added\n")
        git(one, "add", "-A")
        shutil.copytree(one, two)
        for state in states:
            git(two, *STATES[state])
        store = SnapshotStore(Path(place) / "store")
        first = store.capture(DirectorySource(one), label="")
        assert store.capture(DirectorySource(two), label="").digest == first.digest
        store.restore(first.digest, restored)
        assert not [*restored.glob(".git/sharedindex.*")]
        assert seen(restored) == seen(one)


def test_a_split_index_that_lost_its_other_half_is_captured_as_it_is(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "w")
    folder = tmp_path / "w"
    (folder / "file").write_text("x")
    git(folder, "add", "-A")
    git(folder, "update-index", "--split-index")
    index = (folder / ".git/index").read_bytes()
    (shared,) = folder.glob(".git/sharedindex.*")
    shared.write_bytes(shared.read_bytes()[:-1] + b"x")
    store = SnapshotStore(tmp_path / "store")
    store.restore(store.capture(DirectorySource(folder), label="").digest, tmp_path / "restored")
    assert (tmp_path / "restored/.git/index").read_bytes() == index
    assert (tmp_path / "restored/.git" / shared.name).read_bytes() == shared.read_bytes()


def test_the_other_half_is_never_read_through_a_link(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "w")
    folder = tmp_path / "w"
    (folder / "file").write_text("x")
    git(folder, "add", "-A")
    git(folder, "update-index", "--split-index")
    (shared,) = folder.glob(".git/sharedindex.*")
    shared.rename(tmp_path / "elsewhere")
    shared.symlink_to(tmp_path / "elsewhere")
    store = SnapshotStore(tmp_path / "store")
    store.restore(store.capture(DirectorySource(folder), label="").digest, tmp_path / "restored")
    assert (tmp_path / "restored/.git/index").read_bytes() == (folder / ".git/index").read_bytes()

import hashlib
import os
import subprocess

import pytest

from sandbox_runner.guest.git_index import is_index_path, is_shared_index, normalise
from tests.plain_git import git


def repository(folder, *options, settings=()):
    folder.mkdir()
    git(folder, "init", "-q", *options)
    for name, value in settings:
        git(folder, "config", name, value)
    (folder / "src").mkdir()
    for number in range(12):
        (folder / "src" / f"module_{number}.py").write_text(f"x = {number}\n")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def index_of(folder):
    return (folder / ".git" / "index").read_bytes()


FORMS = {
    "version 2": ((), [("index.version", "2")]),
    "version 4": ((), [("index.version", "4")]),
    "sha256": (("--object-format=sha256",), []),
    "no checksum": ((), [("index.skipHash", "true")]),
    "untracked cache": ((), [("core.untrackedCache", "true")]),
    "offset tables": ((), [("index.threads", "2"), ("index.recordEndOfIndexEntries", "true")]),
}


@pytest.mark.parametrize("form", FORMS)
def test_indexes_of_equal_trees_become_equal(tmp_path, form):
    options, settings = FORMS[form]
    one = repository(tmp_path / "one", *options, settings=settings)
    two = repository(tmp_path / "two", *options, settings=settings)
    for path in two.rglob("*.py"):
        os.utime(path, ns=(1, 1))
    git(two, "status")  # writes new stat data, and caches
    assert index_of(one) != index_of(two)
    assert normalise(index_of(one)) == normalise(index_of(two)) is not None


@pytest.mark.parametrize("form", FORMS)
def test_git_works_on_with_a_normalised_index(tmp_path, form):
    options, settings = FORMS[form]
    folder = repository(tmp_path / "one", *options, settings=settings)
    (folder / "src" / "module_1.py").write_text("changed\n")
    git(folder, "add", "src/module_1.py")
    (folder / "src" / "module_2.py").write_text("not staged\n")
    before = git(folder, "status", "--porcelain")
    (folder / ".git" / "index").write_bytes(normalise(index_of(folder)))
    assert git(folder, "status", "--porcelain") == before == "M  src/module_1.py\n M src/module_2.py\n"
    git(folder, "commit", "-q", "-m", "second")
    assert git(folder, "fsck", "--strict") == ""


def test_flags_of_version_3_are_kept(tmp_path):
    folder = repository(tmp_path / "one", settings=[("index.version", "3")])
    (folder / "later.py").write_text("x\n")
    git(folder, "add", "--intent-to-add", "later.py")
    git(folder, "update-index", "--assume-unchanged", "run.sh")
    assert index_of(folder)[4:8] == b"\0\0\0\3"
    before = git(folder, "ls-files", "-v", "--stage")
    (folder / ".git" / "index").write_bytes(normalise(index_of(folder)))
    assert git(folder, "ls-files", "-v", "--stage") == before
    assert git(folder, "status", "--porcelain") == " A later.py\n"


def test_the_size_that_git_zeroes_when_in_doubt_does_not_matter(tmp_path):
    folder = repository(tmp_path / "one", settings=[("index.version", "2")])
    data = bytearray(index_of(folder)[:-20])
    data[12 + 36 : 12 + 40] = bytes(4)  # the first entry's size
    racy = bytes(data) + hashlib.sha1(data).digest()
    assert racy != index_of(folder)
    assert normalise(racy) == normalise(index_of(folder))


def test_normalising_twice_changes_nothing(tmp_path):
    once = normalise(index_of(repository(tmp_path / "one")))
    assert normalise(once) == once


def split(folder):
    """Entries of the base that were removed, replaced and left alone, and some that it has not."""
    git(folder, "config", "splitIndex.maxPercentChange", "100")
    git(folder, "update-index", "--split-index")
    git(folder, "rm", "-q", "src/module_3.py", "src/module_11.py")
    (folder / "src" / "module_5.py").write_text("replaced\n")
    (folder / "zz.py").write_text("added\n")
    (folder / "aa.py").write_text("added\n")
    git(folder, "add", "-A")
    git(folder, "update-index", "--chmod=+x", "src/module_7.py")
    git(folder, "update-index", "--assume-unchanged", "src/module_8.py")
    (folder / "later.py").write_text("x\n")
    git(folder, "add", "--intent-to-add", "later.py")


def beside(folder):
    def shared(name):
        path = folder / ".git" / os.fsdecode(name)
        return path.read_bytes() if path.exists() else None

    return shared


SPLIT_FORMS = {name: form for name, form in FORMS.items() if name != "no checksum"}  # git breaks it itself


@pytest.mark.parametrize("form", SPLIT_FORMS)
def test_a_split_index_becomes_the_one_that_git_makes_of_its_halves(tmp_path, form):
    options, settings = FORMS[form]
    folder = repository(tmp_path / "one", *options, settings=settings)
    split(folder)
    listed = git(folder, "ls-files", "-v", "--stage"), git(folder, "status", "--porcelain")
    joined = normalise(index_of(folder), beside(folder))
    assert joined is not None
    git(folder, "update-index", "--no-split-index")
    assert joined == normalise(index_of(folder))
    (folder / ".git" / "index").write_bytes(joined)
    for shared in (folder / ".git").glob("sharedindex.*"):
        shared.unlink()
    assert (git(folder, "ls-files", "-v", "--stage"), git(folder, "status", "--porcelain")) == listed
    assert git(folder, "fsck", "--strict") == ""


def test_conflicts_in_a_split_index_are_joined_as_git_does(tmp_path):
    folder = repository(tmp_path / "one")
    git(folder, "config", "splitIndex.maxPercentChange", "100")
    for branch in ("left", "right"):
        git(folder, "checkout", "-q", "-b", branch, "master" if branch == "left" else "left~1")
        (folder / "src" / "module_4.py").write_text(branch)
        (folder / "src" / "module_6.py").write_text(branch)
        git(folder, "commit", "-qam", branch)
    git(folder, "update-index", "--split-index")
    with pytest.raises(subprocess.CalledProcessError):
        git(folder, "merge", "left")
    git(folder, "add", "src/module_4.py")
    joined = normalise(index_of(folder), beside(folder))
    git(folder, "update-index", "--no-split-index")
    assert joined == normalise(index_of(folder)) is not None


def test_a_split_index_without_its_other_half_stays_as_it_is(tmp_path):
    folder = repository(tmp_path / "one")
    split(folder)
    data = index_of(folder)
    (shared,) = (folder / ".git").glob("sharedindex.*")
    whole = shared.read_bytes()
    damaged = bytes([*whole[:100], whole[100] ^ 1, *whole[101:]])
    for other in (None, b"", whole[:-1], damaged, data):
        assert normalise(data, lambda _, other=other: other) is None
    assert normalise(data) is None


def test_bitmaps_that_do_not_fit_leave_a_split_index_as_it_is(tmp_path):
    folder = repository(tmp_path / "one")
    split(folder)
    data = index_of(folder)[:-20]
    at = data.index(b"link") + 8 + 20
    for position in range(at, len(data)):
        for flip in (0x01, 0x80, 0xFF):
            body = bytes([*data[:position], data[position] ^ flip, *data[position + 1 :]])
            joined = normalise(body + hashlib.sha1(body).digest(), beside(folder))
            assert joined is None or joined[:4] == b"DIRC"


@pytest.mark.parametrize(
    ("run", "fits"),
    [((0xFFFFFFFF << 1) | 1, False), (0xFFFFFFFF << 1, True), (0x7FFFFFFF << 33, False)],
    ids=["ones", "zeros", "words that are not there"],
)
def test_a_bitmap_that_claims_four_billion_words_takes_no_memory(tmp_path, run, fits):
    folder = repository(tmp_path / "one")
    git(folder, "update-index", "--split-index")
    data = index_of(folder)[:-20]
    at = data.index(b"link")
    link = data[at + 8 : at + 8 + int.from_bytes(data[at + 4 : at + 8], "big")]
    deleted = 8 + 8 * int.from_bytes(link[24:28], "big") + 4  # bytes of the first bitmap
    claims = bytes(4) + (1).to_bytes(4, "big") + run.to_bytes(8, "big") + bytes(4)
    forged = link[:20] + claims + link[20 + deleted :]
    body = data[: at + 4] + len(forged).to_bytes(4, "big") + forged
    joined = normalise(body + hashlib.sha1(body).digest(), beside(folder))
    assert (joined is not None) is fits


def test_paths_are_as_short_as_can_be_wherever_git_began_anew(tmp_path):
    folder = repository(tmp_path / "one", settings=[("index.version", "4")])
    data = index_of(folder)
    body, last = bytearray(data[:12]), 0
    for line in git(folder, "ls-files", "--stage").splitlines():  # each path whole, as where git began anew
        mode, name, _, path = line.split()
        body += bytes(24) + int(mode, 8).to_bytes(4, "big") + bytes(12) + bytes.fromhex(name)
        body += len(path).to_bytes(2, "big") + bytes([last]) + path.encode() + b"\0"
        last = len(path)
    assert normalise(bytes(body) + hashlib.sha1(body).digest()) == normalise(data)


def test_a_sparse_index_is_normalised_and_stays_sparse(tmp_path):
    indexes = []
    for name in ("one", "two"):
        folder = repository(tmp_path / name)
        (folder / "docs").mkdir()
        (folder / "docs" / "x").write_text("x")
        git(folder, "add", "-A")
        git(folder, "commit", "-qm", "docs")
        git(folder, "sparse-checkout", "set", "--sparse-index", "docs")
        assert b"sdir" in index_of(folder)
        indexes.append(index_of(folder))
    assert normalise(indexes[0]) == normalise(indexes[1]) is not None
    listed = git(folder, "ls-files", "--sparse", "--stage")
    (folder / ".git" / "index").write_bytes(normalise(indexes[1]))
    assert git(folder, "ls-files", "--sparse", "--stage") == listed
    assert git(folder, "status", "--porcelain") == ""


def test_every_cut_and_every_flipped_byte_is_left_alone(tmp_path):
    data = index_of(repository(tmp_path / "one", settings=[("index.version", "4")]))
    for length in range(0, len(data), 7):
        assert normalise(data[:length]) is None
    for position in range(0, len(data), 11):
        flipped = bytearray(data)
        flipped[position] ^= 0x55
        assert normalise(bytes(flipped)) is None


@pytest.mark.parametrize("body", [b"DIRC\0\0\0\2\xff\xff\xff\xff", b"DIRC\0\0\0\4\0\0\0\1" + b"\x80" * 200])
def test_a_sealed_index_that_promises_too_much_is_left_alone(body):
    assert normalise(body + hashlib.sha1(body).digest()) is None


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        (".git/index", True),
        ("deep/er/.git/index", True),
        (".git/modules/sub/index", True),
        (".git/worktrees/w/index", True),
        ("index", False),
        (".git", False),
        ("src/index", False),
        (".git/index.lock", False),
    ],
)
def test_only_a_file_below_a_git_directory_can_be_an_index(path, is_one):
    assert is_index_path(path.encode().split(b"/")) is is_one


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        (".git/sharedindex." + "a" * 40, True),
        ("sub/.git/sharedindex." + "0" * 64, True),
        ("sharedindex." + "a" * 40, False),
        (".git/sharedindex." + "g" * 40, False),
        (".git/sharedindex." + "a" * 41, False),
        (".git/sharedindex_abc123", False),
    ],
)
def test_only_a_file_with_the_name_of_a_checksum_can_be_the_other_half(path, is_one):
    assert is_shared_index(path.encode().split(b"/")) is is_one

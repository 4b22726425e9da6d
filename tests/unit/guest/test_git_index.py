import hashlib
import os
import subprocess

import pytest

from sandbox_runner.guest.git_index import is_index_path, normalise

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@b",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@b",
    "GIT_AUTHOR_DATE": "1700000000 +0000",
    "GIT_COMMITTER_DATE": "1700000000 +0000",
}


def git(folder, *arguments):
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout


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


def test_a_split_index_stays_as_it_is(tmp_path):
    folder = repository(tmp_path / "one")
    git(folder, "update-index", "--split-index")
    assert normalise(index_of(folder)) is None


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

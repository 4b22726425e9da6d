import os
import stat
import subprocess
import threading
from contextlib import suppress
from hashlib import sha256

import pytest

from sandbox_runner.errors import WorkspaceError
from sandbox_runner.trail import METHODS
from sandbox_runner.world import Call, FileWorld, Outcome, Status
from sandbox_runner.world.native_tools import NativeLimits


def perform(world, method, **arguments) -> Outcome:
    return world.perform(Call(METHODS[method].opcode, method, arguments))


@pytest.fixture
def base(tmp_path):
    """A directory with something outside of it worth protecting."""
    (tmp_path / "outside.txt").write_text("secret")
    directory = tmp_path / "base"
    directory.mkdir()
    return directory


@pytest.fixture
def world(base):
    with FileWorld(base, backup_on_write=False) as world:
        yield world


def tree(directory):
    return {
        str(path.relative_to(directory)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in directory.rglob("*")
        if path.is_symlink() or path.is_file()
    }


FILE_CALLS = {
    "file_read": {},
    "file_write": {"content": "new"},
    "file_edit": {"old": "secret", "new": "new"},
}


@pytest.mark.parametrize("method", FILE_CALLS)
@pytest.mark.parametrize(
    "path",
    ["../outside.txt", "a/../../outside.txt", "{base}/../outside.txt", "/etc/hostname", "//etc/hostname"],
)
def test_a_path_outside_is_refused_and_nothing_there_is_touched(world, base, method, path):  # D62, D63
    path = path.format(base=base)
    before = tree(base.parent)
    outcome = perform(world, method, path=path, **FILE_CALLS[method])
    assert outcome.status is Status.FAILED
    assert outcome.text == f"{method}: ERROR path outside workspace: {path}"
    assert tree(base.parent) == before


@pytest.mark.parametrize("method", FILE_CALLS)
@pytest.mark.parametrize("target", ["../outside.txt", "/etc/hostname", "inside.txt", "nowhere", "link"])
def test_a_link_is_never_followed_or_replaced(world, base, method, target):  # D64
    (base / "inside.txt").write_text("secret")
    (base / "link").symlink_to(target)
    before = tree(base.parent)
    outcome = perform(world, method, path="link", **FILE_CALLS[method])
    assert outcome.text == f"{method}: ERROR is a link: link"
    assert tree(base.parent) == before


@pytest.mark.parametrize("method", FILE_CALLS)
@pytest.mark.parametrize("target", ["..", "/etc", "."])
def test_a_linked_directory_is_never_entered(world, base, method, target):  # D64
    (base / "link").symlink_to(target)
    before = tree(base.parent)
    outcome = perform(world, method, path="link/outside.txt", **FILE_CALLS[method])
    assert outcome.text == f"{method}: ERROR not a directory: link/outside.txt"
    assert tree(base.parent) == before


def test_a_directory_that_is_swapped_for_a_link_during_a_write_leads_nowhere(world, base):
    """Someone swaps a directory and a link to the outside as fast as he can; nothing may ever land there."""
    (base / "real").mkdir()
    (base / "link").symlink_to("..")
    stop = threading.Event()

    def swap():
        while not stop.is_set():
            for source, target in (("real", "d"), ("d", "real"), ("link", "d"), ("d", "link")):
                with suppress(OSError):
                    (base / source).rename(base / target)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for number in range(300):
            perform(world, "file_write", path=f"d/escaped{number % 5}", content="x")
    finally:
        stop.set()
        thread.join()
    assert sorted(path.name for path in base.parent.iterdir()) == ["base", "outside.txt"]


@pytest.mark.parametrize(
    "path", [".git/config", "sub/.git/hooks/pre-commit", ".GIT/config", "./a/../.git/x", ".git"]
)
@pytest.mark.parametrize("method", FILE_CALLS)
def test_git_internals_are_closed_to_file_operations(world, base, method, path):  # D71
    (base / ".git").mkdir()
    (base / ".git" / "config").write_text("secret")
    before = tree(base)
    outcome = perform(world, method, path=path, **FILE_CALLS[method])
    assert outcome.text == f"{method}: ERROR path inside .git: {path}"
    assert tree(base) == before


@pytest.mark.parametrize("method", FILE_CALLS)
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "is a directory"),
        (".", "is a directory"),
        ("d/", "is a directory"),
        ("d/..", "is a directory"),
        ("a\0b", "path contains NUL"),
        ("f/x", "not a directory"),
        ("n" * 256, "name too long"),
    ],
)
def test_an_unusable_path_is_named_as_it_was_given(world, base, method, path, reason):  # D76
    (base / "d").mkdir()
    (base / "f").write_text("secret")
    outcome = perform(world, method, path=path, **FILE_CALLS[method])
    assert outcome.text == f"{method}: ERROR {reason}: {path}"
    assert str(base) not in outcome.text


def test_harmless_detours_in_a_path_lead_to_the_file(world, base):
    assert world.file_write("./a//b/../c.txt", "x") == "file_write: ./a//b/../c.txt (1 chars)"
    assert (base / "a" / "c.txt").read_text() == "x"


@pytest.mark.parametrize("method", FILE_CALLS)
def test_a_fifo_fails_at_once(world, base, method):
    os.mkfifo(base / "fifo")
    outcome = perform(world, method, path="fifo", **FILE_CALLS[method])
    assert outcome.text == f"{method}: ERROR not a regular file: fifo"


def test_a_file_beyond_the_limit_is_not_read(base):
    world = FileWorld(base, limits=NativeLimits(file_bytes=10))
    (base / "ten").write_text("x" * 10)
    assert world.file_read("ten") == "file_read: ten (10 chars)"
    with (base / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    for method in ("file_read", "file_edit"):
        arguments = {"old": "a", "new": "b"} if method == "file_edit" else {}
        outcome = perform(world, method, path="sparse", **arguments)
        assert outcome.text == f"{method}: ERROR file larger than 10 bytes: sparse"


def test_a_read_tells_files_of_equal_length_apart_by_digest(world, base):  # D65
    digests = set()
    for text in ("good", "evil"):
        (base / "a").write_text(text)
        outcome = perform(world, "file_read", path="a")
        assert outcome.text == "file_read: a (4 chars)"
        assert outcome.details["sha256"] == sha256(text.encode()).hexdigest()
        digests.add(outcome.details["sha256"])
    assert len(digests) == 2


def test_a_file_that_is_no_text_is_a_failed_read_with_its_digest(world, base):
    (base / "bin").write_bytes(b"\xff\x00")
    outcome = perform(world, "file_read", path="bin")
    assert outcome.text == "file_read: ERROR not UTF-8 text: bin"
    assert outcome.details == {"bytes": 2, "sha256": sha256(b"\xff\x00").hexdigest()}


def test_a_write_keeps_the_mode_and_leaves_other_names_of_the_file_alone(world, base):
    (base / "script").write_text("old")
    (base / "script").chmod(0o750)
    os.link(base / "script", base.parent / "elsewhere")
    outcome = perform(world, "file_write", path="script", content="new")
    assert outcome.details["created"] is False
    assert stat.S_IMODE((base / "script").stat().st_mode) == 0o750
    assert (base.parent / "elsewhere").read_text() == "old"
    assert (base / "script").read_text() == "new"


@pytest.mark.parametrize("length", [0, 3, 5, 500])
def test_a_write_leaves_nothing_of_the_former_content(world, base, length):
    (base / "a").write_bytes(b"four")
    world.file_write("a", "x" * length)
    assert tree(base) == {"a": b"x" * length}


def test_a_write_without_room_leaves_the_former_content(world, base, monkeypatch):
    def full(descriptor, *_):
        os.ftruncate(descriptor, 6)
        raise OSError(28, "No space left on device")

    (base / "a").write_bytes(b"four")
    monkeypatch.setattr(os, "posix_fallocate", full)
    assert world.file_write("a", "x" * 500) == "file_write: ERROR no space left"
    assert tree(base) == {"a": b"four"}


def test_a_failed_write_leaves_no_new_file(world, base, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    assert world.file_write("a", "x") == "file_write: ERROR no space left"
    monkeypatch.undo()
    assert list(base.iterdir()) == []


def test_an_edit_preserves_every_other_byte(world, base):  # D66
    (base / "crlf").write_bytes(b"\xff a\r\nb\r\n")
    outcome = perform(world, "file_edit", path="crlf", old="b", new="ü")
    assert outcome.text == "file_edit: crlf (1 replacement)"
    assert (base / "crlf").read_bytes() == b"\xff a\r\n\xc3\xbc\r\n"
    assert outcome.details["line"] == 2
    assert outcome.details["sha256"] == sha256((base / "crlf").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("old", "reason"),
    [("", "empty old text"), ("zero", "old text not found in a"), ("one", "old text found 2 times in a")],
)
def test_an_edit_that_is_not_exact_changes_nothing(world, base, old, reason):  # D67, D68
    (base / "a").write_text("one two one")
    assert world.file_edit("a", old, "x") == f"file_edit: ERROR {reason}"
    assert tree(base) == {"a": b"one two one"}


def test_a_missing_base_directory_is_named(tmp_path):
    with pytest.raises(WorkspaceError, match="cannot open the directory"):
        FileWorld(tmp_path / "absent")


def test_the_base_directory_stays_the_same_when_its_name_is_given_to_another(world, base):
    base.rename(base.parent / "moved")
    base.mkdir()
    world.file_write("a", "x")
    assert (base.parent / "moved" / "a").exists()
    assert list(base.iterdir()) == []


# -- backups ----------------------------------------------------------------------------------------------


def test_a_backup_keeps_what_a_write_or_edit_replaced(base):
    world = FileWorld(base)
    world.file_write("a", "one")
    assert tree(base) == {"a": b"one"}
    world.file_write("a", "two")
    assert tree(base) == {"a": b"two", "a.bak": b"one"}
    world.file_edit("a", "two", "three")
    assert tree(base) == {"a": b"three", "a.bak": b"two"}


def test_a_backup_never_replaces_a_file_of_the_users(base):  # D69
    (base / "a").write_text("one")
    (base / "a.bak").write_text("mine")
    assert FileWorld(base).file_write("a", "two") == "file_write: a (3 chars)"
    assert tree(base) == {"a": b"two", "a.bak": b"mine"}


def test_an_edit_that_fails_makes_no_backup(base):  # D69
    (base / "a").write_text("one")
    FileWorld(base).file_edit("a", "absent", "x")
    assert tree(base) == {"a": b"one"}


def test_backups_are_neither_committed_nor_found(base):  # D69
    subprocess.run(["git", "init", "-q", base], check=True)
    (base / "a").write_text("needle one")
    world = FileWorld(base)
    world.file_edit("a", "one", "two")
    assert world.search_code("needle").startswith("search_code: 'needle' → 1 matches")
    assert world.git_commit("0", "edit") == "git_commit: edit"
    tracked = subprocess.run(
        ["git", "-C", base, "ls-files"], check=True, capture_output=True, text=True
    ).stdout
    assert tracked.split() == ["a"]
    assert (base / "a.bak").read_text() == "needle one"


# -- what needs a ledger ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("bottle_drop", {"target": "../x", "content": "hello"}),
        ("bottle_read", {"source": "oracle"}),
        ("level_up", {"agent": "ada", "level": 5}),
        ("spell_cast", {"spell": "look"}),
        ("room_enter", {"room": "dojo"}),
        ("trust_update", {"target": "scout", "delta": -3.0}),
        ("cap_issue", {"action": "shell", "holder": "scout"}),
    ],
)
def test_a_call_that_needs_a_ledger_is_skipped_and_says_so(world, base, method, arguments):  # D75
    outcome = perform(world, method, **arguments)
    assert outcome.status is Status.SKIPPED
    assert outcome.details["effect"] == "none"
    assert outcome.text.startswith(f"{method}: ")
    assert tree(base) == {}

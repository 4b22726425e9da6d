"""Trees and guests that try to break a capture: hostile files, races, and a source that lies."""

import hashlib
import os
import random
import socket
import subprocess
import sys
import threading

import pytest

from sandbox_runner.errors import GuestError, WorkspaceError
from sandbox_runner.guest import tree, tree_fill
from sandbox_runner.guest.tree_cursor import Cursor
from sandbox_runner.guest.tree_records import (
    DIRECTORY,
    END,
    FILE,
    LINK,
    NOTE,
    OMISSION,
    PIECE_FAILED,
    PIECE_LAST,
    PIECE_MORE,
    pack_piece,
    pack_put,
    pack_scan,
    read_refusals,
)
from sandbox_runner.snapshot import DirectorySource, Limits, SnapshotStore

NOTHING = bytes(32)


@pytest.fixture
def store(tmp_path):
    return SnapshotStore(tmp_path / "store")


@pytest.fixture
def root(tmp_path):
    path = tmp_path / "tree"
    path.mkdir()
    return path


def reasons(snapshot):
    return {item.path: item.text for item in snapshot.omissions}


def test_special_files_are_never_opened_and_each_is_listed(root, store):
    os.mkfifo(root / "fifo")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(root / "socket"))
    (root / "file").write_text("x")
    snapshot = store.capture(DirectorySource(root))
    listener.close()
    assert reasons(snapshot) == {b"fifo": "fifo", b"socket": "socket"}
    assert snapshot.partial
    assert snapshot.files == 1


def test_links_are_captured_as_links_whatever_they_point_at(root, store, tmp_path):
    (tmp_path / "secret").write_text("secret")
    for name, target in (
        ("passwd", "/etc/shadow"),
        ("environ", "/proc/1/environ"),
        ("loop", "loop"),
        ("up", ".."),
        ("outside", str(tmp_path / "secret")),
    ):
        (root / name).symlink_to(target)
    (root / "folder").symlink_to(tmp_path)
    snapshot = store.capture(DirectorySource(root))
    assert (snapshot.links, snapshot.files, snapshot.directories) == (6, 0, 0)
    contents = {entry.path: b"".join(store.contents(entry)) for entry in store.entries(snapshot.digest)}
    assert contents[b"passwd"] == b"/etc/shadow"
    assert b"secret" not in contents.values()


def test_a_sparse_giant_is_an_omission_and_a_small_sparse_file_is_zeros(root, store, tmp_path):
    with (root / "giant").open("wb") as file:
        file.truncate(1 << 40)
    with (root / "holes").open("wb") as file:
        file.truncate(1 << 20)
    snapshot = store.capture(DirectorySource(root))
    assert reasons(snapshot) == {b"giant": "larger than the limit for one file"}
    assert [note.text for note in snapshot.notes] == ["sparse file captured with its holes as zeros"]
    assert snapshot.stored < 10_000
    store.restore(snapshot.digest, tmp_path / "out")
    assert (tmp_path / "out" / "holes").read_bytes() == bytes(1 << 20)


def test_a_farm_of_hard_links_is_hashed_and_stored_once(root, store):
    (root / "0").write_bytes(os.urandom(200_000))
    for number in range(1, 500):
        os.link(root / "0", root / str(number))
    snapshot = store.capture(DirectorySource(root))
    assert snapshot.files == 500
    assert snapshot.stored < 300_000
    (note,) = snapshot.notes
    assert (note.text, note.count) == ("hard link captured as a file of its own", 499)


def test_names_of_255_bytes_by_the_thousand_are_all_captured(root, store):
    for number in range(2000):
        (root / f"{number:0255d}").touch()
    snapshot = store.capture(DirectorySource(root))
    assert snapshot.files == 2000
    assert not snapshot.partial


def deep(root, levels, name="d"):
    """A chain of directories deeper than any path may be; the innermost holds a file."""
    fd = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)


def test_a_tree_of_3000_levels_is_captured_restored_and_captured_again(root, store, tmp_path):
    deep(root, 3000)
    snapshot = store.capture(DirectorySource(root))
    assert (snapshot.directories, snapshot.files, snapshot.partial) == (3000, 1, False)
    store.restore(snapshot.digest, tmp_path / "out")
    assert store.capture(DirectorySource(tmp_path / "out")).digest == snapshot.digest
    subprocess.run(["rm", "-rf", root, tmp_path / "out"], check=True)  # deeper than Python's rmtree goes


def test_a_tree_deeper_than_the_path_limit_is_cut_where_it_is_said(root, store):
    deep(root, 300, "long-name-" * 10)
    snapshot = store.capture(DirectorySource(root))
    (omission,) = snapshot.omissions
    assert omission.text == "path longer than the limit"
    assert len(omission.path) > Limits().max_path_bytes
    assert snapshot.directories == omission.path.count(b"/")
    subprocess.run(["rm", "-rf", root], check=True)


def test_a_sawtooth_of_deep_directories_is_walked_in_bounded_time(root, store, tmp_path):
    fd = os.open(root, os.O_RDONLY)
    for _ in range(400):  # a file after every directory sends each move all the way up again
        os.mkdir("d", dir_fd=fd)
        os.close(os.open("e", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    snapshot = store.capture(DirectorySource(root))
    assert (snapshot.directories, snapshot.files) == (400, 400)
    store.restore(snapshot.digest, tmp_path / "out")
    assert store.capture(DirectorySource(tmp_path / "out")).digest == snapshot.digest


def test_set_user_id_bits_are_dropped_and_said(root, store, tmp_path):
    (root / "su").touch()
    (root / "su").chmod(0o6755)
    (root / "shared").mkdir()
    (root / "shared").chmod(0o1777)
    snapshot = store.capture(DirectorySource(root))
    assert [(note.text, note.count) for note in snapshot.notes] == [
        ("set-user-id, set-group-id or sticky bit dropped", 2)
    ]
    store.restore(snapshot.digest, tmp_path / "out")
    assert (tmp_path / "out" / "su").stat().st_mode & 0o7777 == 0o755


AS_NOBODY = """
import os, sys
from sandbox_runner.guest import tree, tree_records as records
root = os.open(sys.argv[1], os.O_RDONLY)
if os.getuid() == 0:
    os.setresgid(65534, 65534, 65534), os.setresuid(65534, 65534, 65534)
options = {"lift": True} if sys.argv[2] == "lift" else {}
found = [item for _, body in tree.scan(root, options, b"") for item in records.read_scan(body)]
wants = b"".join(records.pack_want(i.kind, i.path) for i in found if i.kind == records.FILE)
pieces = [item for _, body in tree.fetch(root, options, wants) for item in records.read_pieces(body)]
for item in found:
    print(chr(item.kind), item.detail, item.path.decode())
print([bytes(piece.data) for piece in pieces])
"""


@pytest.mark.parametrize("lift", [True, False], ids=["in a sandbox", "in a user's directory"])
def test_what_nobody_may_read_is_captured_in_a_sandbox_and_listed_elsewhere(root, lift):
    (root / "closed").mkdir()
    (root / "closed" / "inside").write_text("inside")
    (root / "secret").write_text("secret")
    for path in (root / "closed" / "inside", root / "secret", root / "closed", root):
        if os.getuid() == 0:
            os.chown(path, 65534, 65534)
        path.chmod(0o755 if path == root else 0)
    for parent in root.parents[:-1]:
        parent.chmod(parent.stat().st_mode | 0o011)
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, root, "lift" if lift else "plain"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    if lift:
        assert lines[:3] == ["d 0 closed", "f 0 closed/inside", "f 0 secret"]
        assert lines[3].startswith("n 6")
        assert lines[-1] == "[b'inside', b'secret']"
    else:
        assert lines[:2] == ["o 5 closed", "o 5 secret"]
        assert lines[-1] == "[]"
    (root / "closed").chmod(0o755)


def test_a_directory_swapped_for_a_link_during_the_walk_never_leads_outside(root, store, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    for number in range(20):
        (root / f"d{number}").mkdir()
        (root / f"d{number}" / "file").write_text("harmless")
    stop = threading.Event()

    def swap():
        shuffled = random.Random(1)
        while not stop.is_set():
            path = root / f"d{shuffled.randrange(20)}"
            path.rename(root / "aside")
            path.symlink_to(outside)
            path.unlink()
            (root / "aside").rename(path)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(40):
            try:
                snapshot = store.capture(DirectorySource(root))
            except WorkspaceError:
                continue  # it changed under our hands, and that was said
            paths = {entry.path for entry in store.entries(snapshot.digest)}
            assert not any(path.endswith(b"secret") for path in paths)
    finally:
        stop.set()
        thread.join()


def test_a_cursor_enters_no_link(root, tmp_path):
    (tmp_path / "outside" / "below").mkdir(parents=True)
    (root / "link").symlink_to(tmp_path / "outside")
    fd = os.open(root, os.O_RDONLY)
    cursor = Cursor(fd, lift=True)
    for parts in ([b"link"], [b"link", b"below"]):
        with pytest.raises(OSError, match=r"directory|links"):
            cursor.move(parts)
    cursor.close()
    os.close(fd)


def test_a_directory_moved_away_under_the_cursor_ends_the_walk(root, tmp_path):
    (root / "a" / "b").mkdir(parents=True)
    fd = os.open(root, os.O_RDONLY)
    cursor = Cursor(fd)
    cursor.move([b"a", b"b"])
    (root / "a" / "b").rename(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="moved"):
        cursor.ascend()
    cursor.close()
    os.close(fd)


@pytest.mark.parametrize("path", [b"../x", b"/x", b"a/../../x", b"a//b", b".", b"", b"a\0b"], ids=ascii)
@pytest.mark.parametrize("do", ["fetch", "put"])
def test_a_request_for_a_path_outside_is_refused(root, path, do):
    fd = os.open(root, os.O_RDONLY)
    body = b"f" + len(path).to_bytes(4, "big") + path if do == "fetch" else pack_put(FILE, 0, 0, path, b"x")
    with pytest.raises(ValueError, match="normal form"):
        list({"fetch": tree.fetch, "put": tree_fill.put}[do](fd, {}, body))
    os.close(fd)


def test_filling_never_overwrites_and_never_follows_a_link(root, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "victim").write_text("before")
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "file").symlink_to(tmp_path / "victim")
    (root / "dangling").symlink_to(tmp_path / "made")
    fd = os.open(root, os.O_RDONLY)
    for record in (
        pack_put(FILE, 0, 0, b"folder/x", b"evil"),
        pack_put(FILE, 0, 0, b"file", b"evil"),
        pack_put(FILE, 0, 6, b"file", b"evil"),
        pack_put(FILE, 0, 0, b"dangling", b"evil"),
        pack_put(DIRECTORY, 0, 0, b"folder", b""),
        pack_put(LINK, 0, 0, b"folder/l", b"/"),
    ):
        ((_, answer),) = tree_fill.put(fd, {}, record)
        assert list(read_refusals(answer)), record
    os.close(fd)
    assert (tmp_path / "victim").read_text() == "before"
    assert list((tmp_path / "outside").iterdir()) == []
    assert not (tmp_path / "made").exists()


class Liar:
    """A source that says what a test wants it to say."""

    tree_fault = GuestError

    def __init__(self, scan, fetch=()):
        self._scan = scan
        self._fetch = fetch
        self.pulled = 0

    def scan(self, options):
        for body in self._scan:
            self.pulled += 1
            yield body

    def fetch(self, wants):
        for body in self._fetch:
            self.pulled += 1
            yield body


HELLO = hashlib.sha256(b"hello").digest()
GOOD = pack_scan(FILE, 0, 5, HELLO, b"a")
ONE = pack_scan(END, 0, 1, NOTHING, b"")


def endless(record):
    number = 0
    while True:
        number += 1
        yield b"".join(record(number * 1000 + item) for item in range(1000))


SCANS = {
    "a climbing name": [pack_scan(FILE, 0, 5, HELLO, b"../a") + ONE],
    "an absolute name": [pack_scan(FILE, 0, 5, HELLO, b"/a") + ONE],
    "a name with a dot": [pack_scan(FILE, 0, 5, HELLO, b"./a") + ONE],
    "a nul in a name": [pack_scan(FILE, 0, 5, HELLO, b"a\0") + ONE],
    "no parent": [pack_scan(FILE, 0, 5, HELLO, b"d/a") + ONE],
    "the same twice": [GOOD + GOOD + pack_scan(END, 0, 2, NOTHING, b"")],
    "no end": [GOOD],
    "another count": [GOOD + pack_scan(END, 0, 2, NOTHING, b"")],
    "something after the end": [GOOD + ONE + GOOD],
    "an unknown kind": [pack_scan(0, 0, 5, HELLO, b"a") + ONE],
    "an unknown detail": [pack_scan(FILE, 2, 5, HELLO, b"a") + ONE],
    "a huge size": [pack_scan(FILE, 0, 1 << 63, HELLO, b"a") + ONE],
    "a long link": [pack_scan(LINK, 0, 1 << 20, HELLO, b"a") + ONE],
    "a directory with a size": [pack_scan(DIRECTORY, 0, 1, NOTHING, b"a") + ONE],
    "an unknown reason": [pack_scan(OMISSION, 99, 0, NOTHING, b"a") + ONE],
    "an unknown note": [pack_scan(NOTE, 99, 1, NOTHING, b"") + pack_scan(END, 0, 0, NOTHING, b"")],
    "the same note again": [pack_scan(NOTE, 1, 1, NOTHING, b"") * 2 + pack_scan(END, 0, 0, NOTHING, b"")],
    "a note about a long path": [
        pack_scan(NOTE, 1, 1, NOTHING, b"n" * 70_000) + pack_scan(END, 0, 0, NOTHING, b"")
    ],
    "a cut record": [GOOD[:-1]],
    "a promised path that does not come": [GOOD[:-5] + b"\xff\xff\xff\xff"],
    "an endless path": [pack_scan(FILE, 0, 5, HELLO, b"a" * 70_000) + ONE],
    "nothing": [],
}


@pytest.mark.parametrize("lie", SCANS)
def test_a_scan_that_lies_is_the_guests_fault_and_leaves_nothing(store, lie):
    with pytest.raises(GuestError):
        store.capture(Liar(SCANS[lie], [pack_piece(0, PIECE_LAST, b"hello")]))
    assert store.list() == []
    assert list(store.layout.packs.iterdir()) == []


FETCHES = {
    "other bytes": [pack_piece(0, PIECE_LAST, b"HELLO")],
    "too few": [pack_piece(0, PIECE_LAST, b"hell")],
    "too many": [pack_piece(0, PIECE_LAST, b"hello!")],
    "none": [],
    "a failure": [pack_piece(0, PIECE_FAILED, b"")],
    "another file": [pack_piece(1, PIECE_LAST, b"hello")],
    "an unknown state": [pack_piece(0, 7, b"hello")],
    "an end that does not come": [pack_piece(0, PIECE_MORE, b"hello")],
    "empty parts": [pack_piece(0, PIECE_MORE, b"")] * 3,
    "more than was asked for": [pack_piece(0, PIECE_LAST, b"hello") + pack_piece(1, PIECE_LAST, b"x")],
    "a cut record": [pack_piece(0, PIECE_LAST, b"hello")[:-1]],
}


@pytest.mark.parametrize("lie", FETCHES)
def test_contents_that_are_not_what_the_scan_said_are_the_guests_fault(store, lie):
    with pytest.raises(GuestError):
        store.capture(Liar([GOOD + ONE], FETCHES[lie]))
    assert store.list() == []
    assert list(store.layout.packs.iterdir()) == []


def test_a_large_file_that_goes_wrong_at_its_end_is_not_stored(store):
    contents = bytes(3 << 20)
    scan = pack_scan(FILE, 0, len(contents), hashlib.sha256(contents).digest(), b"a") + ONE
    parts = [pack_piece(0, PIECE_MORE, bytes(1 << 20)), pack_piece(0, PIECE_MORE, bytes(1 << 20))]
    with pytest.raises(GuestError, match="changed"):
        store.capture(Liar([scan], [*parts, pack_piece(0, PIECE_LAST, b"\1" * (1 << 20))]))
    assert list(store.layout.packs.iterdir()) == []
    store.capture(Liar([scan], [*parts, pack_piece(0, PIECE_LAST, bytes(1 << 20))]))
    assert store.fsck().ok


def test_an_endless_scan_is_cut_off_at_the_limit(store):
    liar = Liar(endless(lambda number: pack_scan(FILE, 0, 0, NOTHING, b"%012d" % number)))
    with pytest.raises(GuestError, match="more than 5000 entries"):
        store.capture(liar, limits=Limits(max_entries=5000))
    assert liar.pulled <= 6


def test_endless_contents_are_cut_off_at_the_promised_size(store):
    liar = Liar([GOOD + ONE], endless(lambda _: pack_piece(0, PIECE_MORE, b"x")))
    with pytest.raises(GuestError):
        store.capture(liar)
    assert liar.pulled <= 3


def test_a_liar_cannot_make_the_host_hold_objects_under_a_wrong_digest(store, root):
    (root / "a").write_text("hello")
    with pytest.raises(GuestError):
        store.capture(Liar([GOOD + ONE], [pack_piece(0, PIECE_LAST, b"EVIL!")]))
    snapshot = store.capture(DirectorySource(root))
    (entry,) = store.entries(snapshot.digest)
    assert b"".join(store.contents(entry)) == b"hello"

import errno
import os
from pathlib import Path

import pytest

from sandbox_runner.guest import tree, tree_fill, tree_records
from sandbox_runner.guest.tree_records import (
    BODY_BYTES,
    DIRECTORY,
    END,
    FILE,
    LINK,
    NOTE,
    OMISSION,
    PIECE_FAILED,
    PIECE_LAST,
    pack_put,
    pack_want,
    read_pieces,
    read_refusals,
    read_scan,
)
from sandbox_runner.guest.tree_walk import TooManyEntriesError


@pytest.fixture
def root(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def scan(root, **header):
    return [record for _, body in tree.scan(root, header, b"") for record in read_scan(body)]


def put(root, *puts):
    ((header, answer),) = tree_fill.put(root, {}, b"".join(pack_put(*item) for item in puts))
    assert header == {"more": False}
    return list(read_refusals(answer))


def test_a_walk_goes_from_parents_to_children_in_byte_order_and_counts(tmp_path, root):
    for name in ("b", "a", "B"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").touch()
    (tmp_path / "a-b").symlink_to("x")
    *entries, end = scan(root)
    assert [(record.kind, record.path) for record in entries] == [
        (DIRECTORY, b"B"),
        (FILE, b"B/f"),
        (DIRECTORY, b"a"),
        (FILE, b"a/f"),
        (LINK, b"a-b"),
        (DIRECTORY, b"b"),
        (FILE, b"b/f"),
    ]
    assert (end.kind, end.size) == (END, 7)


def test_answers_stay_near_the_body_limit_and_only_the_last_says_that_it_is(tmp_path, root):
    for number in range(6):
        (tmp_path / f"{number}").write_bytes(bytes(700_000))
    (tmp_path / "large").write_bytes(bytes(3_500_000))
    wants = b"".join(pack_want(FILE, b"%d" % number) for number in range(6)) + pack_want(FILE, b"large")
    answers = list(tree.fetch(root, {}, wants))
    assert [header["more"] for header, _ in answers] == [True] * (len(answers) - 1) + [False]
    assert all(len(body) < 2 * BODY_BYTES + 100 for _, body in answers)
    sizes = {}
    for _, body in answers:
        for piece in read_pieces(body):
            sizes[piece.want] = sizes.get(piece.want, 0) + len(piece.data)
    assert sizes == {**dict.fromkeys(range(6), 700_000), 6: 3_500_000}


def test_a_limit_on_entries_ends_the_walk(tmp_path, root):
    for number in range(5):
        (tmp_path / str(number)).touch()
    assert len(scan(root, max_entries=5)) == 6
    with pytest.raises(TooManyEntriesError):
        scan(root, max_entries=4)


def named(path, count):
    path.mkdir()
    for number in range(count):
        (path / f"{number:02}").touch()


@pytest.mark.parametrize(
    ("limits", "left_out"),
    [
        ({"max_entries": 47}, []),
        ({"max_entries": 46}, [(10, b"c")]),
        ({"max_entries": 22}, [(10, b"b")]),
        ({"max_entries": 16}, [(10, b"b"), (10, b"c")]),
        ({"max_entries": 2}, [(10, b"a"), (11, b"b")]),
        ({"max_scan_bytes": 2_000}, [(10, b"b")]),
        ({"max_scan_bytes": 60}, [(10, b"a"), (11, b"b")]),
    ],
)
def test_in_a_sandbox_a_directory_with_too_much_in_it_is_left_out_as_a_whole(
    tmp_path, root, limits, left_out
):
    for name, count in (("a", 9), ("b", 30), ("c", 4)):
        named(tmp_path / name, count)
    (tmp_path / "d").touch()
    *entries, end = scan(root, lift=True, **limits)
    assert [(record.detail, record.path) for record in entries if record.kind == OMISSION] == left_out
    assert (end.kind, end.size) == (END, len(entries))
    assert len(entries) <= limits.get("max_entries", 47)


def test_a_root_with_too_many_names_is_captured_as_far_as_there_is_room_in_byte_order(tmp_path, root):
    for number in range(300):
        (tmp_path / f"{number:03}").touch()
    *entries, end = scan(root, lift=True, max_entries=10)
    assert [record.path for record in entries] == [b"%03d" % number for number in range(10)]
    assert [record.detail for record in entries] == [0] * 9 + [11]
    assert end.size == 10


def test_after_a_directory_that_cannot_be_left_what_is_known_by_name_is_left_out(tmp_path, root, monkeypatch):
    for name in ("a", "b"):
        named(tmp_path / name, 2)
    (tmp_path / "c").touch()

    def stuck(_cursor):
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr("sandbox_runner.guest.tree_cursor.Cursor.ascend", stuck)
    *entries, end = scan(root, lift=True)
    assert [(record.kind, record.detail, record.path) for record in entries[3:]] == [
        (OMISSION, 5, b"b"),
        (OMISSION, 5, b"c"),
    ]
    assert end.size == 5
    with pytest.raises(OSError, match="too many open files"):
        scan(root)


def test_a_closed_root_is_opened_in_a_sandbox_alone(tmp_path, root):
    (tmp_path / "f").touch()
    tmp_path.chmod(0)
    *entries, note, _end = scan(root, lift=True)
    assert [record.path for record in entries] == [b"f"]
    assert (note.kind, note.detail) == (NOTE, 6)
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_what_cannot_be_fetched_any_more_is_said_and_the_rest_comes(tmp_path, root):
    (tmp_path / "there").write_text("x")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("there")
    paths = [b"gone", b"folder", b"fifo", b"link", b"no/where", b"there/below", b"there"]
    ((_, body),) = tree.fetch(root, {}, b"".join(pack_want(FILE, path) for path in paths))
    assert [piece.state for piece in read_pieces(body)] == [PIECE_FAILED] * 6 + [PIECE_LAST]


def test_a_tree_is_put_with_its_modes_and_a_file_in_parts(tmp_path, root):
    assert (
        put(
            root,
            (DIRECTORY, 0, 0, b"d", b""),
            (FILE, 1, 0, b"d/run", b"one"),
            (FILE, 1, 3, b"d/run", b"two"),
            (LINK, 0, 0, b"l", b"../x"),
        )
        == []
    )
    assert (tmp_path / "d" / "run").read_bytes() == b"onetwo"
    assert (tmp_path / "d" / "run").stat().st_mode & 0o111
    assert str((tmp_path / "l").readlink()) == "../x"


@pytest.mark.parametrize(
    ("item", "number"),
    [
        ((FILE, 0, 0, b"there", b"x"), errno.EEXIST),
        ((DIRECTORY, 0, 0, b"there", b""), errno.EEXIST),
        ((LINK, 0, 0, b"there", b"x"), errno.EEXIST),
        ((FILE, 0, 0, b"no/where", b"x"), errno.ENOENT),
        ((FILE, 0, 9, b"there", b"x"), errno.ESPIPE),
        ((FILE, 0, 9, b"missing", b"x"), errno.ENOENT),
        ((FILE, 0, 0, b"n" * 256, b"x"), errno.ENAMETOOLONG),
    ],
)
def test_what_cannot_be_put_is_refused_by_name_and_ends_the_request(tmp_path, root, item, number):
    (tmp_path / "there").write_text("before")
    (refusal,) = put(root, item, (FILE, 0, 0, b"after", b"x"))
    assert (refusal.errno, refusal.path) == (number, item[3])
    assert (tmp_path / "there").read_text() == "before"
    assert not (tmp_path / "after").exists()


def test_a_put_record_of_an_unknown_kind_is_no_request(root):
    with pytest.raises(ValueError, match="unknown kind"):
        put(root, (OMISSION, 0, 0, b"x", b""))


def test_no_descriptor_is_left_open(tmp_path, root):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_text("x")
    before = len(list(Path("/proc/self/fd").iterdir()))
    scan(root)
    list(tree.fetch(root, {}, pack_want(FILE, b"d/f") + pack_want(FILE, b"gone")))
    put(root, (FILE, 0, 0, b"d/f", b"x"))
    with pytest.raises(TooManyEntriesError):
        scan(root, max_entries=1)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("read", ["scan", "wants", "pieces", "puts", "refusals"])
def test_every_cut_of_a_body_is_refused(read):
    bodies = {
        "scan": tree_records.pack_scan(FILE, 0, 1, bytes(32), b"path"),
        "wants": pack_want(FILE, b"path"),
        "pieces": tree_records.pack_piece(0, PIECE_LAST, b"data"),
        "puts": pack_put(FILE, 0, 0, b"path", b"data"),
        "refusals": tree_records.pack_refusal(2, b"path"),
    }
    reader = getattr(tree_records, f"read_{read}")
    assert len(list(reader(bodies[read] * 3))) == 3
    for length in range(1, len(bodies[read])):
        with pytest.raises(ValueError, match="record"):
            list(reader(bodies[read][:length]))

import hashlib

import pytest

from sandbox_runner.guest.tree_records import DIRECTORY, FILE, LINK
from sandbox_runner.snapshot.manifest import (
    Entry,
    ManifestError,
    Omission,
    TreeBuilder,
    check_omissions,
    decode_directory,
    decode_snapshot,
    encode_snapshot,
)

HELLO = hashlib.sha256(b"hello").digest()


def build(*entries):
    builder = TreeBuilder()
    finished = []
    for path, kind, executable, size, digest in entries:
        finished += builder.add(path, kind, executable, size, digest)
    return [*finished, *builder.finish()]


def test_the_bytes_of_a_tree_are_those_of_the_specification():
    *_, below, root = build(
        (b"d", DIRECTORY, 0, 0, b""), (b"d/run", FILE, 1, 5, HELLO), (b"l", LINK, 0, 5, HELLO)
    )
    line = b"sandbox-runner directory 1\n"
    assert below.data == line + b"f\x01\xed" + (5).to_bytes(8, "big") + HELLO + b"\x00\x03run"
    assert root.data == (
        line
        + (b"d\x01\xed" + (5).to_bytes(8, "big") + hashlib.sha256(below.data).digest() + b"\x00\x01d")
        + (b"l\x01\xff" + (5).to_bytes(8, "big") + HELLO + b"\x00\x01l")
    )
    snapshot = encode_snapshot(root, [Omission(b"p", 1)])
    assert snapshot == (
        b"sandbox-runner snapshot 1\n" + root.digest + (10).to_bytes(8, "big") + b"\x01\x00\x00\x00\x01p"
    )
    assert root.digest == hashlib.sha256(root.data).digest()


def test_a_directory_object_decodes_to_the_entries_it_was_built_from():
    (root,) = build((b"\xff\n", FILE, 1, 5, HELLO), (b"\xff\n2", LINK, 0, 5, HELLO))
    assert list(decode_directory(root.data, b"at")) == [
        Entry(b"at/\xff\n", FILE, 0o755, 5, HELLO),
        Entry(b"at/\xff\n2", LINK, 0o777, 5, HELLO),
    ]


@pytest.mark.parametrize(
    "paths",
    [
        [b"b", b"a"],
        [b"a", b"a"],
        [b"x/a"],
        [b""],
        [b"."],
        [b".."],
        [b"/a"],
        [b"a\0b"],
        [b"a" * 65536],
    ],
    ids=["order", "twice", "no parent", "empty", "dot", "climbing", "absolute", "nul", "too long"],
)
def test_a_path_that_is_out_of_place_is_refused(paths):
    with pytest.raises(ManifestError):
        build(*((path, FILE, 0, 5, HELLO) for path in paths))


def test_a_directory_that_was_left_cannot_be_entered_again():
    builder = TreeBuilder()
    builder.add(b"a", DIRECTORY, 0, 0, b"")
    builder.add(b"b", FILE, 0, 5, HELLO)
    with pytest.raises(ManifestError):
        builder.add(b"a/late", FILE, 0, 5, HELLO)


def test_nothing_can_be_placed_below_a_file():
    builder = TreeBuilder()
    builder.add(b"a", FILE, 0, 5, HELLO)
    with pytest.raises(ManifestError):
        builder.add(b"a/b", FILE, 0, 5, HELLO)


def test_every_cut_of_an_object_is_refused():
    (root,) = build((b"name", FILE, 0, 5, HELLO))
    for length in range(len(root.data)):
        if length != len(b"sandbox-runner directory 1\n"):  # an empty directory is one
            with pytest.raises(ManifestError):
                list(decode_directory(root.data[:length]))
    snapshot = encode_snapshot(root, [Omission(b"p", 1)])
    for length in range(len(snapshot)):
        if length != len(snapshot) - 6:  # without its omission it is another snapshot
            with pytest.raises(ManifestError):
                decode_snapshot(snapshot[:length])


@pytest.mark.parametrize(
    ("position", "value"),
    [(0, b"x"), (1, b"\x09"), (44, b"/"), (44, b"\0")],
    ids=["kind", "mode", "slash", "nul"],
)
def test_a_directory_object_with_a_bad_record_is_refused(position, value):
    line = b"sandbox-runner directory 1\n"
    record = bytearray(b"f\x01\xa4" + (5).to_bytes(8, "big") + HELLO + b"\x00\x02ab")
    record[position + (1 if position == 44 else 0) : position + (2 if position == 44 else 1)] = value
    with pytest.raises(ManifestError):
        list(decode_directory(line + bytes(record)))


def test_an_omission_changes_the_digest_of_the_snapshot_and_not_of_the_tree():
    (root,) = build((b"a", FILE, 0, 5, HELLO))
    whole, partial = encode_snapshot(root, []), encode_snapshot(root, [Omission(b"b", 2)])
    assert whole != partial
    assert decode_snapshot(whole)[0] == decode_snapshot(partial)[0] == root.digest


def test_omissions_have_one_order():
    (root,) = build((b"a", FILE, 0, 5, HELLO))
    assert encode_snapshot(root, [Omission(b"c", 1), Omission(b"b", 2)]) == encode_snapshot(
        root, [Omission(b"b", 2), Omission(b"c", 1)]
    )
    swapped = encode_snapshot(root, []) + b"\x01\x00\x00\x00\x01c" + b"\x02\x00\x00\x00\x01b"
    with pytest.raises(ManifestError):
        check_omissions(decode_snapshot(swapped)[2])

"""Trees as nasty as a file system takes them, and texts as they come."""

import os
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sandbox_runner.guest.tree_records import read_scan
from sandbox_runner.snapshot import DirectorySource, Limits, SnapshotStore, show_path
from sandbox_runner.snapshot.lines import changed_blocks, hunks
from sandbox_runner.snapshot.manifest import decode_directory

NASTY = [
    b"\n",
    b"\x1b[2J",
    "\u202e".encode(),
    b"\xff\xfe",
    b"-rf",
    b"..x",
    b" ",
    b"a\\b",
    b"*",
    "e\u0301".encode(),
    b"\xc3\xa9",
]
names = (
    (st.sampled_from(NASTY) | st.binary(min_size=1, max_size=40) | st.binary(min_size=255, max_size=255))
    .map(lambda name: name.replace(b"/", b"_").replace(b"\0", b"_"))
    .filter(lambda name: name not in {b".", b".."})
)
files = st.tuples(st.binary(max_size=300), st.booleans())
links = st.binary(min_size=1, max_size=200).map(lambda target: target.replace(b"\0", b"_"))
trees = st.recursive(
    st.dictionaries(names, files | links, max_size=4),
    lambda below: st.dictionaries(names, files | links | below, max_size=4),
    max_leaves=12,
)


def write(tree, folder):
    folder.mkdir()
    for name, value in tree.items():
        path = folder / os.fsdecode(name)
        if isinstance(value, dict):
            write(value, path)
        elif isinstance(value, bytes):
            os.symlink(value, os.fsencode(path))  # noqa: PTH211 - pathlib would normalise it
        else:
            path.write_bytes(value[0])
            path.chmod(0o700 if value[1] else 0o600)


def read(folder):
    tree = {}
    for path in folder.iterdir():
        if path.is_symlink():
            value = os.readlink(os.fsencode(path))  # noqa: PTH115 - pathlib would normalise it
        elif path.is_dir():
            value = read(path)
        else:
            value = (path.read_bytes(), bool(path.stat().st_mode & 0o100))
        tree[os.fsencode(path.name)] = value
    return tree


@settings(max_examples=40, deadline=None)
@given(trees)
def test_capture_restore_capture_keeps_the_digest_and_loses_nothing(tree):
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write(tree, place / "tree")
        store = SnapshotStore(place / "store")
        snapshot = store.capture(DirectorySource(place / "tree"))
        assert not snapshot.partial
        store.restore(snapshot.digest, place / "out")
        assert read(place / "out") == tree
        assert store.capture(DirectorySource(place / "out")).digest == snapshot.digest
        store.restore(snapshot.digest, place / "out", overwrite=True)
        assert read(place / "out") == tree


@settings(max_examples=25, deadline=None)
@given(trees)
def test_an_export_imports_to_the_same_digest_and_exports_to_the_same_bytes(tree):
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write(tree, place / "tree")
        store, other = SnapshotStore(place / "store"), SnapshotStore(place / "other")
        snapshot = store.capture(DirectorySource(place / "tree"))
        for form, name in (("tar.zst", "one.tar.zst"), ("oci", "one.tar"), ("oci", "one")):
            store.export(snapshot.digest, place / name, form=form)
            assert other.import_archive(place / name).digest == snapshot.digest
            other.export(snapshot.digest, place / f"again-{name}", form=form)
            if name != "one":
                assert (place / name).read_bytes() == (place / f"again-{name}").read_bytes()


@settings(max_examples=40, deadline=None)
@given(trees, trees)
def test_applying_a_diff_to_the_old_tree_makes_the_new_one(old, new):
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        store = SnapshotStore(place / "store")
        digests = []
        for name, tree in (("old", old), ("new", new)):
            write(tree, place / name)
            digests.append(store.capture(DirectorySource(place / name)).digest)
        diff = store.diff(*digests)
        assert bool(diff) == (digests[0] != digests[1])
        store.apply(*digests, place / "old", git=True)
        assert read(place / "old") == new
        store.apply(digests[1], digests[0], place / "old", git=True)
        assert read(place / "old") == old


@settings(max_examples=40, deadline=None)
@given(trees)
@example({b"\n": b"", b"\xc2\xa0": b"", b"\xe2\x80\xae\xe3\x80\x80": b""})
def test_a_shown_path_is_one_line_and_tells_paths_apart(tree):
    shown = [show_path(name) for name in tree]
    assert len(set(shown)) == len(tree)
    assert all(text.isprintable() for text in shown)


@given(st.binary(max_size=200))
def test_bytes_from_a_stranger_decode_or_are_refused(data):
    for decode in (lambda: list(read_scan(data)), lambda: list(decode_directory(data))):
        try:
            decode()
        except ValueError:
            continue


texts = st.lists(st.sampled_from([b"a", b"b", b"c", b"d", b"e"]), max_size=30)


@given(texts, texts)
def test_blocks_turn_the_old_text_into_the_new(old, new):
    blocks = changed_blocks(old, new)
    made, at = [], 0
    for block in blocks:
        assert block.old_start >= at
        made += old[at : block.old_start]
        assert len(made) == block.new_start
        made += new[block.new_start : block.new_end]
        at = block.old_end
    assert made + old[at:] == new
    covered = [block for hunk in hunks(blocks, len(old)) for block in hunk.blocks]
    assert covered == blocks


@given(texts, texts)
def test_no_shorter_list_of_changes_exists_for_short_texts(old, new):
    edits = sum(
        block.old_end - block.old_start + block.new_end - block.new_start
        for block in changed_blocks(old, new)
    )
    common = [[0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for row, left in enumerate(old):
        for column, right in enumerate(new):
            common[row + 1][column + 1] = (
                common[row][column] + 1
                if left == right
                else max(common[row][column + 1], common[row + 1][column])
            )
    assert edits == len(old) + len(new) - 2 * common[-1][-1]


def test_limits_are_whole_numbers_that_a_header_can_carry():
    assert all(isinstance(value, int) for value in Limits().options().values())

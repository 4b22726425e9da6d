"""Archives that could be stored and not be restored, or that never end: refused at the door by name."""

import io
import tarfile
import time

import pytest
import zstandard

from sandbox_runner.errors import SnapshotError
from sandbox_runner.snapshot import DirectorySource, Limits, SnapshotStore, tar_reader
from sandbox_runner.snapshot import archive as archives
from sandbox_runner.snapshot.manifest import Omission, TreeBuilder
from sandbox_runner.snapshot.session import Tally, open_session


def member(name, kind=tarfile.REGTYPE, data=b"", target="", **headers):
    item = tarfile.TarInfo(name)
    item.type, item.size, item.linkname, item.pax_headers = kind, len(data), target, headers
    return item, io.BytesIO(data)


def archive(tmp_path, *members, before=b"", form=tarfile.PAX_FORMAT):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for item, data in members:
            tar.addfile(item, data)
    path = tmp_path / "archive.tar.zst"
    path.write_bytes(zstandard.compress(before + buffer.getvalue()))
    return path


@pytest.fixture
def store(tmp_path):
    return SnapshotStore(tmp_path / "store")


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (member("n" * 256), "name"),
        (member("d/" + "n" * 300 + "/f"), "name"),
        (member("a/" * 9_000 + "f"), "16384 bytes"),
        (member("l", tarfile.SYMTYPE, target="t" * 4_096), "4095 bytes"),
    ],
    ids=["a long name", "a long directory", "a long path", "a long target"],
)
def test_what_no_file_system_could_hold_is_refused_at_import(store, tmp_path, found, reason):
    with pytest.raises(SnapshotError, match=reason):
        store.import_archive(archive(tmp_path, found))
    assert store.list() == []


def test_the_longest_that_a_file_system_holds_is_imported_and_restored(store, tmp_path):
    deep = "/".join(["d" * 200] * 15)
    snapshot = store.import_archive(
        archive(
            tmp_path,
            member("n" * 255, data=b"x"),
            member("l", tarfile.SYMTYPE, target="t" * 4_095),
            member(f"{deep}/f", data=b"y"),
        )
    )
    store.restore(snapshot.digest, tmp_path / "out")
    assert (tmp_path / "out" / deep / "f").read_bytes() == b"y"
    assert len(str((tmp_path / "out" / "l").readlink())) == 4_095


def test_hard_links_that_add_up_to_more_than_the_limit_are_refused(store, tmp_path):
    links = [member(f"l{number}", tarfile.LNKTYPE, target="f") for number in range(20)]
    path = archive(tmp_path, member("f", data=bytes(1_000)), *links)
    with pytest.raises(SnapshotError, match="larger"):
        store.import_archive(path, limits=Limits(max_total_bytes=20_000))
    assert store.import_archive(path, limits=Limits(max_total_bytes=21_000)).files == 21


def test_one_directory_named_for_ever_ends_the_import(store, tmp_path):
    path = archive(tmp_path, *[member("d", tarfile.DIRTYPE)] * 30)
    with pytest.raises(SnapshotError, match="20 members"):
        store.import_archive(path, limits=Limits(max_entries=10))
    assert store.import_archive(path, limits=Limits(max_entries=15)).directories == 1


def test_a_name_of_nothing_but_this_directory_is_read_once_not_once_for_each_part():
    """Each copy of what is left took a second for one header, and an archive of a kilobyte holds hundreds."""
    name = b"./" * 100_000 + b"a"
    began = time.process_time()
    for _ in range(20):
        assert tar_reader._normal(name, Limits()) == b"a"
    assert time.process_time() - began < 3.0


@pytest.mark.parametrize(("count", "accepted"), [(8, True), (9, False)])
def test_extended_headers_before_one_member_are_counted(store, tmp_path, count, accepted):
    headers = member("x", data=b"", comment="c")[0].create_pax_header(
        {"name": "x", "mode": 0o644, "uid": 0, "gid": 0, "size": 0, "mtime": 0, "chksum": 0, "type": b"0"}
        | {"linkname": "", "uname": "", "gname": "", "devmajor": 0, "devminor": 0},
        "utf-8",
    )[:1024]
    path = archive(tmp_path, member("f"), before=headers * count, form=tarfile.USTAR_FORMAT)
    if accepted:
        assert store.import_archive(path).files == 1
    else:
        with pytest.raises(SnapshotError, match="extended headers"):
            store.import_archive(path)


def test_a_sparse_file_is_refused_whatever_else_its_header_says(store, tmp_path):
    path = archive(tmp_path, member("f", **{"GNU.sparse.major": "1", "comment": "c"}))
    with pytest.raises(SnapshotError, match="not accepted"):
        store.import_archive(path)


def test_names_in_walk_order_are_those_of_a_capture(store, tmp_path):
    tree = tmp_path / "tree"
    for name in ("a/b", "a-b", "a.b", "a", "a b", "ab/c", "a\x01/b", "é/x"):
        place = tree / name
        if not place.is_dir():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(name)
    captured = store.capture(DirectorySource(tree))
    store.export(captured.digest, tmp_path / "whole.tar.zst", form="tar.zst")
    assert (
        SnapshotStore(tmp_path / "other").import_archive(tmp_path / "whole.tar.zst").digest == captured.digest
    )


def test_a_label_that_no_import_would_take_is_not_exported(store, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "LABEL_BYTES", 1_000)
    root = TreeBuilder().finish()[-1]
    with open_session(store.layout) as session:
        tally = Tally()
        tally.omissions.extend(Omission(b"%0100d" % number, 1) for number in range(20))
        session.add_directories([root])
        digest = session.commit(root, tally, "").digest
    for form, name in (("tar.zst", "a.tar.zst"), ("oci", "image")):
        with pytest.raises(SnapshotError, match="leaves"):
            store.export(digest, tmp_path / name, form=form)
        assert not (tmp_path / name).exists()

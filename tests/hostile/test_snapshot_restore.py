"""Directories and archives laid out to make a restore or an import write where it must not."""

import contextlib
import gzip
import hashlib
import io
import json
import os
import tarfile
import threading

import pytest
import zstandard

from sandbox_runner.errors import SnapshotError, WorkspaceError
from sandbox_runner.snapshot import DirectorySource, Limits, SnapshotStore


@pytest.fixture
def store(tmp_path):
    return SnapshotStore(tmp_path / "store")


@pytest.fixture
def digest(store, tmp_path):
    root = tmp_path / "tree"
    (root / "dir" / "sub").mkdir(parents=True)
    (root / "dir" / "file").write_text("from the snapshot")
    (root / "dir" / "sub" / "file").write_text("from the snapshot")
    (root / "link").symlink_to("dir/file")
    return store.capture(DirectorySource(root)).digest


@pytest.fixture
def outside(tmp_path):
    path = tmp_path / "outside"
    path.mkdir()
    (path / "file").write_text("untouched")
    return path


def test_overwriting_replaces_planted_links_and_follows_none(store, digest, tmp_path, outside):
    out = tmp_path / "out"
    out.mkdir()
    (out / "dir").symlink_to(outside)
    (out / "link").symlink_to(outside / "file")
    store.restore(digest, out, overwrite=True)
    assert (outside / "file").read_text() == "untouched"
    assert sorted(path.name for path in outside.iterdir()) == ["file"]
    assert not (out / "dir").is_symlink()
    assert (out / "dir" / "file").read_text() == "from the snapshot"
    assert str((out / "link").readlink()) == "dir/file"


def test_overwriting_breaks_a_hard_link_and_leaves_the_other_name_alone(store, digest, tmp_path, outside):
    (tmp_path / "out" / "dir").mkdir(parents=True)
    os.link(outside / "file", tmp_path / "out" / "dir" / "file")
    store.restore(digest, tmp_path / "out", overwrite=True)
    assert (outside / "file").read_text() == "untouched"


def test_overwriting_replaces_a_fifo_without_opening_it(store, digest, tmp_path):
    (tmp_path / "out" / "dir").mkdir(parents=True)
    os.mkfifo(tmp_path / "out" / "dir" / "file")
    store.restore(digest, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "dir" / "file").read_text() == "from the snapshot"


def test_a_link_swapped_in_during_the_restore_never_leads_outside(store, digest, tmp_path, outside):
    out = tmp_path / "out"
    (out / "dir" / "sub").mkdir(parents=True)
    stop = threading.Event()

    def swap():
        while not stop.is_set():
            with contextlib.suppress(OSError):
                (out / "dir").rename(out / "aside")
                (out / "dir").symlink_to(outside)
            with contextlib.suppress(OSError):
                (out / "dir").unlink()
                (out / "aside").rename(out / "dir")

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(60):
            with contextlib.suppress(WorkspaceError):
                store.restore(digest, out, overwrite=True)
    finally:
        stop.set()
        thread.join()
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"file": "untouched"}


def test_a_restore_into_a_file_or_a_closed_place_is_the_users_error(store, digest, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(WorkspaceError):
        store.restore(digest, tmp_path / "file")
    with pytest.raises(WorkspaceError):
        store.restore(digest, tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "x"


def member(name, kind=tarfile.REGTYPE, data=b"", target=""):
    item = tarfile.TarInfo(name)
    item.type = kind
    item.size = len(data)
    item.linkname = target
    return item, io.BytesIO(data)


def tar_of(*members, form=tarfile.PAX_FORMAT):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for item, data in members:
            tar.addfile(item, data)
    return buffer.getvalue()


def zst(tmp_path, data):
    path = tmp_path / "archive.tar.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(data))
    return path


def huge_pax():
    item = tarfile.TarInfo("x")
    item.pax_headers = {"comment": "x" * (1 << 20)}
    return tar_of((item, io.BytesIO()))


def huge_size():
    data = bytearray(tar_of(member("x")))
    data[124:136] = b"\x80" + (1 << 60).to_bytes(11, "big")
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


HOSTILE = {
    "climbs": tar_of(member("../evil", data=b"x")),
    "climbs in the middle": tar_of(member("a/../../evil", data=b"x")),
    "absolute": tar_of(member("/etc/evil", data=b"x")),
    "through a link": tar_of(member("l", tarfile.SYMTYPE, target="/etc"), member("l/evil", data=b"x")),
    "below a file": tar_of(member("f", data=b"x"), member("f/evil", data=b"x")),
    "the same twice": tar_of(member("f", data=b"x"), member("f", data=b"y")),
    "a file that becomes a link": tar_of(member("f", data=b"x"), member("f", tarfile.SYMTYPE, target="/etc")),
    "a device": tar_of(member("d", tarfile.CHRTYPE)),
    "a fifo": tar_of(member("d", tarfile.FIFOTYPE)),
    "a hard link outside": tar_of(member("h", tarfile.LNKTYPE, target="/etc/shadow")),
    "a hard link to nothing": tar_of(member("h", tarfile.LNKTYPE, target="missing")),
    "a hard link to a directory": tar_of(
        member("d", tarfile.DIRTYPE), member("h", tarfile.LNKTYPE, target="d")
    ),
    "an empty link": tar_of(member("l", tarfile.SYMTYPE, target="")),
    "a long path in pax": tar_of(member("d/" * 20_000 + "x", data=b"x")),
    "a long path in gnu": tar_of(member("d/" * 20_000 + "x", data=b"x"), form=tarfile.GNU_FORMAT),
    "a huge header": huge_pax(),
    "a huge size": huge_size(),
    "a file as the root": tar_of(member("./", data=b"x")),
    "cut in a header": tar_of(member("f", data=b"x" * 2000))[:700],
    "cut in the contents": tar_of(member("f", data=b"x" * 2000))[:1600],
    "bytes after the end": tar_of(member("f", data=b"x")) + b"x" * 512,
    "no tar at all": b"hello" * 300,
    "nothing": b"",
    "a wrong checksum": tar_of(member("f", data=b"x")).replace(b"ustar", b"ustar", 1)[:100]
    + b"9"
    + tar_of(member("f", data=b"x"))[101:],
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_a_hostile_archive_is_refused_and_leaves_nothing(store, tmp_path, attack):
    with pytest.raises(SnapshotError, match="cannot be imported"):
        store.import_archive(zst(tmp_path, HOSTILE[attack]))
    assert store.list() == []
    assert list(store.layout.packs.iterdir()) == []


def test_a_compressed_bomb_stops_at_the_limit(store, tmp_path):
    path = tmp_path / "bomb.tar.zst"
    with path.open("wb") as file, zstandard.ZstdCompressor().stream_writer(file) as packer:
        head = tar_of(member("zeros", data=b""))[:512]
        item = tarfile.TarInfo("zeros")
        item.size = 1 << 33
        packer.write(item.tobuf(tarfile.GNU_FORMAT))
        assert head
        for _ in range(64):
            packer.write(bytes(1 << 20))
    with pytest.raises(SnapshotError, match="larger than the limits"):
        store.import_archive(path, limits=Limits(max_file_bytes=1 << 20))


def test_a_million_members_stop_at_the_limit(store, tmp_path):
    data = b"".join(tar_of(member(f"f{number}"))[:512] for number in range(2000)) + bytes(1024)
    with pytest.raises(SnapshotError, match="more than 1000 entries"):
        store.import_archive(zst(tmp_path, data), limits=Limits(max_entries=1000))


def test_archives_of_other_programs_are_taken(store, tmp_path, digest):
    source = tmp_path / "tree"
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
            tar.add(source, arcname=".")
        assert store.import_archive(zst(tmp_path, buffer.getvalue())).digest == digest


def test_hard_links_inside_an_archive_become_files(store, tmp_path):
    data = tar_of(member("a", data=b"hello"), member("b", tarfile.LNKTYPE, target="a"))
    snapshot = store.import_archive(zst(tmp_path, data))
    assert [b"".join(store.contents(entry)) for entry in store.entries(snapshot.digest)] == [b"hello"] * 2


def test_a_label_that_claims_another_digest_is_refused(store, digest, tmp_path):
    store.export(digest, tmp_path / "good.tar.zst", form="tar.zst")
    data = (tmp_path / "good.tar.zst").read_bytes()
    (tmp_path / "bad.tar.zst").write_bytes(data.replace(digest.encode(), b"0" * 64))
    with pytest.raises(SnapshotError, match="says it is snapshot"):
        store.import_archive(tmp_path / "bad.tar.zst")


@pytest.mark.parametrize(
    "label", [b"[]", b"{", b'{"snapshot": 1}', b'{"omissions": 3, "snapshot": ""}', b"[" * 99999]
)
def test_a_malformed_label_is_refused(store, tmp_path, label):
    packed = zstandard.ZstdCompressor().compress(tar_of(member("f", data=b"x")))
    frame = (0x184D2A50).to_bytes(4, "little") + len(label).to_bytes(4, "little") + label
    (tmp_path / "bad.tar.zst").write_bytes(frame + packed)
    with pytest.raises(SnapshotError):
        store.import_archive(tmp_path / "bad.tar.zst")


@pytest.fixture
def layout(store, digest, tmp_path):
    store.export(digest, tmp_path / "image", form="oci")
    return tmp_path / "image"


def rewrite(layout, name, change):
    path = layout / name
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))


def blobs(layout):
    return sorted((layout / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)


def test_an_image_with_a_flipped_blob_is_refused(store, layout):
    for blob in blobs(layout):
        if b"rootfs" in blob.read_bytes():
            continue  # the configuration is not read
        sound = blob.read_bytes()
        blob.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
        with pytest.raises(SnapshotError):
            store.import_archive(layout)
        blob.write_bytes(sound)
    store.import_archive(layout)


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index.update(manifests=[]),
        lambda index: index.update(manifests=index["manifests"] * 2),
        lambda index: index.update(manifests="x"),
        lambda index: index["manifests"][0].update(digest="sha256:../../../../etc/passwd"),
        lambda index: index["manifests"][0].update(digest="md5:0"),
        lambda index: index["manifests"][0].update(digest=None),
        lambda index: index["manifests"][0].update(mediaType="text/plain"),
    ],
)
def test_an_index_that_is_no_index_is_refused(store, layout, change):
    rewrite(layout, "index.json", change)
    with pytest.raises(SnapshotError, match="cannot be imported"):
        store.import_archive(layout)


def test_links_and_fifos_inside_a_layout_are_not_followed(store, layout, tmp_path):
    blob = blobs(layout)[-1]
    blob.rename(tmp_path / "elsewhere")
    blob.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SnapshotError, match="is a link"):
        store.import_archive(layout)
    blob.unlink()
    os.mkfifo(blob)
    with pytest.raises(SnapshotError, match="no regular file"):
        store.import_archive(layout)


def test_a_gzip_bomb_in_an_image_stops_at_the_limit(store, layout):
    item = tarfile.TarInfo("zeros")
    item.size = 1 << 30
    bomb = gzip.compress(item.tobuf(tarfile.GNU_FORMAT) + bytes(32 << 20), 9)
    name = hashlib.sha256(bomb).hexdigest()
    (layout / "blobs" / "sha256" / name).write_bytes(bomb)
    manifest = next(path for path in blobs(layout) if b'"layers":[' in path.read_bytes())
    document = json.loads(manifest.read_bytes())
    document["layers"][0].update(digest=f"sha256:{name}", size=len(bomb))
    changed = json.dumps(document).encode()
    changed_name = hashlib.sha256(changed).hexdigest()
    (layout / "blobs" / "sha256" / changed_name).write_bytes(changed)
    rewrite(layout, "index.json", lambda index: index["manifests"][0].update(digest=f"sha256:{changed_name}"))
    with pytest.raises(SnapshotError, match="larger than the limits"):
        store.import_archive(layout, limits=Limits(max_file_bytes=1 << 20))
    with pytest.raises(SnapshotError, match="ends in the middle"):
        store.import_archive(layout)


@pytest.mark.parametrize("form", ["tar.zst", "oci"])
@pytest.mark.parametrize("target", ["", ".", "..", "/", "./"])
def test_an_export_to_what_has_no_name_is_refused_by_name(store, digest, target, form):
    with pytest.raises(SnapshotError, match=r"is there already|is a directory"):
        store.export(digest, target, form=form)


def test_an_export_never_writes_over_what_is_there(store, digest, tmp_path):
    for name, form in (("a.tar.zst", "tar.zst"), ("b.tar", "oci")):
        (tmp_path / name).write_text("mine")
        with pytest.raises(SnapshotError, match="is there already"):
            store.export(digest, tmp_path / name, form=form)
        assert (tmp_path / name).read_text() == "mine"
    with pytest.raises(SnapshotError, match="cannot be written"):
        store.export(digest, tmp_path / "missing" / "x.tar.zst", form="tar.zst")
    assert not any(path.name.startswith(".") for path in tmp_path.iterdir())

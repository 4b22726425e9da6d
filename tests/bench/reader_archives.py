"""Archives that are small on the disk and as large in memory as their reader's limits let them be."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import zstandard

from sandbox_runner.snapshot import SnapshotStore
from sandbox_runner.snapshot.archive import LABEL_BYTES, LABEL_VALUES
from sandbox_runner.snapshot.importing import MEMORY_BYTES
from sandbox_runner.snapshot.oci_import import DOCUMENT_MEMORY
from sandbox_runner.snapshot.transfer import NAMES_BYTES
from tests.bench.reading import Case, Reader, read_one

__all__ = ["READERS"]

_END = bytes(1024)
_ENTRIES = 200_000


def read(folder: Path) -> None:
    """Import it, into a store beside it."""
    SnapshotStore(folder / "store").import_archive(folder / "archive")


def _zst(folder: Path, parts: Iterable[bytes], label: bytes = b"", *, window: int = 0) -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(
        1, **({"window_log": window} if window else {})
    )
    with (folder / "archive").open("wb") as file:
        if label:
            file.write(struct.pack("<II", 0x184D2A50, len(label)) + label)
        with zstandard.ZstdCompressor(compression_params=parameters).stream_writer(
            file, closefd=False
        ) as packer:
            for part in parts:
                packer.write(part)


def _head(name: bytes, kind: bytes = b"5", size: int = 0) -> bytes:
    item = tarfile.TarInfo(name.decode("latin-1"))
    item.type, item.size, item.mode = kind, size, 0o755
    return item.tobuf(tarfile.USTAR_FORMAT)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def _pax(records: bytes) -> bytes:
    return _head(b"x", b"x", len(records)) + _padded(records)


def _record(key: bytes, value: bytes) -> bytes:
    length = len(key) + len(value) + 3
    digits = len(str(length + len(str(length))))
    return b"%d %b=%b\n" % (length + digits, key, value)


def _at(path: bytes, head: bytes) -> bytes:
    return _pax(_record(b"path", path)) + head


def _deep(seed: bytes, levels: int) -> bytes:
    return b"/".join([seed, *[b"d"] * levels])


def pax_flood(folder: Path) -> None:
    """Extended headers of 256 KiB each, thousands before one member."""
    block = _pax(b"".join(_record(b"KKKK%d" % number, b"") for number in range(15_000)))
    _zst(folder, [*(block.replace(b"KKKK", b"%04d" % number) for number in range(300)), _head(b"a"), _END])


def pax_keys(folder: Path) -> None:
    """As many keys as the headers before one member may hold, for many members."""
    records = b"".join(_record(b"k%d" % number, b"") for number in range(18_000))
    _zst(folder, [*([_pax(records)] * 8 + [_head(b"a")]) * 20, _END])


def deep(folder: Path) -> None:
    """Chains of empty directories whose paths add up to the limit on all names."""
    room, parts = NAMES_BYTES, []
    for number, levels in enumerate((8_180, 8_180, 4_000, 2_000, 1_000, 500)):
        path = _deep(b"%02d" % number, levels)
        if (cost := (len(path) ** 2) // 4 + 2 * len(path)) < room:
            room -= cost
            parts.append(_at(path, _head(b"d")))
    _zst(folder, [*parts, _END])


def deeper(folder: Path) -> None:
    """The same without an end."""
    _zst(folder, [*(_at(_deep(b"%04d" % number, 8_180), _head(b"d")) for number in range(300)), _END])


def wide(folder: Path) -> None:
    """As many files as are accepted, of names as long as they may be together."""
    length = NAMES_BYTES // _ENTRIES - 10
    _zst(folder, _files(_ENTRIES - 10, b"/".join([b"n" * 200] * (length // 201))))


def _files(count: int, middle: bytes) -> Iterator[bytes]:
    head = _head(b"f", b"0")
    yield from (_at(b"%b/%060d" % (middle, number), head) for number in range(count))
    yield _END


def everything(folder: Path) -> None:
    """As many long names as are accepted, zstd's largest window, and a git index at the end of all."""
    length = NAMES_BYTES // _ENTRIES - 10
    *files, end = _files(_ENTRIES - 100, b"/".join([b"n" * 200] * (length // 201)))
    _zst(folder, [*files, *_index_parts(), end], window=25)


def window(folder: Path) -> None:
    """A frame that makes zstd keep as much as is accepted, around deep names."""
    path = _deep(b"d", 8_180)
    data = _head(b"big", b"0", 64 << 20)
    _zst(folder, [_at(path, _head(b"d")), data, *[bytes(range(256)) * 4096] * 64, _END], window=25)


def git_index(folder: Path) -> None:
    """The largest git index that is brought into its normal form."""
    _zst(folder, [*_index_parts(), _END])


def _index_parts() -> list[bytes]:
    entry = bytes(24) + struct.pack(">I", 0o100644) + bytes(12) + bytes(20) + b"\x00\x01a\0"
    entry += bytes(-len(entry) % 8)
    count = ((64 << 20) - 64) // len(entry)
    body = b"DIRC" + struct.pack(">II", 2, count) + entry * count
    data = body + hashlib.sha1(body).digest()
    return [_head(b".git"), _head(b".git/index", b"0", len(data)), _padded(data)]


def label_omissions(folder: Path) -> None:
    """As many omissions as a label may hold."""
    count = LABEL_VALUES // 4 - 10
    items = [[f"{number:06d}" + "n" * 70, 3] for number in range(count)]
    _zst(
        folder, [_END], json.dumps({"snapshot": "0" * 64, "omissions": items}, separators=(",", ":")).encode()
    )


def label_members(folder: Path) -> None:
    """A label whose values take as much memory as values can."""
    _zst(folder, [_END], _members(LABEL_VALUES - 10, LABEL_BYTES))


def label_text(folder: Path) -> None:
    """A label that is one text, four bytes a character in memory."""
    _zst(folder, [_END], b'{"a":"\xf0\x9f\x98\x80' + b"a" * (LABEL_BYTES - 12) + b'"}')


def label_nested(folder: Path) -> None:
    """A label of nothing but lists."""
    _zst(folder, [_END], b"[" + b",".join([b"[" * 500 + b"]" * 500] * (LABEL_BYTES // 1001 - 1)) + b"]")


def _members(count: int, size: int) -> bytes:
    text = b"{" + b",".join(b'"%x":"%x"' % (number, number) for number in range(count)) + b"}"
    return text[:-1] + b"}" if len(text) <= size else _members(count * size // len(text) - 1, size)


def oci(document: bytes, folder: Path) -> None:
    """A layout whose one manifest is this document."""
    blobs = folder / "archive" / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    digest = hashlib.sha256(document).hexdigest()
    (blobs / digest).write_bytes(document)
    kind = "application/vnd.oci.image.manifest.v1+json"
    index = {"manifests": [{"mediaType": kind, "digest": f"sha256:{digest}"}]}
    (folder / "archive" / "index.json").write_text(json.dumps(index))


def oci_members(folder: Path) -> None:
    """A manifest whose values take as much memory as values can."""
    oci(_members(LABEL_VALUES + 99_000, LABEL_BYTES + (8 << 20)), folder)


def oci_label(folder: Path) -> None:
    """A manifest around the largest label."""
    label = b"{" + _members(LABEL_VALUES // 2, LABEL_BYTES)[1:]
    manifest = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "layers": [{"mediaType": "x", "digest": "sha256:" + "0" * 64}],
        "annotations": {"io.sandbox-runner.snapshot": label.decode()},
    }
    oci(json.dumps(manifest).encode(), folder)


def oci_documents(folder: Path) -> None:
    """An index of an index of a manifest, each with members beside what it is read for."""
    blobs = folder / "archive" / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    rest = b',"rest":' + _members(LABEL_VALUES + 99_000, LABEL_BYTES + (7 << 20)) + b"}"
    prefix = "application/vnd.oci.image"
    found = (f"{prefix}.layer.v1.tar", _END)
    for key, kind in (("layers", "manifest"), ("manifests", "index"), ("manifests", "")):
        media_type, data = found
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        said = {"mediaType": f"{prefix}.{kind}.v1+json"}
        said[key] = [{"mediaType": media_type, "digest": f"sha256:{digest}"}]
        found = (said["mediaType"], json.dumps(said).encode()[:-1] + rest)
    (folder / "archive" / "index.json").write_bytes(found[1])


def oci_index(folder: Path) -> None:
    """An index that is longer than any document may be."""
    (folder / "archive").mkdir()
    (folder / "archive" / "index.json").write_bytes(b"[" + b"[]," * (40 << 20) + b"[]]")


def oci_files(folder: Path) -> None:
    """A layout in an archive of more files than a layout has."""
    buffer = io.BytesIO()
    for number in range(5_000):
        buffer.write(_at(b"%06d" % number + b"n" * 240 + b"/" + b"m" * 250, _head(b"f", b"0")))
    (folder / "archive").write_bytes(buffer.getvalue() + _END)


READERS = {
    "snapshot import": Reader(
        MEMORY_BYTES,
        read,
        {
            "headers without end": Case(pax_flood, "extended headers"),
            "keys in headers": Case(pax_keys, quick=False),
            "deep directories": Case(deep),
            "deeper than all names may be": Case(deeper, "paths are longer"),
            "many files of long names": Case(wide, quick=False),
            "long names, window and git index": Case(everything, quick=False),
            "zstd's window": Case(window, quick=False),
            "a git index": Case(git_index, quick=False),
            "a label of omissions": Case(label_omissions),
            "a label of members": Case(label_members, "label"),
            "a label of one text": Case(label_text, "label", quick=False),
            "a label of lists": Case(label_nested, "values"),
            "an OCI manifest of members": Case(oci_members, "layer"),
            "an OCI manifest with a label": Case(oci_label, "cannot be opened", quick=False),
            "an OCI index without end": Case(oci_index, "larger than"),
            "an OCI layout of many files": Case(oci_files, "members"),
        },
    ),
    "one document of a layout": Reader(
        DOCUMENT_MEMORY, read, {"three documents, one after the other": Case(oci_documents)}
    ),
}
"""The import of snapshots, by ``sandbox_runner.snapshot.importing`` and ``oci_import``."""


if __name__ == "__main__":
    read_one(READERS)

"""Read an OCI image layout of one layer, from a directory or an archive; every blob is checked."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import zstandard

from sandbox_runner.bounded_json import json_memory, read_json
from sandbox_runner.snapshot.archive import (
    LABEL_BYTES,
    LABEL_VALUES,
    WINDOW_BYTES,
    Label,
    open_archive,
    parse_label,
)
from sandbox_runner.snapshot.oci_export import ANNOTATION, INDEX_TYPE, LAYER_TYPE, MANIFEST_TYPE
from sandbox_runner.snapshot.tar_reader import ArchiveError, Readable, TarReader
from sandbox_runner.snapshot.transfer import Limits

__all__ = ["DOCUMENT_MEMORY", "open_oci"]

_DOCUMENT_BYTES = LABEL_BYTES + (8 << 20)  # an index or a manifest, whose annotation holds the label, escaped
_DOCUMENT_VALUES = LABEL_VALUES + 100_000  # commas of the label, which is one text here, are counted too
DOCUMENT_MEMORY = json_memory(_DOCUMENT_BYTES, _DOCUMENT_VALUES)
"""The most memory that reading one document of a layout takes, bytes."""
_FILES = 4_096  # of a layout in an archive; an image of 127 layers has some 400
_FILE_NAME_BYTES = 1_024
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PLAIN_TYPE = "application/vnd.oci.image.layer.v1.tar"
_ZSTD_TYPE = "application/vnd.oci.image.layer.v1.tar+zstd"
_DOCKER_LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_CHUNK = 256 << 10

_Open = Callable[[str], AbstractContextManager[Readable]]


@contextlib.contextmanager
def open_oci(path: Path, limits: Limits) -> Iterator[tuple[Label | None, Readable]]:
    """The label (or None) and the layer's tar stream of an image. The layer's digest is checked at its end.

    Raises:
        ArchiveError: no image layout, several images or layers, a wrong digest, or damaged.
    """
    with _opener(path, limits) as open_file:
        found = _only(_document(open_file, "index.json", None), "manifests", "image")
        manifest = _document_of(open_file, found, {MANIFEST_TYPE, INDEX_TYPE})
        if manifest.get("mediaType") == INDEX_TYPE:
            found = _only(manifest, "manifests", "image")
            del manifest  # one document is held at a time, whatever else it says
            manifest = _document_of(open_file, found, {MANIFEST_TYPE})
        layer = _only(manifest, "layers", "layer")
        annotations = manifest.get("annotations")
        text = annotations.get(ANNOTATION) if isinstance(annotations, dict) else None
        del manifest, annotations
        label = parse_label(text) if isinstance(text, str) else None
        del text
        with open_file(layer.blob) as file:
            counted = _Checked(file, layer.digest)
            yield label, _unpacked(counted, layer.media_type)
            counted.check()


class _Descriptor(NamedTuple):
    """What a document says of another; nothing else of it is kept, for it may be as large as a document."""

    media_type: str
    digest: str

    @property
    def blob(self) -> str:
        return f"blobs/sha256/{self.digest.removeprefix('sha256:')}"


class _Checked:
    """A blob that is hashed while it is read."""

    def __init__(self, file: Readable, digest: str) -> None:
        self._file = file
        self._digest = digest
        self._hasher = hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._hasher.update(data)
        return data

    def check(self) -> None:
        while self.read(_CHUNK):
            pass
        if f"sha256:{self._hasher.hexdigest()}" != self._digest:
            raise ArchiveError("its layer has another digest than its manifest says")


class _Gunzip:
    """Decompress gzip, never more at once than was asked for."""

    def __init__(self, source: _Checked) -> None:
        self._source = source
        self._unpacker = zlib.decompressobj(31)

    def read(self, size: int, /) -> bytes:
        while not self._unpacker.eof:
            packed = self._unpacker.unconsumed_tail or self._source.read(_CHUNK)
            if not packed:
                raise ArchiveError("its layer is cut")
            try:
                if data := self._unpacker.decompress(packed, size):
                    return data
            except zlib.error as error:
                raise ArchiveError(f"its layer does not decompress: {error}") from error
        return b""


class _Unzstd:
    """Decompress zstd."""

    def __init__(self, source: _Checked) -> None:
        unpacker = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES)
        self._reader = unpacker.stream_reader(cast("BinaryIO", source))  # it is only read

    def read(self, size: int, /) -> bytes:
        try:
            return self._reader.read(size)
        except zstandard.ZstdError as error:
            raise ArchiveError(f"its layer does not decompress: {error}") from error


def _unpacked(source: _Checked, media_type: str) -> Readable:
    if media_type in {LAYER_TYPE, _DOCKER_LAYER_TYPE}:
        return _Gunzip(source)
    if media_type == _ZSTD_TYPE:
        return _Unzstd(source)
    if media_type == _PLAIN_TYPE:
        return source
    raise ArchiveError(f"its layer is of a type that is not accepted: {media_type[:200]!r}")


@contextlib.contextmanager
def _opener(path: Path, limits: Limits) -> Iterator[_Open]:
    """How to open a file of the layout, which is a directory or an archive."""
    if path.is_dir():
        yield lambda name: open_archive(_inside(path, name))
        return
    with open_archive(path) as archive:
        tar = TarReader(archive, _limits_of_layout(limits))
        places = {member.path: member for member in tar if member.kind == "file"}

        @contextlib.contextmanager
        def open_member(name: str) -> Iterator[Readable]:
            member = places.get(name.encode())
            if member is None:
                raise ArchiveError(f"it holds no {name}")
            yield _Slice(archive, member.offset, member.size)

        yield open_member


def _limits_of_layout(limits: Limits) -> Limits:
    """A layout's own files are few and have short names, whatever its layer may hold."""
    return Limits(**{**limits.options(), "max_entries": _FILES // 2, "max_path_bytes": _FILE_NAME_BYTES})


class _Slice:
    """Part of a file as a file."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._fd = file.fileno()
        self._at = start
        self._end = start + size

    def read(self, size: int) -> bytes:
        data = os.pread(self._fd, min(size, self._end - self._at), self._at)
        self._at += len(data)
        return data


def _inside(folder: Path, name: str) -> Path:
    """A file of the layout; a link would lead elsewhere and is refused."""
    path = folder
    for part in name.split("/"):
        path /= part
        if path.is_symlink():
            raise ArchiveError(f"{path} is a link")
    return path


def _document_of(open_file: _Open, found: _Descriptor, types: set[str]) -> dict[str, Any]:
    if found.media_type not in types:
        raise ArchiveError(f"it refers to a document of another type: {found.media_type[:200]!r}")
    return _document(open_file, found.blob, found.digest)


def _document(open_file: _Open, name: str, digest: str | None) -> dict[str, Any]:
    with open_file(name) as file:
        data = file.read(_DOCUMENT_BYTES + 1)
    if len(data) > _DOCUMENT_BYTES:
        raise ArchiveError(f"{name} is larger than {_DOCUMENT_BYTES >> 20} MiB")
    if digest is not None and f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
        raise ArchiveError(f"{name} has another digest than its name says")
    try:
        document = read_json(data, values=_DOCUMENT_VALUES)
    except ValueError as error:
        raise ArchiveError(f"{name} holds malformed JSON: {str(error)[:200]}") from error
    if not isinstance(document, dict):
        raise ArchiveError(f"{name} is no JSON object")
    return document


def _only(document: dict[str, Any], key: str, what: str) -> _Descriptor:
    items = document.get(key)
    if not isinstance(items, list) or len(items) != 1 or not isinstance(items[0], dict):
        number = len(items) if isinstance(items, list) else 0
        raise ArchiveError(f"it must hold exactly one {what}, and holds {number}")
    media_type, digest = items[0].get("mediaType"), items[0].get("digest")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ArchiveError("it refers to a blob without a SHA-256 digest")
    return _Descriptor(media_type if isinstance(media_type, str) else "", digest)

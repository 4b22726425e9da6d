"""A snapshot as an image of one layer, in an OCI image layout (image-spec 1.1).

The layer is a gzip tar, the one form that every Docker since 20.10 loads. To a directory the plain layout is
written; to a name that ends in ``.tar`` the same layout as one archive, with the ``manifest.json`` that
``docker load`` looks for. The bytes depend on the snapshot and the zlib library alone: no time, no host, no
user.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from sandbox_runner.errors import SnapshotError
from sandbox_runner.private import make_private, open_private
from sandbox_runner.snapshot.archive import make_label, new_file
from sandbox_runner.snapshot.facts import Snapshot
from sandbox_runner.snapshot.objects import ObjectReader
from sandbox_runner.snapshot.tar_writer import BLOCK, file_parts, tree_parts

__all__ = ["ANNOTATION", "CONFIG_TYPE", "INDEX_TYPE", "LAYER_TYPE", "MANIFEST_TYPE", "write_oci"]

ANNOTATION = "io.sandbox-runner.snapshot"
"""Annotation of the image manifest that holds the label (JSON) of ``archive``."""
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"

_GZIP_LEVEL = 6
_GZIP_WINDOW = 31  # zlib's number for the gzip wrapping, whose header then carries no time and no name
_TAG_DIGITS = 12
_COPY_BYTES = 1 << 20


class _Blob(NamedTuple):
    digest: str
    size: int

    def descriptor(self, media_type: str, **more: Any) -> dict[str, Any]:
        return {"mediaType": media_type, "digest": f"sha256:{self.digest}", "size": self.size, **more}

    @property
    def name(self) -> str:
        return f"blobs/sha256/{self.digest}"


def write_oci(reader: ObjectReader, snapshot: Snapshot, target: Path) -> None:
    """Write a snapshot as an image to a new directory, or a new file if the name ends in ``.tar``.

    Raises:
        SnapshotError: the target is there already, or cannot be written.
    """
    if target.exists():
        raise SnapshotError(f"{target} is there already.", hint="Name another place, or remove it.")
    building = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        make_private(building / "blobs" / "sha256")
        files = _layout(reader, snapshot, building)
        if target.suffix == ".tar":
            with new_file(target) as file:
                file.writelines(_archive(building, files))
        else:
            (building / "manifest.json").unlink()  # Docker's own; an OCI layout has no place for it
            building.rename(target)
    except OSError as error:
        raise SnapshotError(f"{target} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _layout(reader: ObjectReader, snapshot: Snapshot, folder: Path) -> list[str]:
    """Write every file of the layout; returns their names in the order of an archive."""
    plain = hashlib.sha256()
    root = reader.root(bytes.fromhex(snapshot.digest))
    layer = _blob(folder, _gzip(tree_parts(reader, root), plain))
    label = make_label(snapshot)
    config = _blob(folder, [_json(_config(plain.hexdigest()))])
    manifest = _blob(
        folder,
        [
            _json(
                {
                    "schemaVersion": 2,
                    "mediaType": MANIFEST_TYPE,
                    "config": config.descriptor(CONFIG_TYPE),
                    "layers": [layer.descriptor(LAYER_TYPE)],
                    "annotations": {ANNOTATION: label},
                }
            )
        ],
    )
    tag = f"sandbox-runner-snapshot:{snapshot.digest[:_TAG_DIGITS]}"
    reference = {"org.opencontainers.image.ref.name": tag}
    index = {
        "schemaVersion": 2,
        "mediaType": INDEX_TYPE,
        "manifests": [manifest.descriptor(MANIFEST_TYPE, annotations=reference)],
    }
    docker = [{"Config": config.name, "RepoTags": [tag], "Layers": [layer.name]}]
    small = {"oci-layout": {"imageLayoutVersion": "1.0.0"}, "index.json": index, "manifest.json": docker}
    for name, document in small.items():
        with open(folder / name, "xb", opener=open_private) as file:
            file.write(_json(document))
    return [*small, config.name, manifest.name, layer.name]


def _config(diff_id: str) -> dict[str, Any]:
    # The architecture must be said and means nothing here: an image of files alone runs nowhere.
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
        "history": [{"created_by": "sandbox-runner snapshot export"}],
    }


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def _gzip(parts: Iterable[bytes], plain: hashlib._Hash) -> Iterator[bytes]:
    packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    for part in parts:
        plain.update(part)
        yield packer.compress(part)
    yield packer.flush()


def _blob(folder: Path, parts: Iterable[bytes]) -> _Blob:
    """Write a blob and give it its digest for a name."""
    hasher = hashlib.sha256()
    size = 0
    temporary = folder / "blob"
    with open(temporary, "xb", opener=open_private) as file:
        for part in parts:
            hasher.update(part)
            size += file.write(part)
        file.flush()
        os.fsync(file.fileno())
    blob = _Blob(hasher.hexdigest(), size)
    temporary.rename(folder / blob.name)
    return blob


def _archive(folder: Path, names: list[str]) -> Iterator[bytes]:
    for name in names:
        path = folder / name
        with path.open("rb") as file:
            yield from file_parts(name.encode(), path.stat().st_size, _chunks(file))
    yield bytes(2 * BLOCK)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_COPY_BYTES):
        yield chunk

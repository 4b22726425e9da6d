"""Snapshots as one compressed tar file, and files as archives: ``*.tar.zst``.

The file begins with a zstd skippable frame (RFC 8878, 3.1.2) that holds a *label*: JSON with the snapshot's
digest and its omissions. ``zstd`` and ``tar --zstd`` pass over it; an import compares the digest. The same
snapshot gives the same bytes, as long as the same zstd library packs them.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import zstandard

from sandbox_runner.errors import SnapshotError
from sandbox_runner.private import open_private
from sandbox_runner.snapshot.facts import Snapshot
from sandbox_runner.snapshot.manifest import Omission
from sandbox_runner.snapshot.objects import ObjectReader
from sandbox_runner.snapshot.tar_reader import ArchiveError
from sandbox_runner.snapshot.tar_writer import tree_parts

__all__ = [
    "Label",
    "make_label",
    "new_file",
    "open_archive",
    "open_tar_zst",
    "read_label",
    "write_tar_zst",
]

_LEVEL = 3
_SKIPPABLE = (0x184D2A50).to_bytes(4, "little")
_MAX_LABEL_BYTES = 64 << 20
_MAX_WINDOW = 128 << 20
_ZSTD = b"\x28\xb5\x2f\xfd"

Label = dict[str, Any]
"""``snapshot``: the digest in hexadecimal; ``omissions``: pairs of a path (latin-1) and a reason's number."""


def make_label(snapshot: Snapshot) -> Label:
    """What travels with an exported snapshot beside its tree."""
    omissions = [[item.path.decode("latin-1"), item.reason] for item in snapshot.omissions]
    return {"snapshot": snapshot.digest, "omissions": omissions}


def read_label(document: object) -> tuple[str | None, tuple[Omission, ...]]:
    """The digest and omissions of a label; of none, where there is no label.

    Raises:
        ArchiveError: it is no label.
    """
    if document is None:
        return None, ()
    label = cast("Label", document)  # whatever is wrong with it raises here
    try:
        omissions = tuple(Omission(path.encode("latin-1"), int(why)) for path, why in label["omissions"])
        return str(label["snapshot"]), omissions
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ArchiveError("its label is malformed") from error


def write_tar_zst(reader: ObjectReader, snapshot: Snapshot, target: Path) -> None:
    """Write a snapshot to a new file.

    Raises:
        SnapshotError: the file is there already, or cannot be written.
    """
    label = json.dumps(make_label(snapshot), separators=(",", ":"), sort_keys=True).encode()
    root = reader.root(bytes.fromhex(snapshot.digest))
    with new_file(target) as file:
        file.write(_SKIPPABLE + len(label).to_bytes(4, "little") + label)
        with zstandard.ZstdCompressor(level=_LEVEL).stream_writer(file, closefd=False) as packer:
            for part in tree_parts(reader, root):
                packer.write(part)


@contextlib.contextmanager
def open_tar_zst(file: BinaryIO) -> Iterator[tuple[object, zstandard.ZstdDecompressionReader]]:
    """The label (or None) and the tar stream of an archive.

    Raises:
        ArchiveError: no zstd archive, or damaged.
    """
    label: object = None
    head = file.read(8)
    if head[:4] == _SKIPPABLE:
        length = int.from_bytes(head[4:], "little")
        if length > _MAX_LABEL_BYTES:
            raise ArchiveError("its label is larger than the limit")
        try:
            label = json.loads(file.read(length))
        except (ValueError, RecursionError) as error:
            raise ArchiveError("its label is malformed") from error
    elif head[:4] == _ZSTD:
        file.seek(0)
    else:
        raise ArchiveError("it is no zstd file")
    try:
        with zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).stream_reader(
            file, closefd=False
        ) as tar:
            yield label, tar
    except zstandard.ZstdError as error:
        raise ArchiveError(f"it does not decompress: {error}") from error


@contextlib.contextmanager
def new_file(target: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name when it is complete, private to its owner.

    Raises:
        SnapshotError: it is there already, or cannot be written.
    """
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb", opener=open_private) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, target)  # unlike a rename, never over what is there
    except FileExistsError as error:
        raise SnapshotError(f"{target} is there already.", hint="Name another file, or remove it.") from error
    except OSError as error:
        raise SnapshotError(f"{target} cannot be written: {error.strerror or error}.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def open_archive(path: Path) -> Iterator[BinaryIO]:
    """A regular file to import from; never blocks on what is none.

    Raises:
        SnapshotError: it is missing or no regular file.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise SnapshotError(f"The archive {path} cannot be opened: {error.strerror}.") from error
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise SnapshotError(f"The archive {path} is no regular file.")
        yield file

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
from typing import Any, BinaryIO

import zstandard

from sandbox_runner.bounded_json import json_memory, read_json
from sandbox_runner.errors import SnapshotError
from sandbox_runner.guest.tree_records import REASONS
from sandbox_runner.private import open_private
from sandbox_runner.snapshot.facts import Snapshot
from sandbox_runner.snapshot.manifest import Omission
from sandbox_runner.snapshot.objects import ObjectReader
from sandbox_runner.snapshot.tar_reader import ArchiveError
from sandbox_runner.snapshot.tar_writer import tree_parts

__all__ = [
    "LABEL_BYTES",
    "LABEL_MEMORY",
    "LABEL_VALUES",
    "WINDOW_BYTES",
    "Label",
    "make_label",
    "new_file",
    "open_archive",
    "open_tar_zst",
    "parse_label",
    "read_label",
    "write_tar_zst",
]

_LEVEL = 3
_SKIPPABLE = (0x184D2A50).to_bytes(4, "little")
WINDOW_BYTES = 32 << 20
"""What zstd may keep of its output; all but its two strongest levels stay below."""
_ZSTD = b"\x28\xb5\x2f\xfd"

LABEL_BYTES = 20 << 20
"""A label's JSON; the paths of what is left out are the most of it (see ``OMISSIONS_BYTES``)."""
LABEL_VALUES = 800_000
"""Values in a label; three for each of 200,000 omissions, and commas in their names."""
LABEL_MEMORY = json_memory(LABEL_BYTES, LABEL_VALUES)
"""The most memory that reading a label takes, bytes."""
_OMITTED_PATH_BYTES = (16 << 10) + 256  # the longest path that a capture leaves out

Label = dict[str, Any]
"""``snapshot``: the digest in hexadecimal; ``omissions``: pairs of a path (latin-1) and a reason's number."""


def make_label(snapshot: Snapshot) -> str:
    """What travels with an exported snapshot beside its tree, as JSON.

    Raises:
        SnapshotError: it is longer than an import accepts.
    """
    omissions = [[item.path.decode("latin-1"), item.reason] for item in snapshot.omissions]
    label: Label = {"snapshot": snapshot.digest, "omissions": omissions}
    text = json.dumps(label, separators=(",", ":"), sort_keys=True)
    if len(text) > LABEL_BYTES or len(omissions) * 4 > LABEL_VALUES:
        raise SnapshotError(
            f"Snapshot {snapshot.digest} leaves {len(omissions):,} entries out; their names are more than"
            f" the {LABEL_BYTES >> 20} MiB that an import accepts."
        )
    return text


def read_label(label: Label | None) -> tuple[str | None, tuple[Omission, ...]]:
    """The digest and omissions of a label; none, where there is no label.

    Raises:
        ArchiveError: it is no label.
    """
    if label is None:
        return None, ()
    digest, listed = label.get("snapshot"), label.get("omissions")
    if not isinstance(digest, str) or not isinstance(listed, list):
        raise ArchiveError("its label has no text 'snapshot' or no list 'omissions'")
    return digest, tuple(map(_omission, listed))


def _omission(item: object) -> Omission:
    """One omission of a label: a path in latin-1 and a reason's number, nothing that only looks like one."""
    path, reason = item if isinstance(item, list) and len(item) == 2 else (None, None)
    if type(reason) is not int or reason not in REASONS:
        raise ArchiveError(f"its label leaves something out for no known reason: {str(reason)[:40]!r}")
    try:
        name = path.encode("latin-1") if isinstance(path, str) else b""
    except UnicodeEncodeError:
        name = b""
    if not 0 < len(name) <= _OMITTED_PATH_BYTES:
        raise ArchiveError(f"its label leaves out what has no possible path: {str(path)[:40]!r}")
    return Omission(name, reason)


def parse_label(text: bytes | str) -> Label:
    """A label from its JSON, whatever it says.

    Raises:
        ArchiveError: it is none, or beyond the limits of a label.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(data) > LABEL_BYTES:
        raise ArchiveError(f"its label is larger than {LABEL_BYTES >> 20} MiB")
    try:
        label = read_json(data, values=LABEL_VALUES)
    except ValueError as error:
        raise ArchiveError(f"its label is malformed: {str(error)[:200]}") from error
    if not isinstance(label, dict):
        raise ArchiveError("its label is no JSON object")
    return label


def write_tar_zst(reader: ObjectReader, snapshot: Snapshot, target: Path) -> None:
    """Write a snapshot to a new file.

    Raises:
        SnapshotError: the file is there already, or cannot be written.
    """
    label = make_label(snapshot).encode()
    root = reader.root(bytes.fromhex(snapshot.digest))
    with new_file(target) as file:
        file.write(_SKIPPABLE + len(label).to_bytes(4, "little") + label)
        with zstandard.ZstdCompressor(level=_LEVEL).stream_writer(file, closefd=False) as packer:
            for part in tree_parts(reader, root):
                packer.write(part)


@contextlib.contextmanager
def open_tar_zst(file: BinaryIO) -> Iterator[tuple[Label | None, zstandard.ZstdDecompressionReader]]:
    """The label (or None) and the tar stream of an archive.

    Raises:
        ArchiveError: no zstd archive, or damaged.
    """
    label: Label | None = None
    head = file.read(8)
    if head[:4] == _SKIPPABLE:
        length = int.from_bytes(head[4:], "little")
        if length > LABEL_BYTES:
            raise ArchiveError(f"its label is larger than {LABEL_BYTES >> 20} MiB")
        label = parse_label(file.read(length))
    elif head[:4] == _ZSTD:
        file.seek(0)
    else:
        raise ArchiveError("it is no zstd file")
    try:
        with zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES).stream_reader(
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
    if not target.name:  # the current directory or the root
        raise SnapshotError(f"{target} is a directory.", hint="Name a file that is not there yet.")
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

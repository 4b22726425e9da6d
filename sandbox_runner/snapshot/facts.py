"""What a store tells about a snapshot beside its contents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sandbox_runner.guest.tree_records import NOTES
from sandbox_runner.snapshot.manifest import Omission

__all__ = ["Note", "Snapshot", "pack_facts", "seal_facts", "unpack_facts", "unseal_facts"]


@dataclass(frozen=True, slots=True)
class Note:
    """Something that was normalised at capture: how often, and the first path where it happened."""

    code: int
    count: int
    path: bytes

    @property
    def text(self) -> str:
        """The note in words."""
        return NOTES.get(self.code, f"note {self.code}, which is unknown here")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A tree kept in a store.

    ``digest`` and ``root`` are 64 hexadecimal digits: of the snapshot, and of its root directory (equal roots
    are equal trees, whatever was omitted). ``size`` is the sum of all contents in bytes, ``stored`` what its
    capture added to the store on disk, ``captured_ns`` the time of its last capture, nanoseconds since 1970.
    """

    digest: str
    root: str
    captured_ns: int
    label: str
    files: int
    directories: int
    links: int
    size: int
    stored: int
    omissions: tuple[Omission, ...] = ()
    notes: tuple[Note, ...] = ()
    tags: tuple[str, ...] = field(default=())

    @property
    def partial(self) -> bool:
        """Whether something that was there is not in it."""
        return bool(self.omissions)

    @property
    def entries(self) -> int:
        """Files, directories and links together."""
        return self.files + self.directories + self.links


def pack_facts(snapshot: Snapshot) -> bytes:
    """The facts as they are stored beside the objects; omissions are in the snapshot's object."""
    document = {
        "root": snapshot.root,
        "captured_ns": snapshot.captured_ns,
        "label": snapshot.label,
        "files": snapshot.files,
        "directories": snapshot.directories,
        "links": snapshot.links,
        "size": snapshot.size,
        "stored": snapshot.stored,
        "omissions": [[item.path.decode("latin-1"), item.reason] for item in snapshot.omissions],
        "notes": [[note.code, note.count, note.path.decode("latin-1")] for note in snapshot.notes],
    }
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def seal_facts(facts: bytes) -> bytes:
    """Facts as a pack holds them: 32 bytes SHA-256 before the JSON, which is named by another digest."""
    return hashlib.sha256(facts).digest() + facts


def unseal_facts(sealed: bytes) -> bytes:
    """The JSON that was sealed.

    Raises:
        ValueError: it is damaged.
    """
    seal, facts = sealed[:32], sealed[32:]
    if hashlib.sha256(facts).digest() != seal:
        raise ValueError("the facts of a snapshot are damaged")
    return facts


def unpack_facts(
    digest: bytes, packed: bytes, *, captured_ns: int | None = None, tags: Sequence[str] = ()
) -> Snapshot:
    """The snapshot with these facts.

    Raises:
        ValueError: not facts in the form above.
    """
    try:
        document: dict[str, Any] = json.loads(packed)
        return Snapshot(
            digest=digest.hex(),
            root=document["root"],
            captured_ns=document["captured_ns"] if captured_ns is None else captured_ns,
            label=document["label"],
            files=document["files"],
            directories=document["directories"],
            links=document["links"],
            size=document["size"],
            stored=document["stored"],
            omissions=tuple(Omission(path.encode("latin-1"), why) for path, why in document["omissions"]),
            notes=tuple(Note(code, count, path.encode("latin-1")) for code, count, path in document["notes"]),
            tags=tuple(tags),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"no snapshot facts: {error!r}") from error

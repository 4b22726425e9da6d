"""Capture: walk a source, ask it only for contents the store lacks, believe nothing it says unchecked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple, NoReturn

from sandbox_runner.guest.tree_records import (
    DIRECTORY,
    END,
    FILE,
    LINK,
    NOTE,
    NOTES,
    OMISSION,
    PIECE_FAILED,
    PIECE_LAST,
    PIECE_MORE,
    REASONS,
    Piece,
    Scan,
    pack_want,
    read_pieces,
    read_scan,
)
from sandbox_runner.snapshot.facts import Note, Snapshot
from sandbox_runner.snapshot.manifest import Directory, ManifestError, Omission, TreeBuilder
from sandbox_runner.snapshot.session import Session, Tally
from sandbox_runner.snapshot.text import show_path
from sandbox_runner.snapshot.transfer import OMISSIONS_BYTES, Limits, TreeSource

__all__ = ["MEMORY_BYTES", "capture"]

MEMORY_BYTES = 576 << 20
"""The most memory that a capture takes with the default limits, bytes: the 256 MiB that a sandbox's scan may
have, a kilobyte for each of 200,000 entries, and the directories that are open at one time."""

_MAX_LINK_BYTES = 1 << 16
_LONGEST_NAME = 256  # an omission for a path beyond the limit is longer than it by one name
_FETCH_BYTES = 4 << 20
"""Wants of one request; some 50,000 files."""


class _Missing(NamedTuple):
    """Contents that the store lacks."""

    kind: int
    path: bytes
    size: int
    digest: bytes


def capture(session: Session, source: TreeSource, limits: Limits, label: str) -> Snapshot:
    """Store the tree of a source.

    Raises:
        SandboxRunnerError: of the class ``source.tree_fault``: what the source said does not hold together.
        StoreError: the store cannot take it.
    """
    tally = Tally()
    survey = _Survey(session, source, limits, tally)
    missing = survey.run()
    for start, end in _requests(missing):
        _fetch(session, source, missing[start:end])
    return session.commit(survey.root, tally, label)


class _Survey:
    """The host's side of one scan: checks every record, builds the manifest, finds what is missing."""

    def __init__(self, session: Session, source: TreeSource, limits: Limits, tally: Tally) -> None:
        self._session = session
        self._source = source
        self._limits = limits
        self._tally = tally
        self._builder = TreeBuilder()
        self._finished: list[Directory] = []
        self._entries = 0
        self._bytes = 0
        self._omitted = 0  # bytes of the paths that were left out
        self._ended = False

    def run(self) -> list[_Missing]:
        """What is to be fetched, in walk order, each object once."""
        missing: list[_Missing] = []
        asked: set[bytes] = set()
        try:
            for body in self._source.scan(self._limits.options()):
                contents = [found for record in read_scan(body) if (found := self._take(record))]
                absent = self._session.missing(found.digest for found in contents) - asked
                for found in contents:
                    if found.digest in absent:
                        absent.discard(found.digest)
                        asked.add(found.digest)
                        missing.append(found)
                self._store_finished()
            if not self._ended:
                raise ManifestError("it stopped before its end")
        except ValueError as error:
            _blame(self._source, f"The tree could not be captured: {error}.", error)
        self._finished += self._builder.finish()
        self.root = self._finished[-1]
        self._store_finished()
        return missing

    def _store_finished(self) -> None:
        self._session.add_directories(self._finished)
        self._finished.clear()

    def _take(self, record: Scan) -> _Missing | None:
        kind, detail, size, path = record.kind, record.detail, record.size, record.path
        if self._ended:
            raise ManifestError("it went on after its end")
        if kind == END:
            self._ended = True
            if size != self._entries:
                raise ManifestError(f"it counted {size} entries and sent {self._entries}")
            return None
        if kind == NOTE:
            if detail not in NOTES or any(note.code == detail for note in self._tally.notes):
                raise ManifestError("it sent an unknown note")
            if len(path) > self._limits.max_path_bytes + _LONGEST_NAME:
                raise ManifestError("it sent a note about an overlong path")
            self._tally.notes.append(Note(detail, size, path))
            return None
        self._entries += 1
        if self._entries > self._limits.max_entries:
            raise ManifestError(f"more than {self._limits.max_entries} entries")
        if kind == OMISSION:
            self._omit(detail, path)
            return None
        return self._entry(kind, detail, size, record.digest, path)

    def _omit(self, reason: int, path: bytes) -> None:
        if reason not in REASONS or len(path) > self._limits.max_path_bytes + _LONGEST_NAME:
            raise ManifestError("it sent an unknown reason or an overlong path")
        self._omitted += len(path)
        if self._omitted > OMISSIONS_BYTES:
            raise ManifestError(f"it leaves out more than {OMISSIONS_BYTES >> 20} MiB of paths")
        self._finished += self._builder.omit(path)
        self._tally.omissions.append(Omission(path, reason))

    def _entry(self, kind: int, detail: int, size: int, digest: bytes, path: bytes) -> _Missing | None:
        if kind not in {DIRECTORY, FILE, LINK} or detail > (kind == FILE) or (kind == DIRECTORY and size):
            raise ManifestError(f"it sent an entry of no known kind: {kind}, {detail}")
        self._bytes += size
        allowed = _MAX_LINK_BYTES if kind == LINK else self._limits.max_file_bytes
        too_much = self._bytes > self._limits.max_total_bytes + self._entries * _MAX_LINK_BYTES
        if len(path) > self._limits.max_path_bytes or size > allowed or too_much:
            raise ManifestError(f"it sent an entry beyond the limits it was given: {show_path(path)}")
        self._finished += self._builder.add(path, kind, detail, size, digest)
        if kind == DIRECTORY:
            self._tally.directories += 1
            return None
        if kind == FILE:
            self._tally.files += 1
        else:
            self._tally.links += 1
        return _Missing(kind, path, size, digest)


def _requests(missing: Sequence[_Missing]) -> Iterator[tuple[int, int]]:
    """Spans of what is missing, each of a bounded request."""
    start = length = 0
    for position, item in enumerate(missing):
        if length > _FETCH_BYTES:
            yield start, position
            start, length = position, 0
        length += len(item.path) + 8
    if missing:
        yield start, len(missing)


def _fetch(session: Session, source: TreeSource, wanted: Sequence[_Missing]) -> None:
    """Ask for contents and store them; each must be what the scan said."""
    pieces = _pieces(source, b"".join(pack_want(item.kind, item.path) for item in wanted))
    for number, item in enumerate(wanted):
        parts = _checked(source, pieces, number, item)
        first = next(parts)
        if len(first) == item.size:
            for _ in parts:  # lets the digest be checked
                pass
            session.add(item.digest, first)
        else:
            session.add_stream(item.digest, item.size, _again(first, parts))
    if next(pieces, None) is not None:
        _blame(source, "The tree could not be captured: more contents came than were asked for.")


def _pieces(source: TreeSource, wants: bytes) -> Iterator[Piece]:
    try:
        for body in source.fetch(wants):
            yield from read_pieces(body)
    except ValueError as error:
        _blame(source, f"The tree could not be captured: {error}.", error)


def _checked(source: TreeSource, pieces: Iterator[Piece], number: int, item: _Missing) -> Iterator[bytes]:
    """The parts of one file, at least one; its digest has been checked when the iterator is at its end."""
    hasher = hashlib.sha256()
    size = 0
    state = PIECE_MORE
    while state == PIECE_MORE:
        piece = next(pieces, None)
        if piece is None or piece.want != number or piece.state > PIECE_FAILED:
            _blame(source, f"The contents of {show_path(item.path)} did not come.")
        state = piece.state
        size += len(piece.data)
        hasher.update(piece.data)
        if state == PIECE_FAILED or size > item.size or (state == PIECE_MORE and not piece.data):
            break
        yield piece.data
    if state != PIECE_LAST or size != item.size or hasher.digest() != item.digest:
        _blame(source, f"{show_path(item.path)} changed while it was being captured.")


def _again(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _blame(source: TreeSource, message: str, cause: Exception | None = None) -> NoReturn:
    raise source.tree_fault(message) from cause

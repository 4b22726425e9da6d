"""Copies a directory of the host into a sandbox's workspace, through the stream; the directory is only read.

What was copied is what the run begins with, so the guest is told it as well where calls may commit.

The walk is the one that runs in the guest: no link is followed, no special file opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sandbox_runner.errors import WorkspaceError
from sandbox_runner.guest import tree_records as records
from sandbox_runner.guest.origin import pack_origin
from sandbox_runner.guest.tree import fetch, scan
from sandbox_runner.guest.tree_records import DIRECTORY, FILE, LINK, OMISSION, PIECE_FAILED
from sandbox_runner.sandbox.sandbox import Sandbox

__all__ = ["fill"]

_WANTS = 1_000  # files asked for at a time; their contents still come in bodies of a mebibyte


def fill(sandbox: Sandbox, directory: Path) -> None:
    """Copy everything below ``directory`` into the empty workspace of ``sandbox``.

    Raises:
        WorkspaceError: the directory cannot be read, holds what cannot be copied, or does not fit.
        SandboxError: the sandbox broke.
    """
    try:
        root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise WorkspaceError(f"The workspace {directory} cannot be opened: {error.strerror}.") from error
    try:
        entries = _entries(root, directory, sandbox)
        for answer in sandbox.put(_bodies(root, entries, directory)):
            for refusal in records.read_refusals(answer):
                reason = os.strerror(refusal.errno)
                raise WorkspaceError(
                    f"The workspace {directory} does not fit: {_shown(refusal.path)}: {reason}.",
                    hint="raise resources.workspace or resources.workspace_inodes in the policy",
                )
        if sandbox.commits:
            told = ((entry.kind, entry.detail, entry.digest, entry.path) for entry in entries)
            sandbox.note_origin(pack_origin(told), filled=True)
    finally:
        os.close(root)


def _entries(root: int, directory: Path, sandbox: Sandbox) -> list[records.Scan]:
    """Everything that is to be copied, parents first."""
    resources = sandbox.spec.resources
    limits = {"max_entries": resources.workspace_inodes, "max_total_bytes": resources.workspace}
    try:
        return list(_scanned(root, limits, directory))
    except (OSError, ValueError) as error:
        raise WorkspaceError(f"The workspace {directory} cannot be read: {error}.") from error


def _bodies(root: int, entries: list[records.Scan], directory: Path) -> Iterator[bytes]:
    """Put records, parents first, in bodies of about a mebibyte."""
    files = [entry for entry in entries if entry.kind != DIRECTORY]
    body = bytearray()
    for entry in entries:
        if entry.kind == DIRECTORY:
            body += records.pack_put(DIRECTORY, 0, 0, entry.path, b"")
    for start in range(0, len(files), _WANTS):
        for record in _contents(root, files[start : start + _WANTS], directory):
            if len(body) + len(record) > records.BODY_BYTES and body:
                yield bytes(body)
                body.clear()
            body += record
    if body:
        yield bytes(body)


def _scanned(root: int, limits: dict[str, int], directory: Path) -> Iterator[records.Scan]:
    for _header, answer in scan(root, limits, b""):
        for entry in records.read_scan(answer):
            if entry.kind == OMISSION:
                raise WorkspaceError(
                    f"The workspace {directory} holds what cannot be copied: {_shown(entry.path)} "
                    f"({records.REASONS.get(entry.detail, 'unknown')}).",
                    hint="remove it, or raise resources.workspace in the policy where it is too large",
                )
            if entry.kind in {DIRECTORY, FILE, LINK}:
                yield entry


def _contents(root: int, files: list[records.Scan], directory: Path) -> Iterator[bytes]:
    """Put records for files and links, read back by the numbers of the request."""
    wants = b"".join(records.pack_want(entry.kind, entry.path) for entry in files)
    offset, current = 0, -1
    for _header, answer in fetch(root, {}, wants):
        for piece in records.read_pieces(answer):
            if piece.state == PIECE_FAILED:
                raise WorkspaceError(f"The workspace {directory} changed while it was read.")
            if piece.want != current:
                offset, current = 0, piece.want
            entry = files[piece.want]
            yield records.pack_put(entry.kind, entry.detail, offset, entry.path, piece.data)
            offset += len(piece.data)


def _shown(path: bytes) -> str:
    """A path as it may be printed."""
    return ascii(os.fsdecode(path))

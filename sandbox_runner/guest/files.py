"""file_read, file_write and file_edit: no process, the sandbox uid, regular files below the workspace."""

from __future__ import annotations

import os
import stat

from sandbox_runner.guest.digest import sha256_hex
from sandbox_runner.guest.edits import line_ends_changed, locate
from sandbox_runner.guest.outcome import Outcome, StepError, step_error
from sandbox_runner.guest.paths import normal, not_regular, read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox_runner.guest.context import Guest

__all__ = ["file_edit", "file_read", "file_write"]

_TEMPORARY = b".sandbox-write.tmp"  # one call at a time and nothing foreign alive: one name is enough
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE_BITS = 0o777


def file_read(guest: Guest, path: str) -> Outcome:
    """Read a text file: its characters are counted, its bytes hashed."""
    guest.identity.wear()
    data = _read(guest, path)
    digest = sha256_hex(data)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise StepError("not UTF-8 text: " + path, {"bytes": len(data), "sha256": digest}) from None
    return Outcome(
        f"file_read: {path} ({len(text)} chars)",
        {"bytes": len(data), "chars": len(text), "sha256": digest},
    )


def file_write(guest: Guest, path: str, content: str) -> Outcome:
    """Create or replace a text file in one step: a reader sees the old content or the new, never half."""
    data = _encode(content, "content")
    parts = normal(path, write=True)
    if not parts:
        raise StepError("is a directory: " + path)
    if len(data) > guest.config.limits.file_bytes:
        raise StepError(f"content of {len(data)} bytes is over the limit of {guest.config.limits.file_bytes}")
    guest.identity.wear()
    parent = guest.parent(parts, path, create=True)
    mode, before = _existing(guest, parent, parts[-1], path)
    _replace(guest, parent, parts[-1], data, path=path, mode=mode)
    if guest.index is not None:
        guest.index.wrote(guest.root, parts, data, created=mode is None)
    details: dict[str, Any] = {
        "bytes": len(data),
        "created": mode is None,
        "sha256": sha256_hex(data),
    }
    if mode is not None:
        details["old_sha256"] = None if before is None else sha256_hex(before)
    if before is not None:
        details.update(line_ends_changed(before, data))
    return Outcome(f"file_write: {path} ({len(content)} chars)", details)


def file_edit(guest: Guest, path: str, old: str, new: str) -> Outcome:
    """Replace the one occurrence of ``old``; every other byte of the file, its line ends too, stays."""
    needle, replacement = _encode(old, "old text"), _encode(new, "new text")
    parts = normal(path, write=True)
    if not needle:
        raise StepError("empty old text")
    guest.identity.wear()
    parent = guest.parent(parts, path) if parts else guest.root
    before, mode = read_file(parent, parts[-1] if parts else b".", path, guest.config.limits.file_bytes)
    at, reason, found = locate(before, needle, path)
    if reason:
        raise StepError(reason, {"sha256": sha256_hex(before), **found})
    after = before[:at] + replacement + before[at + len(needle) :]
    if len(after) > guest.config.limits.file_bytes:
        raise StepError(f"file would grow to {len(after)} bytes, over the limit")
    _replace(guest, parent, parts[-1], after, path=path, mode=mode)
    if guest.index is not None:
        guest.index.wrote(guest.root, parts, after, created=False)
    return Outcome(
        f"file_edit: {path} (1 replacement)",
        {
            "bytes": len(after),
            "line": before.count(b"\n", 0, at) + 1,
            "old_sha256": sha256_hex(before),
            "sha256": sha256_hex(after),
            **line_ends_changed(before, after),
        },
    )


def _encode(text: str, what: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise StepError(f"{what} is not UTF-8 text") from None


def _read(guest: Guest, path: str) -> bytes:
    parts = normal(path)
    if not parts:
        raise StepError("is a directory: " + path)
    return read_file(guest.parent(parts, path), parts[-1], path, guest.config.limits.file_bytes)[0]


def _existing(guest: Guest, parent: int, name: bytes, path: str) -> tuple[int | None, bytes | None]:
    """Mode and content of what is replaced; no mode: none there, no content: unreadable or too large."""
    try:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None, None
    except OSError as error:
        raise step_error(error, path) from None
    if not stat.S_ISREG(found.st_mode):
        raise not_regular(found.st_mode, path)
    mode = found.st_mode & _MODE_BITS
    try:
        return mode, read_file(parent, name, path, guest.config.limits.file_bytes)[0]
    except StepError:
        return mode, None


def _replace(guest: Guest, parent: int, name: bytes, data: bytes, *, path: str, mode: int | None) -> None:
    try:
        fd = _create(parent)
        try:
            if mode is not None:
                os.fchmod(fd, mode)
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
        finally:
            os.close(fd)
        os.rename(_TEMPORARY, name, src_dir_fd=parent, dst_dir_fd=parent)
    except OSError as error:
        _discard(parent)
        reason = step_error(error, path)
        if reason.reason == "no space left":
            reason.details["exhausted"] = [guest.full()]
        raise reason from None


def _create(parent: int) -> int:
    try:
        return os.open(_TEMPORARY, _CREATE, 0o644, dir_fd=parent)
    except FileExistsError:  # the workspace came with that name, or foreign code put it there
        _discard(parent)
        return os.open(_TEMPORARY, _CREATE, 0o644, dir_fd=parent)


def _discard(parent: int) -> None:
    try:
        os.unlink(_TEMPORARY, dir_fd=parent)
    except OSError:
        return

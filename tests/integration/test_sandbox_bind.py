"""A directory of the host mounted in place, which only trusted trails should get."""

import logging
import os
from pathlib import Path

import pytest

from sandbox_runner.errors import ConfigurationError, WorkspaceError

pytestmark = pytest.mark.docker


def test_the_directory_itself_is_changed_by_its_owner_and_that_is_said_loudly(
    start_world, tmp_path: Path, caplog, runtime
) -> None:
    owner = os.getuid() or 1234
    workspace = tmp_path / "project"
    workspace.mkdir()
    os.chown(workspace, owner, -1)
    with caplog.at_level(logging.WARNING):
        world = start_world(bind=workspace, runtime=runtime)
    assert str(workspace) in caplog.text
    assert world.file_write("a.txt", "hello") == "file_write: a.txt (5 chars)"
    assert (workspace / "a.txt").read_text() == "hello"
    assert (workspace / "a.txt").stat().st_uid == owner
    assert len(world.sandbox.close().volumes) == {"runc": 1, "runsc": 0}[runtime]  # the pseudo-terminals
    assert (workspace / "a.txt").exists()


def test_what_cannot_be_mounted_is_refused_before_anything_starts(start_sandbox, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    for path in (Path("relative"), tmp_path / "missing", tmp_path / "link"):
        with pytest.raises(WorkspaceError, match="cannot be mounted"):
            start_sandbox(bind=path)
    with pytest.raises(ConfigurationError, match="belongs to root"):
        start_sandbox(bind=Path("/etc"))

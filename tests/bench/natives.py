"""The same work without a sandbox, in each of the ways that a user of this machine could pick.

The native world takes ripgrep where it finds it, which for small trees is slower than grep, and the pytest of
this interpreter with every plugin that happens to be installed. Neither is ours to choose: both search
programs are measured, and pytest loads no plugin that the project does not ask for.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sandbox_runner.replay import TrailExecutor
from sandbox_runner.trail import Trail
from sandbox_runner.world import FileWorld
from tests.bench.measuring import timed
from tests.bench.setting import Bench

__all__ = ["lean_world", "natives"]

_PROGRAMS = ("git", "grep", "sh")


def natives(bench: Bench, trail: Trail, source: Path) -> Mapping[str, Callable[[], float]]:
    """Seconds of the unsandboxed replay, backups off, by the search program that it takes."""
    programs = [name for name in ("grep", "rg") if shutil.which(name)]

    def replayed(program: str) -> float:
        folder = bench.folder()
        shutil.copytree(source, folder / "w")
        with lean_world(bench.folder(), folder / "w", program) as world:
            taken = timed(TrailExecutor(world, trail, principal="bench").execute)
        shutil.rmtree(folder)
        return taken

    return {f"native with {name}": (lambda name=name: replayed(name)) for name in programs}


@contextmanager
def lean_world(folder: Path, workspace: Path, program: str = "grep") -> Iterator[FileWorld]:
    """The native world with one search program, and a pytest without plugins of others.

    ``folder`` is an empty one, for the programs that it may take.
    """
    for name in {*_PROGRAMS, program}:
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTEST_DISABLE_PLUGIN_AUTOLOAD=1 exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    path, interpreter = os.environ["PATH"], sys.executable
    os.environ["PATH"], sys.executable = str(folder), str(python)
    try:
        yield FileWorld(workspace, backup_on_write=False)
    finally:
        os.environ["PATH"], sys.executable = path, interpreter

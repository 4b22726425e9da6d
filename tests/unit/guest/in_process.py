"""A guest of this process: its methods, without a container and without another uid."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandbox_runner.guest.config import Config
from sandbox_runner.guest.context import Guest
from sandbox_runner.guest.ledger import Ledger
from sandbox_runner.guest.process import Ended, Program, environment

GIT_S = 20.0


class Plain:
    """An identity that is never worn: who runs the tests has no second uid."""

    uid = 0

    def __enter__(self) -> None: ...

    def __exit__(self, *_exception: object) -> None: ...

    def wear(self) -> None: ...

    def take_off(self) -> None: ...


def start(guest: Guest, program: Program, seconds: float) -> Ended:
    """Run a program as ``process.run`` does, but with this user's ids and without ending others."""
    guest.forget()
    argv = [shutil.which(os.path.basename(program.argv[0])) or program.argv[0], *program.argv[1:]]  # noqa: PTH119
    with subprocess.Popen(
        argv,
        cwd=f"/proc/self/fd/{program.cwd}",
        pass_fds=(program.cwd,),
        env={**environment(guest), **program.extra},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            said = process.communicate(program.stdin, timeout=min(seconds, GIT_S))
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"git was held: {argv}") from None
    for (_numbers, sink), data in zip(program.sinks, said, strict=True):
        sink.take(data)
    status = process.returncode
    return Ended(-status if status < 0 else status << 8, timed_out=False, exhausted=[], left=0)


@contextmanager
def guest_in(folder: Path, **config: Any) -> Iterator[Guest]:
    """A guest of this process whose workspace is ``folder/workspace``."""
    for name in ("workspace", "scratch", "out"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "out" / "x").write_text("outside")
    given = {
        "uid": 1,
        "workspace": str(folder / "workspace"),
        "scratch": [str(folder / "scratch")],
        "push": "quarantine",
        "fleet": {"capabilities": ["test_run", "delegate"], "self_declared_levels": True},
        **config,
    }
    guest = Guest.__new__(Guest)
    guest.config = Config(given, "config")
    guest.identity = Plain()  # type: ignore[assignment]
    guest.root = os.open(folder / "workspace", os.O_RDONLY)
    guest.ledger = Ledger(guest.config)
    guest.bundles, guest.server, guest.index, guest.surveyed, guest.edited = {}, None, None, {}, {}
    guest.origin = guest.settled = None
    guest.believed, guest.memory_reached = (), 0
    guest._folder, guest._folder_names = guest.root, []
    try:
        yield guest
    finally:
        guest.forget()
        os.close(guest.root)

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox_runner.sandbox.temporary import temporary_folder

OWNER = """
import sys, tempfile
from sandbox_runner.sandbox.temporary import temporary_folder
tempfile.tempdir = sys.argv[1]
with temporary_folder() as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_owner_left_is_gone_with_the_next_and_a_living_ones_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "sandbox-runner-scratch-link").symlink_to(tmp_path)
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        held = Path(owner.stdout.readline().strip())
        (held / "wheel").write_text("x")
        with temporary_folder() as other:
            assert held.is_dir(), "its owner lives"
            assert other != held
        assert not other.exists()
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
        assert held.is_dir()
        with temporary_folder():
            assert not held.exists()
    assert tmp_path.is_dir(), "links are not followed"

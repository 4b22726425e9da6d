"""Exported archives, opened by tar and zstd."""

import shutil
import subprocess


def run(program, *arguments):
    found = shutil.which(program)
    assert found, f"these tests need tar and zstd on this machine (Debian: apt-get install {program})"
    return subprocess.run([found, *arguments], capture_output=True, check=True, timeout=120).stdout


def test_tar_and_zstd_open_an_exported_archive(exported):
    place, _ = exported
    run("zstd", "--test", place / "tree.tar.zst")
    assert run("tar", "--zstd", "-xOf", place / "tree.tar.zst", "d/file") == b"hello\n"

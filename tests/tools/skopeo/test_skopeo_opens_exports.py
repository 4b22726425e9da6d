"""Exported images, opened by skopeo."""

import json
import shutil
import subprocess

import pytest

from sandbox_runner.snapshot import SnapshotStore


def skopeo(*arguments):
    program = shutil.which("skopeo")
    assert program, "these tests need skopeo on this machine (Debian: apt-get install skopeo)"
    return subprocess.run([program, *arguments], capture_output=True, check=True, timeout=120).stdout


@pytest.mark.parametrize(
    "reference", ["oci:{}/image", "oci-archive:{}/image.tar", "docker-archive:{}/image.tar"]
)
def test_skopeo_opens_an_exported_image(exported, reference):
    place, _ = exported
    found = json.loads(skopeo("inspect", reference.format(place)))
    assert found["Os"] == "linux"
    assert len(found["Layers"]) == 1


def test_skopeo_copies_an_exported_image_and_the_copy_imports(exported, tmp_path):
    place, digest = exported
    skopeo("copy", f"oci:{place}/image", f"oci-archive:{place}/copy.tar")
    assert SnapshotStore(tmp_path / "other").import_archive(place / "copy.tar").digest == digest

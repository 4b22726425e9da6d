"""What was exported, opened by the programs it is meant for."""

import json
import subprocess

import pytest

from sandbox_runner.snapshot import DirectorySource, SnapshotStore


@pytest.fixture
def exported(tmp_path):
    tree = tmp_path / "tree"
    (tree / "d").mkdir(parents=True)
    (tree / "d" / "file").write_text("hello\n")
    (tree / "d" / "run.sh").write_text("#!/bin/sh\n")
    (tree / "d" / "run.sh").chmod(0o755)
    (tree / ("long-name-" * 20)).write_text("x")
    (tree / "größe").write_text("x")
    (tree / "link").symlink_to("d/file")
    store = SnapshotStore(tmp_path / "store")
    digest = store.capture(DirectorySource(tree)).digest
    store.export(digest, tmp_path / "image", form="oci")
    store.export(digest, tmp_path / "image.tar", form="oci")
    store.export(digest, tmp_path / "tree.tar.zst", form="tar.zst")
    return tmp_path, digest


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.mark.parametrize(
    "reference", ["oci:{}/image", "oci-archive:{}/image.tar", "docker-archive:{}/image.tar"]
)
def test_skopeo_opens_an_exported_image(exported, reference):
    place, _ = exported
    found = json.loads(run("skopeo", "inspect", reference.format(place)))
    assert found["Os"] == "linux"
    assert len(found["Layers"]) == 1


def test_skopeo_copies_an_exported_image_and_the_copy_imports(exported, tmp_path):
    place, digest = exported
    run("skopeo", "copy", f"oci:{place}/image", f"oci-archive:{place}/copy.tar")
    assert SnapshotStore(tmp_path / "other").import_archive(place / "copy.tar").digest == digest


@pytest.mark.docker
def test_docker_loads_an_exported_image_with_every_file(exported):
    place, digest = exported
    tag = f"sandbox-runner-snapshot:{digest[:12]}"
    assert tag in run("docker", "load", "-i", place / "image.tar")
    container = run("docker", "create", "--label", "sandbox-runner.test=export", tag, "none").strip()
    try:
        done = subprocess.run(["docker", "export", container], capture_output=True, check=True, timeout=60)
        listing = subprocess.run(
            ["tar", "-tv"], input=done.stdout, capture_output=True, check=True
        ).stdout.decode()
    finally:
        run("docker", "rm", "-f", container)
        run("docker", "rmi", tag)
    lines = {" ".join(line.split()[5:]): line for line in listing.splitlines()}
    assert lines["d/run.sh"].startswith("-rwxr-xr-x")
    assert lines["d/file"].startswith("-rw-r--r--")
    assert "link -> d/file" in lines
    assert "long-name-" * 20 in lines


def test_tar_and_zstd_open_an_exported_archive(exported):
    place, _ = exported
    packed = (place / "tree.tar.zst").read_bytes()
    assert run("tar", "--zstd", "-xOf", place / "tree.tar.zst", "d/file") == "hello\n"
    assert subprocess.run(["zstd", "-t"], input=packed, capture_output=True, check=False).returncode == 0

"""What was exported, opened by Docker and by Python; skopeo, tar and zstd have their turn in tests/tools."""

import io
import subprocess
import tarfile

import pytest
import zstandard


def run(*command):
    return subprocess.run(command, capture_output=True, check=True, timeout=120).stdout


@pytest.mark.docker
def test_docker_loads_an_exported_image_with_every_file(exported, engine):
    place, digest = exported
    tag = f"sandbox-runner-snapshot:{digest[:12]}"
    assert tag in run("docker", "load", "-i", place / "image.tar").decode()
    label = "sandbox-runner.test=export"
    container = run("docker", "create", "--label", label, tag, "none").decode().strip()
    try:
        packed = run("docker", "export", container)
    finally:
        run("docker", "rm", "-f", container)
        run("docker", "rmi", tag)
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        members = {member.name: member for member in tar}
    assert members["d/run.sh"].mode & 0o7777 == 0o755
    assert members["d/file"].mode & 0o7777 == 0o644
    assert members["link"].linkname == "d/file"
    assert {"größe", "long-name-" * 20} <= members.keys()


def test_python_opens_an_exported_archive(exported):
    place, _ = exported
    packed = (place / "tree.tar.zst").read_bytes()
    unpacked = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True).read()
    with tarfile.open(fileobj=io.BytesIO(unpacked)) as tar:
        contents = {member.name: member.isfile() and tar.extractfile(member).read() for member in tar}
    assert contents["d/file"] == b"hello\n"
    assert {"d/run.sh", "link", "größe", "long-name-" * 20} <= contents.keys()

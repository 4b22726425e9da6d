from pathlib import Path

import pytest

from sandbox_runner.errors import ConfigurationError
from sandbox_runner.resources import resource
from sandbox_runner.sandbox.images import REPOSITORY, default_tag
from sandbox_runner.sandbox.volumes import asked_for, covered


def test_the_tag_is_the_hash_of_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM x\n")
    first = default_tag(tmp_path)
    assert first.startswith(f"{REPOSITORY}:")
    assert len(first.rpartition(":")[2]) == 12
    assert default_tag(tmp_path) == first
    (tmp_path / "Dockerfile").write_text("FROM y\n")
    assert default_tag(tmp_path) != first


def test_moving_bytes_between_files_changes_the_tag(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, parts in ((one, ("ab", "c")), (two, ("a", "bc"))):
        folder.mkdir()
        for name, content in zip("xy", parts, strict=True):
            (folder / name).write_text(content)
    assert default_tag(one) != default_tag(two)


def test_the_recipe_travels_with_the_package() -> None:
    names = {path.name for path in resource("images", "python").iterdir()}
    assert {"Dockerfile", "packages", "prepare.sh"} <= names


@pytest.mark.parametrize(
    "volume",
    [
        *(
            "/",
            "/.",
            "//",
            "/..",
            "/workspace/..",
            "/workspace/x",
            "/workspace//x/y",
            "workspace",
            "",
            "data",
        ),
        *(
            "/dev",
            "/dev/",
            "/dev/mqueue",
            "/dev/shm/..",
            "/proc",
            "/proc/1",
            "/sys/fs",
            "/usr",
            "/usr/bin",
            "/etc",
        ),
        *("/bin", "/lib", "/lib64", "/sbin", "/usr/lib", "/tmp/../usr"),
    ],
)
def test_a_volume_where_the_sandbox_has_its_own_is_refused(volume: str) -> None:
    with pytest.raises(ConfigurationError, match="declares a volume at") as caught:
        covered("image:1", [volume])
    assert "image:1" in str(caught.value)
    assert caught.value.hint


LINKED = [
    (["/data"], {"/data": "/workspace"}),
    (["/data"], {"/data": "/workspace/x"}),
    (["/data"], {"/data": "/tmp/x"}),
    (["/data"], {"/data": "/usr"}),
    (["/data"], {"/data": "/"}),
    (["/data"], {"/data": ""}),
    (["/a/b"], {"/a/b": "/c/b", "/a": "/c"}),
    (["/var/run", "/run/lock"], {"/var/run": "/run"}),
    (["/run", "/var/run"], {"/var/run": "/run"}),
    (["/var/run", "/run/lock"], {"/run/lock": "/var/run/x"}),
    (["/workspace"], {"/workspace": "/srv"}),
    ([], {"/tmp": "/var/tmp"}),
    ([], {"/workspace": ""}),
]


@pytest.mark.parametrize(("volumes", "real"), LINKED)
def test_links_that_lay_one_mount_over_another_are_refused(volumes: list[str], real: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="image:1") as caught:
        covered("image:1", volumes, real)
    assert caught.value.hint


def test_a_link_to_a_place_of_its_own_is_covered_under_its_own_name() -> None:
    assert list(covered("i", ["/var/run", "/data"], {"/var/run": "/run"})) == ["/var/run", "/data"]


def test_what_is_asked_about_volumes_is_where_they_are_what_they_are_in_and_what_the_guest_opens() -> None:
    assert asked_for(["/data/a", "/b"]) == ("/data/a", "/b", "/data", "/", "/workspace", "/tmp")


def test_a_volume_elsewhere_is_covered_once_under_its_plain_name_and_ours_stand() -> None:
    volumes = [
        "/data/",
        "//var/lib/x",
        "/workspace",
        "/tmp/",
        "/dev//shm",
        "/workspaces",
        "/device",
        "/tmp/a",
    ]
    found = covered("i", volumes)
    assert list(found) == ["/data", "/var/lib/x", "/workspaces", "/device", "/tmp/a"]
    assert set(found.values()) == {"size=4096,mode=0555,nr_inodes=2,ro"}
    assert covered("i", ()) == {}


def test_a_volume_in_another_has_a_way_there_and_no_room_beside_it() -> None:
    found = covered("i", ["/data/a/b", "/data", "/data/a/c", "/data/a/b/d/e"])
    assert found == {
        "/data/a/b": "size=4096,mode=0555,nr_inodes=3",
        "/data": "size=4096,mode=0555,nr_inodes=4",
        "/data/a/c": "size=4096,mode=0555,nr_inodes=2,ro",
        "/data/a/b/d/e": "size=4096,mode=0555,nr_inodes=2,ro",
    }

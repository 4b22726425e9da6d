"""Files in place of the host's: what they say, for any limits and any image's users."""

import stat
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sandbox_runner.guest.identity import HOME, USER
from sandbox_runner.policy import Resources
from sandbox_runner.sandbox.confinement import MASKED, Machine
from sandbox_runner.sandbox.synthetic import GROUP, PASSWD, bound, kernel_files, name_files

MIB = 1 << 20


def fields_of(text: bytes) -> list[list[str]]:
    return [line.split(":") for line in text.decode("latin-1").splitlines()]


@given(
    uid=st.integers(1, (1 << 32) - 2),
    listed=st.lists(st.tuples(st.sampled_from(["root", "ubuntu", USER, "x"]), st.integers(0, 70_000))),
)
def test_the_sandboxs_uid_and_its_name_lead_to_one_line_and_the_images_users_stay(
    uid: int, listed: list[tuple[str, int]]
) -> None:
    users = "".join(f"{name}:x:{number}:{number}:é:/home/{name}:/bin/sh\n" for name, number in listed)
    groups = "".join(f"{name}:x:{number}:\n" for name, number in listed)
    files = name_files(uid, users.encode(), groups.encode())
    for path, own in ((PASSWD, users.encode()), (GROUP, groups.encode())):
        rows = fields_of(files[path])
        assert next(row for row in rows if row[2] == str(uid)) == rows[0]
        assert next(row for row in rows if row[0] == USER) == rows[0]
        assert any(row[2] == "0" for row in rows)
        assert files[path].endswith(own)
    assert fields_of(files[PASSWD])[0][5] == HOME


def test_root_has_one_line_and_what_is_no_line_stays_as_it_is() -> None:
    files = name_files(7, b"root:x:0:0::/root:/bin/sh\n# not a line\n+::::::", b"")
    assert files[PASSWD].count(b"root:x:") == 1
    assert files[PASSWD].endswith(b"\n# not a line\n+::::::")
    assert files[GROUP] == f"{USER}:x:7:\nroot:x:0:\n".encode()


@given(memory=st.integers(32 * MIB, 1 << 40), cpus=st.none() | st.integers(1, 512))
def test_figures_follow_from_the_limits_and_the_processors(memory: int, cpus: int | None) -> None:
    resources = Resources(memory=memory, cpus=1.5)
    files = kernel_files(resources, Machine(cpus, 1 << 50))
    assert files == kernel_files(resources, Machine(cpus, 1 << 45))
    sizes = {row[0]: int(row[1].split()[0]) << 10 for row in fields_of(files["/proc/meminfo"])}
    assert sizes["MemTotal"] == memory >> 10 << 10
    assert 0 <= sizes["MemFree"] <= sizes["MemAvailable"] <= sizes["MemTotal"]
    lines = files["/proc/stat"].decode().splitlines()
    each = [line.split() for line in lines if line.startswith("cpu")]
    assert len(each) == 1 + (cpus or 2)
    assert [sum(int(row[at]) for row in each[1:]) for at in range(1, 11)] == [*map(int, each[0][1:])]
    assert any(line.startswith("btime ") for line in lines)


def test_each_file_of_the_kernels_takes_the_place_of_a_masked_one() -> None:
    assert set(kernel_files(Resources(), Machine(2))) <= set(MASKED)


def test_the_files_are_there_for_everybody_to_read_while_the_container_starts_and_gone_afterwards() -> None:
    with bound({"/etc/passwd": b"a", "/proc/stat": b"b"}) as mounts:
        found = {mount["Target"]: Path(mount["Source"]) for mount in mounts}
        assert [path.read_bytes() for path in found.values()] == [b"a", b"b"]
        assert all(mount["ReadOnly"] and mount["Type"] == "bind" for mount in mounts)
        assert {stat.S_IMODE(path.stat().st_mode) for path in found.values()} == {0o444}
        (folder,) = {path.parent for path in found.values()}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert not folder.exists()

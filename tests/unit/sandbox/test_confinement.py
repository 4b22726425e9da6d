import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_runner.errors import ConfigurationError
from sandbox_runner.policy import Resources
from sandbox_runner.resources import resource
from sandbox_runner.sandbox.confinement import (
    GUEST_RESERVE,
    MASKED,
    SHM_SIZE,
    Machine,
    check_memory,
    clip,
    host_config,
    machine_of,
    random_uid,
    terminals,
)

MIB = 1 << 20


def config(**fields: object) -> dict:
    return host_config(Resources(**fields), runtime="runc", uid=1_234_567, labels={"a": "b"})


def test_nothing_that_lives_in_memory_may_together_reach_the_memory_limit() -> None:
    workspace, tmp = 100 * MIB, 20 * MIB
    exact = workspace + tmp + SHM_SIZE + GUEST_RESERVE
    assert config(workspace=workspace, tmp=tmp, memory=exact)["Memory"] == exact
    with pytest.raises(ConfigurationError, match="too small"):
        config(workspace=workspace, tmp=tmp, memory=exact - 1)


def test_the_default_limits_fit_together() -> None:
    assert config()["Memory"] == config()["MemorySwap"] == Resources().memory


def test_the_container_gets_what_the_design_says_and_no_more() -> None:
    host = config(cpus=0.5, pids=99)
    assert host["CapDrop"] == ["ALL"]
    assert sorted(host["CapAdd"]) == ["KILL", "SETGID", "SETUID"]
    assert host["ReadonlyRootfs"] is True
    assert host["Privileged"] is False
    assert host["AutoRemove"] is True
    assert host["LogConfig"]["Type"] == "none"
    assert (host["NanoCpus"], host["PidsLimit"]) == (500_000_000, 99)
    assert "no-new-privileges" in host["SecurityOpt"]
    assert {limit["Name"]: limit["Hard"] for limit in host["Ulimits"]}["core"] == 0
    assert host["CgroupnsMode"] == "private"
    assert "NetworkMode" not in host  # there is no network to have a mode
    assert not {"Devices", "Binds", "PidMode", "UsernsMode"} & host.keys()


def test_the_workspace_is_a_bounded_volume_of_the_sandboxs_uid() -> None:
    (mount,) = config(workspace=10 * MIB, workspace_inodes=77)["Mounts"]
    assert mount["Source"] is None
    options = mount["VolumeOptions"]["DriverConfig"]["Options"]
    assert options["type"] == "tmpfs"
    expected = "size=10485760,nr_inodes=77,uid=1234567,gid=1234567,mode=0750,nosuid,nodev"
    assert options["o"] == expected
    assert mount["VolumeOptions"]["Labels"] == {"a": "b"}


def test_a_directory_of_the_host_is_mounted_only_when_asked_for() -> None:
    host = host_config(Resources(), runtime="runc", uid=5, labels={}, bind=Path("/srv/project"))
    (mount,) = host["Mounts"]
    assert (mount["Type"], mount["Source"], mount["ReadOnly"]) == ("bind", "/srv/project", False)
    host = host_config(Resources(), runtime="runc", uid=5, labels={}, bind=Path("/srv/project"), writes=False)
    assert host["Mounts"][0]["ReadOnly"] is True


def test_pseudo_terminals_are_few_where_the_hosts_kernel_counts_them() -> None:
    (mount,) = terminals("runc", {"a": "b"})
    assert mount["Target"] == "/dev/pts"
    options = mount["VolumeOptions"]["DriverConfig"]["Options"]
    assert options["type"] == "devpts"
    assert "max=32" in options["o"].split(",")
    assert mount["VolumeOptions"]["Labels"] == {"a": "b"}
    assert terminals("runsc", {}) == []


SIZES = st.integers(1 << 20, 1 << 34) | st.integers(1 << 20, 4 << 20)
RESOURCES = st.builds(
    Resources,
    cpus=st.floats(0.01, 1024, allow_nan=False),
    memory=st.integers(32 << 20, 1 << 36) | st.integers(82 << 20, 90 << 20),
    workspace=SIZES,
    tmp=SIZES,
)
MACHINES = st.builds(
    Machine,
    cpus=st.none() | st.integers(1, 512),
    memory=st.none() | st.integers(1 << 20, 1 << 38) | st.integers(80 << 20, 90 << 20),
)


@given(asked=RESOURCES, machine=MACHINES)
def test_a_clipped_limit_is_what_the_machine_has_never_widens_and_still_fits(
    asked: Resources, machine: Machine
) -> None:
    try:
        check_memory(asked)
    except ConfigurationError:
        with pytest.raises(ConfigurationError):
            clip(asked, machine)
        return
    given = clip(asked, machine)
    for name, value in given.model_dump().items():
        assert value <= getattr(asked, name), name
        assert value >= 0.01
    assert machine.cpus is None or given.cpus == min(asked.cpus, machine.cpus)
    assert machine.memory is None or given.memory == min(asked.memory, machine.memory)
    if machine.memory is None or machine.memory >= asked.memory:
        assert (given.workspace, given.tmp) == (asked.workspace, asked.tmp)
    if given.memory < SHM_SIZE + GUEST_RESERVE + 2 * MIB:
        return  # such a machine cannot hold a sandbox, and ``host_config`` says so
    check_memory(given)
    assert clip(given, machine) == given


def test_what_is_not_clipped_is_what_was_asked_for() -> None:
    assert clip(Resources(), Machine(64, 1 << 40)) == Resources()
    assert clip(Resources(), Machine()) == Resources()
    assert clip(Resources(cpus=4.0), Machine(2, 1 << 40)).cpus == 2.0


@pytest.mark.parametrize(
    ("pattern", "limit"),
    [
        *(("core", 0), ("/var/crash/core.%p", 0), ("", 0)),
        *(("|/usr/share/apport/apport -p%p", 1), ("|x", 1), ("@/run/coredump.socket", 1), (None, 1)),
    ],
)
def test_a_crash_leaves_no_file_and_starts_no_program(pattern: str | None, limit: int) -> None:
    machine = machine_of({"NCPU": 2, "MemTotal": 1 << 30}, core_pattern=pattern)
    assert machine == Machine(2, 1 << 30, limit)
    host = host_config(Resources(), runtime="runc", uid=5, labels={}, core_limit=machine.core_limit)
    (core,) = (entry for entry in host["Ulimits"] if entry["Name"] == "core")
    assert (core["Soft"], core["Hard"]) == (limit, limit)


@pytest.mark.parametrize("info", [{}, {"NCPU": 0, "MemTotal": 0}, {"NCPU": "2", "MemTotal": None}])
def test_an_engine_that_does_not_say_what_it_has_clips_nothing(info: dict) -> None:
    assert machine_of(info, core_pattern="core") == Machine(None, None, 0)


def test_the_counters_that_the_guest_reads_are_not_masked() -> None:
    assert not [path for path in MASKED if "/sys/fs/cgroup".startswith(path)]


def test_uids_differ_and_fit_the_engines_range() -> None:
    free = {random_uid(["name=seccomp,profile=default"]) for _ in range(100)}
    assert len(free) > 90
    assert all(1 << 20 <= uid < 1 << 30 for uid in free)
    assert all(random_uid(["name=rootless"]) < 65_536 for _ in range(100))


def test_the_seccomp_profile_allows_by_name_and_denies_the_rest() -> None:
    profile = json.loads(resource("config", "seccomp.json").read_bytes())
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    plain = [rule for rule in profile["syscalls"] if not rule.get("args")]
    allowed = [name for rule in plain if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]]
    assert len(allowed) == len(set(allowed))
    dangerous = [
        "ptrace",
        "process_vm_readv",
        "process_vm_writev",
        "kcmp",
        "pidfd_getfd",
        "io_uring_setup",
        "io_uring_enter",
        "bpf",
        "perf_event_open",
        "userfaultfd",
        "keyctl",
        "add_key",
        "request_key",
        "mount",
        "umount2",
        "move_mount",
        "fsopen",
        "open_tree",
        "mount_setattr",
        "pivot_root",
        "chroot",
        "unshare",
        "setns",
        "open_by_handle_at",
        "name_to_handle_at",
        "init_module",
        "finit_module",
        "delete_module",
        "kexec_load",
        "reboot",
        "swapon",
        "acct",
        "quotactl",
        "iopl",
        "ioperm",
        "modify_ldt",
        "syslog",
        "sethostname",
        "settimeofday",
        "clock_settime",
        "adjtimex",
        "mbind",
        "move_pages",
        "migrate_pages",
        "memfd_secret",
        "vmsplice",
        "shmget",
        "semget",
        "msgget",
        "mq_open",
        "fanotify_init",
        "lookup_dcookie",
        "remap_file_pages",
        "seccomp",
        "sync",
        "syncfs",
        "splice",
        "tee",
        "sendfile",
        "io_setup",
        "io_submit",
        "futex_wait",
        "futex_wake",
        "futex_requeue",
        "futex_waitv",
    ]
    assert not set(dangerous) & set(allowed)
    conditional = {name for rule in profile["syscalls"] for name in rule["names"] if rule.get("args")}
    assert not conditional & set(allowed)
    assert conditional == {
        *("clone", "futex", "ioctl", "memfd_create", "mmap", "personality", "prctl", "prlimit64"),
        *("sendmmsg", "sendmsg", "sendto", "setrlimit", "setsockopt", "socket", "socketpair"),
    }
    assert all(not entry["subArchitectures"] for entry in profile["archMap"])


@pytest.mark.parametrize("kernel", ["runc", "runsc"])
def test_no_limit_on_processes_is_above_what_a_control_group_takes(kernel):
    host = host_config(Resources(pids=1 << 20, memory=1 << 40), runtime=kernel, uid=1 << 20, labels={})
    assert host["PidsLimit"] <= 1 << 22


@pytest.mark.parametrize("limit", ["pids", "open_files"])
def test_a_limit_that_no_guest_takes_is_bad_input(limit):
    with pytest.raises(ValueError, match="1048576"):
        Resources(**{limit: (1 << 20) + 1})

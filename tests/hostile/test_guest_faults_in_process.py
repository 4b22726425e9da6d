"""Random arguments and random hostile workspaces against the guest's methods: never an exception of our own.

The guest runs in this process, without another uid: what is proved is that nothing but a ``StepError`` comes
out of a method, whatever the workspace holds, and that nothing outside of it is touched.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox_runner.guest import repository, search, tree
from sandbox_runner.guest.context import Guest
from sandbox_runner.guest.dispatch import METHODS, answer_call
from sandbox_runner.guest.process import Ended, Program
from sandbox_runner.guest.scratch import clear_scratch
from sandbox_runner.guest.search_index import SearchIndex
from sandbox_runner.guest.tree_records import END, NOTE, pack_want, read_pieces, read_scan
from sandbox_runner.guest.wire import HEADER_LIMIT, encode_json
from tests.unit.guest.in_process import guest_in, start

STATUSES = {"ok", "failed", "refused", "skipped"}
SLOW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)

NAMES = (
    *(
        b".git",
        b".git",
        b".git",
        b"HEAD",
        b"config",
        b"index",
        b"refs",
        b"heads",
        b"main",
        b"objects",
        b"info",
    ),
    *(b"packed-refs", b"alternates", b"logs", b"commondir", b"COMMIT_EDITMSG", b"MERGE_HEAD", b"00", b"pack"),
    *(b".gitignore", b".gitattributes", b".gitmodules", b"shallow", b"exclude", b"index.lock", b"main.lock"),
    *(b"a", b"b", b"\xff\xfe", b"n" * 255, b"new\nline", b"-x", b"a b", b".sandbox-write.tmp", b".ignore"),
    *(b"config.sandbox-kept", b"sharedindex.0", b"hooks", b"nested"),
)
TARGETS = (
    b"/",
    b"/dev/zero",
    b"/proc/self/environ",
    b"..",
    b"../out/x",
    b"nowhere",
    b"a",
    b".git",
    b"main",
    b".",
)
CONTENTS = (
    *(b"", b"x", b"\0" * 300, b"ref: refs/heads/main\n", b"ref: refs/heads/../../../out/x\n", b"ref: HEAD"),
    *(b"gitdir: ../a\n", b"gitdir: \0\n", b"1" * 40 + b"\n", b"DIRC" + b"\0" * 8, b"* text=auto eol=crlf\n"),
    *(b"[core]\n\tbare = true\n\trepositoryformatversion = 9\n", b"[extensions]\n\tobjectformat = sha256\n"),
    *(b"1" * 40 + b" refs/heads/main/x\n", b"\xff" * 5000, b"../../a\n", b"a/*/*/*/*b\n!**\n"),
)
PLACES = (
    *(b"HEAD", b"config", b"index", b"packed-refs", b"refs/heads/main", b"refs/heads", b"refs", b"logs/HEAD"),
    *(b"logs/refs/heads/main", b"objects", b"objects/00", b"objects/pack/p.idx", b"objects/info/alternates"),
    *(b"info/exclude", b"info/attributes", b"shallow", b"COMMIT_EDITMSG", b"MERGE_HEAD", b"commondir", b"x"),
)
paths = st.one_of(
    st.tuples(st.sampled_from([b".git/", b".git/", b"nested/.git/"]), st.sampled_from(PLACES)).map(b"".join),
    st.sampled_from([b".gitignore", b"nested/.gitignore", b".gitattributes", b".gitmodules", b"nested/.git"]),
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=5).map(b"/".join),
)
plants = st.lists(
    st.one_of(
        st.tuples(st.just("file"), paths, st.sampled_from(CONTENTS)),
        st.tuples(st.just("link"), paths, st.sampled_from(TARGETS)),
        st.tuples(st.sampled_from(["fifo", "fifo", "directory", "remove"]), paths, st.just(b"")),
        st.tuples(st.just("mode"), paths, st.sampled_from([b"0", b"400", b"500", b"111", b"7777"])),
    ),
    max_size=6,
)
texts = st.one_of(
    paths.map(lambda path: path.decode("utf-8", "replace")),
    st.sampled_from(
        ["", ".", "..", "/", "../x", "a\0b", "x" * 9000, "é" * 5000, "a/../../b", "::", "a::b", "0"]
    ),
    st.text(max_size=30),
)
ARGUMENTS = {
    (str,): texts,
    (int,): st.one_of(st.integers(), st.integers(-3, 3)),
    (int, float): st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
}
CALLED = ("test_run", "search_code")  # these two start programs of the image; a container proves them
calls = st.sampled_from([name for name in METHODS if name not in CALLED]).flatmap(
    lambda name: st.tuples(
        st.just(name),
        st.fixed_dictionaries({key: ARGUMENTS[kinds] for key, kinds in METHODS[name][1].items()}),
    )
)


def plant(top: bytes, kind: str, path: bytes, how: bytes) -> None:
    place = top + b"/" + path
    try:
        os.makedirs(os.path.dirname(place), exist_ok=True)  # noqa: PTH103, PTH120 - names are bytes
        if not os.path.realpath(os.path.dirname(place)).startswith(top):  # noqa: PTH120
            return  # through a link that was planted before
        if kind == "mode":
            os.chmod(place, int(how, 8), follow_symlinks=os.path.realpath(place).startswith(top))  # noqa: PTH101
            return
        if os.path.isdir(place) and not os.path.islink(place):  # noqa: PTH112, PTH114
            shutil.rmtree(place)
        elif os.path.lexists(place):
            os.unlink(place)  # noqa: PTH108
        if kind == "file":
            Path(os.fsdecode(place)).write_bytes(how)
        elif kind == "link":
            os.symlink(how, place)  # noqa: PTH211
        elif kind == "fifo":
            os.mkfifo(place)
        elif kind == "directory":
            os.mkdir(place)  # noqa: PTH102
    except (OSError, NotImplementedError):
        return


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main", *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a commit, a change and a nested repository."""
    folder = tmp_path_factory.mktemp("seed")
    git(folder, "init", "-q", "--template=")
    (folder / "a").write_text("1")
    (folder / "nested").mkdir()
    git(folder / "nested", "init", "-q", "--template=")
    git(folder / "nested", "commit", "-qm", "n", "--allow-empty")
    git(folder, "add", "a")
    git(folder, "commit", "-qm", "1")
    (folder / "a").write_text("2")
    return folder


def perform(guest: Guest, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
    answer = answer_call(guest, {"method": method, "args": arguments}, b"")
    assert answer["status"] in STATUSES
    assert len(encode_json(answer)) < HEADER_LIMIT
    return answer


def capture(guest: Guest) -> None:
    """Walk and fetch everything, as the end of a run does."""
    guest.forget()
    scanned = [record for _, body in tree.scan(guest.root, {"lift": True}, b"") for record in read_scan(body)]
    assert scanned[-1].kind == END
    assert scanned[-1].size == sum(record.kind not in {END, NOTE} for record in scanned)
    wants = b"".join(pack_want(record.kind, record.path) for record in scanned if record.kind in b"fl")
    for _, body in tree.fetch(guest.root, {"lift": True}, wants):
        assert all(piece.state < 2 for piece in read_pieces(body))


@SLOW
@given(planted=plants, made=st.lists(calls, max_size=6))
def test_no_workspace_and_no_argument_brings_out_anything_but_a_failed_step(
    seed: Path, planted: list[tuple[str, bytes, bytes]], made: list[tuple[str, dict[str, Any]]]
) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as name:
        patch.setattr(repository, "run", start)
        patch.setattr(repository, "require_tool", lambda tool: tool)
        folder = Path(name).resolve()
        with guest_in(folder) as guest:
            workspace = os.fsencode(folder / "workspace")
            shutil.copytree(seed, folder / "workspace", dirs_exist_ok=True)
            for item in planted:
                plant(workspace, *item)
            for method, arguments in (("git_commit", {"repo": "0", "message": "m"}), *made):
                perform(guest, method, arguments)
                clear_scratch(guest)
            perform(guest, "git_push", {"repo": "0"})
            assert not any((folder / "scratch").iterdir())
            assert {path.name: path.read_text() for path in (folder / "out").iterdir()} == {"x": "outside"}
            capture(guest)
        subprocess.run(["chmod", "-R", "u+rwX", name], check=True)


@pytest.mark.parametrize(("call_s", "allowed_s"), [(300, 30), (15, 15)])
def test_the_processes_of_one_call_share_one_allowance(
    seed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call_s: int, allowed_s: int
) -> None:
    given_s: list[float] = []

    def noting(guest: Guest, program: Program, seconds: float) -> Ended:
        given_s.append(seconds)
        time.sleep(0.01)
        return start(guest, program, seconds)

    monkeypatch.setattr(repository, "run", noting)
    monkeypatch.setattr(repository, "require_tool", lambda tool: tool)
    limits = {"call_s": call_s}
    with guest_in(tmp_path, shared=True, limits=limits) as guest:  # where a disk's size says nothing
        shutil.copytree(seed, tmp_path / "workspace", dirs_exist_ok=True)
        assert perform(guest, "git_commit", {"repo": "0", "message": "m"})["status"] == "ok"
    assert len(given_s) == 6
    assert [allowed_s, *given_s] == sorted({allowed_s, *given_s}, reverse=True)


def test_two_searches_of_one_call_end_while_the_host_still_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_s: list[float] = []

    def endless(_guest: Guest, _program: Program, seconds: float) -> Ended:
        given_s.append(seconds)
        return Ended(9, timed_out=True, exhausted=["time"], left=0)

    monkeypatch.setattr(search, "run", endless)
    monkeypatch.setattr(search, "require_tool", lambda tool: tool)
    with guest_in(tmp_path, limits={"call_s": 10}) as guest:
        guest.index = SearchIndex()  # as after a search before
        assert "timeout" in perform(guest, "search_code", {"pattern": "x"})["text"]
    assert len(given_s) == 2
    assert sum(given_s) <= 10


@pytest.mark.parametrize("before", [False, True])
def test_a_git_that_was_killed_leaves_no_lock_and_takes_none_of_somebody_elses(
    seed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, before: bool
) -> None:
    lock = tmp_path / "workspace/.git/index.lock"

    def killed(guest: Guest, program: Program, seconds: float) -> Ended:
        if program.argv[3:4] != ["update-index"]:
            return start(guest, program, seconds)
        Path(program.extra["GIT_INDEX_FILE"] + ".lock").touch()
        return Ended(9, timed_out=True, exhausted=["time"], left=0)

    monkeypatch.setattr(repository, "run", killed)
    monkeypatch.setattr(repository, "require_tool", lambda tool: tool)
    with guest_in(tmp_path) as guest:
        shutil.copytree(seed, tmp_path / "workspace", dirs_exist_ok=True)
        if before:
            lock.touch()
        text = perform(guest, "git_commit", {"repo": "0", "message": "m"})["text"]
    assert ("index.lock" if before else "timeout") in text
    assert lock.exists() is before
    assert not list((tmp_path / "scratch").iterdir())


def test_objects_are_renamed_into_their_place_and_never_linked(
    seed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old gVisor's file server keeps a descriptor open for every file that had a second name."""
    monkeypatch.setattr(repository, "run", start)
    monkeypatch.setattr(repository, "require_tool", lambda tool: tool)
    blob = git(seed, "hash-object", "a").strip()
    with guest_in(tmp_path) as guest:
        shutil.copytree(seed, tmp_path / "workspace", dirs_exist_ok=True)
        place = tmp_path / "workspace/.git/objects" / blob[:2]
        place.mkdir(exist_ok=True)
        libc = ctypes.CDLL(None, use_errno=True)
        watch = libc.inotify_init1(os.O_CLOEXEC)
        created, moved_to = 0x100, 0x80
        assert libc.inotify_add_watch(watch, os.fsencode(place), created | moved_to) > 0
        assert perform(guest, "git_commit", {"repo": "0", "message": "m"})["status"] == "ok"
        assert select.select([watch], [], [], 0)[0]
        data, at, seen = os.read(watch, 1 << 16), 0, {}
        os.close(watch)
    while at < len(data):
        _watch, mask, _cookie, length = struct.unpack_from("iIII", data, at)
        seen[data[at + 16 : at + 16 + length].rstrip(b"\0").decode()] = mask
        at += 16 + length
    assert seen[blob[2:]] == moved_to

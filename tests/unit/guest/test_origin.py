"""What the guest knows of the tree that a run's work began with."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox_runner.guest import repository
from sandbox_runner.guest.git_stage import _Stage
from sandbox_runner.guest.origin import ORIGIN_BYTES, Origin, belongs, origin, pack_origin
from sandbox_runner.guest.tree import scan
from sandbox_runner.guest.tree_records import DIRECTORY, FILE, OMISSION, read_scan
from tests.unit.guest.in_process import guest_in, start
from tests.unit.guest.test_git_commit import Bench

OLD_NS = 1_000_000_000


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(repository, "run", start)
    with guest_in(tmp_path) as guest:
        yield Bench(guest, tmp_path / "workspace")


def fill(bench: Bench) -> None:
    """As the host does it after the workspace is filled."""
    entries = [entry for _, body in scan(bench.guest.root, {}, b"") for entry in read_scan(body)]
    told = ((entry.kind, entry.detail, entry.digest, entry.path) for entry in entries)
    for body in pack_origin(told):
        assert list(origin(bench.guest, {"filled": True}, body)) == [({"more": False}, b"")]


def test_of_the_inside_of_a_repository_an_origin_has_the_references_alone() -> None:
    for path in (b"a", b"a/.git", b".git", b".git/HEAD", b".git/refs/heads/x", b".git/modules/m/packed-refs"):
        assert belongs(path)
    for path in (b".git/index", b".git/objects/00/1", b"a/.git/config", b".git/hooks/x"):
        assert not belongs(path)


def test_what_could_not_be_read_is_never_the_runs_with_all_that_is_below_it() -> None:
    known = Origin()
    digest = bytes(32)
    for body in pack_origin(
        [(OMISSION, 5, digest, b"shut"), (FILE, 0, digest, b"a"), (DIRECTORY, 0, digest, b"d")]
    ):
        known.take(body, here=True)
    assert not known.changed(b"shut", b"f")
    assert not known.changed(b"shut/x/y", b"f")
    assert known.changed(b"shuttle", b"f")
    assert not known.changed(b"a", bytes((FILE, 0)) + digest)
    assert known.changed(b"a", bytes((FILE, 1)) + digest)
    assert (known.kind(b"d"), known.kind(b"nothing")) == (DIRECTORY, 0)


def test_an_origin_has_a_limit() -> None:
    known = Origin()
    known._left = 10
    with pytest.raises(ValueError, match=f"{ORIGIN_BYTES >> 20} MiB"):
        known.take(b"x" * 11)


def test_what_is_written_at_once_after_the_fill_is_seen(bench: Bench) -> None:
    bench.seed(a="1\n", b="1\n")
    fill(bench)
    bench.write(a="2\n")
    assert bench.commit()["details"]["changed"] == ["M a"]
    bench.write(a="3\n", b="3\n")
    assert bench.commit()["details"]["changed"] == ["M a", "M b"]


def test_a_file_that_nobody_changed_since_is_not_read_again_until_something_foreign_ran(bench: Bench) -> None:
    bench.seed(a="1\n")
    fill(bench)
    assert bench.guest.settled is not None
    contents = dict(bench.guest.settled[1])
    contents[b"a"] = bytes((FILE, 0)) + b"x" * 32
    bench.guest.settled = (time.time_ns() + OLD_NS, contents)
    with repository.Repository(bench.guest, "0", create=False) as opened:
        assert dict(_Stage(bench.guest, opened)._walk())[b"a"] == contents[b"a"]
        bench.guest.forget()
        assert dict(_Stage(bench.guest, opened)._walk())[b"a"] != contents[b"a"]


def test_a_shared_directory_is_read_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "run", start)
    with guest_in(tmp_path, shared=True) as guest:
        bench = Bench(guest, tmp_path / "workspace")
        bench.seed(a="1\n")
        (bench.work / "shut").mkdir()
        assert [body for _, body in origin(guest, {"here": True}, b"")] == [b"", b""]
        bench.write(a="2\n")
        assert bench.commit()["status"] == "ok"
        assert guest.settled is None

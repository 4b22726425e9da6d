"""What a commit is measured against where a run works on the end of another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox_runner.record import RunRecord
from sandbox_runner.runner.lineage import origin_of
from sandbox_runner.snapshot import DirectorySource, Snapshot, SnapshotStore

RUN_IDS = tuple(f"2026010{day}T000000Z-00000000000{day}" for day in range(1, 5))


class Chain:
    """A store, and records as runs leave them."""

    def __init__(self, folder: Path, write_record: Callable[..., Path]) -> None:
        self.folder = folder
        self.store = SnapshotStore(folder / "store")
        self.runs = folder / "runs"
        self._write = write_record

    def snapshot(self, text: str, label: str) -> Snapshot:
        tree = self.folder / text
        tree.mkdir()
        (tree / "f").write_text(text)
        return self.store.capture(DirectorySource(tree), label=label)

    def run(self, run_id: str, base: Snapshot | None, end: Snapshot, **options: str) -> None:
        known = None if base is None else base.digest
        self._write(self.runs, run_id=run_id, base_snapshot=known, end=end.digest, options=options)

    def origin(self, base: Snapshot) -> str | None:
        return origin_of(base, self.store, self.runs)


@pytest.fixture
def chain(tmp_path: Path, write_record: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Chain:
    ends: dict[Path, str] = {}
    load = RunRecord.load.__func__  # type: ignore[attr-defined]

    def write(root: Path, *, end: str, **info: object) -> Path:
        path = write_record(root, **info)
        ends[path] = end
        return path

    def loaded(path: Path) -> RunRecord:
        record: RunRecord = load(RunRecord, path)
        assert record.result is not None
        object.__setattr__(record.result, "snapshot", "sha256:" + ends[path])
        return record

    monkeypatch.setattr(RunRecord, "load", loaded)
    return Chain(tmp_path, write)


def test_a_snapshot_that_no_run_left_is_its_own_origin(chain: Chain) -> None:
    for label in ("", "base of " + RUN_IDS[0], "../" + RUN_IDS[0], RUN_IDS[0]):
        base = chain.snapshot("t" + str(len(label)), label)
        assert chain.origin(base) == base.digest


def test_a_chain_of_runs_is_followed_to_what_the_first_began_with(chain: Chain) -> None:
    first, second, third = (
        chain.snapshot(f"t{at}", label) for at, label in enumerate(("base", RUN_IDS[0], RUN_IDS[1]))
    )
    chain.run(RUN_IDS[0], first, second)
    chain.run(RUN_IDS[1], second, third)
    assert chain.origin(third) == first.digest


def test_what_a_record_says_of_its_origin_needs_no_earlier_record(chain: Chain) -> None:
    first, second, third = (chain.snapshot(f"t{at}", label) for at, label in enumerate(("", "", RUN_IDS[1])))
    chain.run(RUN_IDS[1], second, third, origin=first.digest)
    assert chain.origin(third) == first.digest


def test_a_chain_that_began_empty_has_an_empty_origin(chain: Chain) -> None:
    first, second = chain.snapshot("t1", RUN_IDS[0]), chain.snapshot("t2", RUN_IDS[1])
    chain.run(RUN_IDS[0], None, first)
    chain.run(RUN_IDS[1], first, second)
    assert chain.origin(second) is None


def test_a_chain_begins_behind_what_is_missing_and_never_goes_round(chain: Chain) -> None:
    first, second = chain.snapshot("t1", RUN_IDS[0]), chain.snapshot("t2", RUN_IDS[1])
    chain.run(RUN_IDS[1], first, second)
    assert chain.origin(second) == first.digest  # the first run's record is gone
    chain.run(RUN_IDS[0], second, first)
    assert chain.origin(second) == first.digest


def test_a_record_that_names_another_end_does_not_count(chain: Chain) -> None:
    first, second = chain.snapshot("t1", ""), chain.snapshot("t2", RUN_IDS[0])
    chain.run(RUN_IDS[0], first, first)
    assert chain.origin(second) == second.digest

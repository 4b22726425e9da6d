"""What a record says was left out of its base is what that snapshot says, whoever captured it when."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox_runner.errors import VerificationError
from sandbox_runner.guest.tree_walk import MAX_REQUESTED
from sandbox_runner.record import LeftOutInfo
from sandbox_runner.runner.again import snapshot_check
from sandbox_runner.runner.summary import check_left_out, left_out_of
from sandbox_runner.snapshot import DirectorySource, Snapshot, SnapshotStore


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(tmp_path / "store")


@pytest.fixture
def base(store: SnapshotStore, tmp_path: Path) -> Snapshot:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("a.log", "b.log", "c.log", "d.log", "kept.txt"):
        (tree / name).write_text(name)
    os.mkfifo(tree / "pipe")
    return store.capture(DirectorySource(tree, exclude=["*.log"]))


def mutations(told: tuple[LeftOutInfo, ...]) -> list[tuple[LeftOutInfo, ...]]:
    found = [()] if told else []
    for at, group in enumerate(told):
        before, after = told[:at], told[at + 1 :]
        found += [(*before, *after), (*told, group)]
        for change in (
            {"count": group.count + 1},
            {"count": group.count - 1},
            {"reason": "nothing of the kind"},
            {"first": group.first[1:]},
            {"first": ("another", *group.first[1:])},
            {"first": tuple(reversed((*group.first, "more")))},
        ):
            found.append((*before, group.model_copy(update=change), *after))
    found.append((*told, LeftOutInfo(reason="socket", count=1, first=("s",))))
    found.append((*told, LeftOutInfo(reason="named by a .gitignore", count=1, first=("build",))))
    found.append((*told, LeftOutInfo(reason="left out as well, without a line of their own", count=1)))
    return found


def test_what_was_left_out_is_compared_with_the_base(store: SnapshotStore, base: Snapshot) -> None:
    told = left_out_of(base)
    assert [(group.reason, group.count) for group in told] == [
        ("fifo", 1),
        ("named by an exclude pattern", 4),
    ]
    check = snapshot_check(store)
    check.left_out(f"sha256:{base.digest}", told)
    for changed in mutations(told):
        with pytest.raises(VerificationError, match=r"run\.json (says|names)"):
            check.left_out(base.digest, changed)


def test_a_base_of_which_nothing_was_left_out_says_so(store: SnapshotStore, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    check = snapshot_check(store)
    digest = store.capture(DirectorySource(tmp_path / "tree")).digest
    check.left_out(digest, ())
    for changed in mutations(()):
        with pytest.raises(VerificationError):
            check.left_out(digest, changed)


def test_two_captures_of_one_tree_that_leave_out_more_than_is_named_both_hold(
    store: SnapshotStore, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(MAX_REQUESTED + 5):
        (tree / f"{number:05}.log").touch()
    first = store.capture(DirectorySource(tree, exclude=["*.log"]))
    (tree / "99999.log").touch()
    second = store.capture(DirectorySource(tree, exclude=["*.log"]))
    assert first.digest == second.digest
    assert left_out_of(first) != left_out_of(second)
    kept = store.show(first.digest)
    for told in (left_out_of(first), left_out_of(second)):
        check_left_out(kept, told)
        (group,) = told
        for change in ({"count": MAX_REQUESTED - 1}, {"first": ("x", *group.first[1:])}, {"reason": "fifo"}):
            with pytest.raises(VerificationError):
                check_left_out(kept, (group.model_copy(update=change),))


@settings(max_examples=40)
@given(
    names=st.lists(st.sampled_from("abcdefgh"), unique=True),
    exclude=st.lists(st.sampled_from("abcdefgh"), unique=True),
    ignored=st.lists(st.sampled_from("abcdefgh"), unique=True),
)
def test_an_honest_record_of_any_tree_holds_and_no_change_of_it_does(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], exclude: list[str], ignored: list[str]
) -> None:
    top = tmp_path_factory.mktemp("case")
    tree, store = top / "tree", SnapshotStore(top / "store")
    tree.mkdir()
    (tree / ".gitignore").write_text("".join(f"{name}\n" for name in ignored))
    for name in names:
        (tree / name).write_text(name)
    base = store.capture(DirectorySource(tree, exclude=exclude, gitignore=True))
    told = left_out_of(base)
    check_left_out(store.show(base.digest), told)
    for changed in mutations(told):
        if changed != told:
            with pytest.raises(VerificationError):
                check_left_out(store.show(base.digest), changed)

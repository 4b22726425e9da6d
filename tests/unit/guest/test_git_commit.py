"""A commit takes what this run changed, and equals git's own commit of those paths."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox_runner.guest import repository
from sandbox_runner.guest.context import Guest
from sandbox_runner.guest.dispatch import answer_call
from sandbox_runner.guest.origin import Origin
from sandbox_runner.guest.tree import scan
from tests.unit.guest.in_process import guest_in, start

ENVIRONMENT = {
    **{name: os.environ[name] for name in ("PATH",)},
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "u",
    "GIT_AUTHOR_EMAIL": "u@v",
    "GIT_COMMITTER_NAME": "u",
    "GIT_COMMITTER_EMAIL": "u@v",
}


def git(folder: Path, *arguments: str, check: bool = True) -> str:
    command = [
        "git",
        "-c",
        "core.fsync=none",
        "-c",
        "init.defaultBranch=main",
        "-c",
        "protocol.file.allow=always",
        *arguments,
    ]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, check=False, timeout=60)
    assert not check or done.returncode == 0, (arguments, done.stderr)
    return done.stdout.decode("utf-8", "surrogateescape")


def begin(guest: Guest) -> None:
    """What the workspace holds now is what the run begins with."""
    guest.origin = Origin()
    for _header, body in scan(guest.root, {}, b""):
        guest.origin.take(body)


class Bench:
    """A workspace, and a guest that commits in it."""

    def __init__(self, guest: Guest, work: Path) -> None:
        self.guest = guest
        self.work = work

    def git(self, *arguments: str) -> str:
        return git(self.work, *arguments)

    def seed(self, **files: str) -> None:
        """A repository with one commit of these files."""
        self.git("init", "-q")
        self.write(**files)
        self.git("add", "-fA")
        self.git("commit", "-qm", "one")

    def write(self, **files: str) -> None:
        for name, text in files.items():
            path = self.work / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())

    def begin(self) -> None:
        begin(self.guest)

    def commit(self, repo: str = "0") -> dict[str, Any]:
        self.guest.surveyed = {}
        self.guest.edited = {}
        return answer_call(self.guest, {"method": "git_commit", "args": {"repo": repo, "message": "m"}}, b"")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(repository, "run", start)
    with guest_in(tmp_path) as guest:
        yield Bench(guest, tmp_path / "workspace")


def test_a_secret_that_a_filter_of_the_users_keeps_is_not_taken_in_with_another_file(bench: Bench) -> None:
    bench.git("init", "-q")
    bench.git("config", "filter.rot.clean", "tr a-z n-za-m")
    bench.git("config", "filter.rot.smudge", "tr a-z n-za-m")
    bench.write(_gitattributes="*.key filter=rot\n", s_key="top secret\n", a_txt="1\n")
    bench.git("add", "-A")
    bench.git("commit", "-qm", "one")
    bench.begin()
    bench.write(a_txt="2\n")
    assert bench.commit()["details"]["changed"] == ["M a.txt"]
    assert "top secret" not in bench.git("show", "HEAD:s.key")
    bench.write(s_key="top secret too\n")
    refused = bench.commit()
    assert refused["status"] == "failed"
    assert "the filter rot applies to s.key" in refused["text"]
    assert bench.git("diff", "--cached") == ""


def test_a_change_of_the_second_in_which_the_index_saw_the_file_is_taken(bench: Bench) -> None:
    bench.seed(a_txt="1\n")
    place = bench.work / "a.txt"
    while True:  # git compares times by the second, so both must be of one
        time.sleep(1 - time.time() % 1)
        bench.write(a_txt="2\n")
        bench.git("add", "a.txt")
        bench.git("update-index", "--assume-unchanged", "a.txt")
        added = int(place.stat().st_ctime)
        bench.begin()
        bench.write(a_txt="3\n")
        if int(place.stat().st_ctime) == added:
            break
    time.sleep(1)
    bench.git("status")  # writes the index anew, and does not look at what it is to assume unchanged
    assert bench.commit()["details"]["changed"] == ["M a.txt"]
    assert bench.git("show", "HEAD:a.txt") == "3\n"
    assert bench.git("ls-files", "-v", "--stage").startswith(
        f"H 100644 {bench.git('rev-parse', 'HEAD:a.txt').strip()}"
    )


def test_what_was_left_out_of_the_copy_is_not_committed_as_deleted(bench: Bench) -> None:
    bench.seed(_gitignore="build/\n", build__recipe="keep\n", a="a\n")
    (bench.work / "build/recipe").unlink()
    (bench.work / "build").rmdir()
    bench.begin()
    bench.write(note_txt="n\n")
    assert bench.commit()["details"]["changed"] == ["A note.txt"]
    assert bench.git("ls-tree", "-r", "--name-only", "HEAD").split() == [
        ".gitignore",
        "a",
        "build/recipe",
        "note.txt",
    ]


@pytest.mark.parametrize("stage", ["changed", "all"])
def test_what_the_run_removes_is_committed_as_deleted(bench: Bench, stage: str) -> None:
    vars(bench.guest.config.git)["stage"] = stage
    bench.seed(gone="1\n", out="2\n", a="a\n")
    (bench.work / "out").unlink()
    bench.begin()
    (bench.work / "gone").unlink()
    assert bench.commit()["details"]["changed"] == ["D gone"]


def test_what_the_user_had_not_committed_stays_so_and_is_named(bench: Bench) -> None:
    bench.seed(staged="1\n", edited="1\n", gone="1\n", a="1\n", key="1", _gitattributes="key filter=rot\n")
    bench.write(staged="2\n", new="2\n")
    bench.git("add", "staged")
    bench.write(edited="2\n", untracked="2\n", staged="3\n")
    bench.git("add", "-N", "new")
    bench.write(key="what the filter took for 1")
    (bench.work / "gone").unlink()
    before = bench.git("status", "--porcelain")
    bench.begin()
    bench.write(a="2\n")
    details = bench.commit()["details"]
    assert details["changed"] == ["M a"]
    assert details["left_uncommitted"] == ["A new", "M staged", "M edited", "D gone", "? untracked"]
    assert bench.git("status", "--porcelain") == before


def test_everything_is_staged_where_the_policy_says_so(bench: Bench) -> None:
    vars(bench.guest.config.git)["stage"] = "all"
    bench.seed(staged="1\n", edited="1\n", a="1\n", _gitignore="ignored\n")
    bench.write(staged="2\n")
    bench.git("add", "staged")
    bench.write(edited="2\n", untracked="2\n", ignored="2\n")
    bench.begin()
    bench.write(a="2\n")
    assert bench.commit()["details"]["changed"] == ["M a", "M edited", "M staged", "A untracked"]
    assert bench.git("status", "--porcelain") == ""


def test_in_a_repository_that_the_run_begins_everything_that_is_not_ignored_is_staged(bench: Bench) -> None:
    bench.write(_gitignore="*.o\n", a="1\n", a_o="1\n")
    bench.begin()
    first = bench.commit()["details"]
    assert first["initialised"]
    assert first["changed"] == ["A .gitignore", "A a"]
    (bench.work / "a").unlink()
    assert bench.commit()["details"]["changed"] == ["D a"]


@pytest.mark.parametrize("packed", [False, True])
def test_a_return_to_what_was_there_in_the_beginning_is_committed(bench: Bench, packed: bool) -> None:
    bench.seed(a_txt="1", b_txt="1", mine_txt="1")
    if packed:
        bench.git("pack-refs", "--all")
    bench.write(mine_txt="the user's")
    bench.begin()
    bench.write(a_txt="2", new_txt="new")
    bench.commit()
    bench.write(a_txt="1", b_txt="2")
    (bench.work / "new.txt").unlink()
    assert bench.commit()["details"]["changed"] == ["M a.txt", "M b.txt", "D new.txt"]
    assert bench.git("status", "--short") == " M mine.txt\n"


def test_a_return_to_nothing_is_committed_in_a_repository_that_had_no_commit(bench: Bench) -> None:
    bench.git("init", "-q")
    bench.begin()
    bench.write(a_txt="1", b_txt="1")
    bench.commit()
    (bench.work / "a.txt").unlink()
    assert bench.commit()["details"]["changed"] == ["D a.txt"]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("branch", ["made", "ahead"])
def test_on_another_branch_than_in_the_beginning_the_users_own_stays_so(
    bench: Bench, branch: str, packed: bool
) -> None:
    bench.seed(a_txt="1", big_txt="1", mine_txt="1")
    bench.git("checkout", "-qb", "ahead")
    bench.write(mine_txt="2", big_txt="2")
    bench.git("commit", "-qam", "two")
    if packed:
        bench.git("pack-refs", "--all")
    bench.git("checkout", "-q", "main")
    bench.write(mine_txt="the user's")
    (bench.work / "big.txt").unlink()
    bench.begin()
    bench.git("branch", "made")
    bench.git("symbolic-ref", "HEAD", "refs/heads/" + branch)
    bench.git("read-tree", "HEAD")
    bench.write(a_txt="2")
    assert bench.commit()["details"]["changed"] == ["M a.txt"]
    bench.write(a_txt="3", new_txt="1")
    assert bench.commit()["details"]["changed"] == ["M a.txt", "A new.txt"]


def test_a_branch_that_was_led_to_another_ones_commits_says_nothing_of_what_the_run_did(bench: Bench) -> None:
    bench.seed(a_txt="1", mine_txt="1")
    bench.git("checkout", "-qb", "other")
    bench.write(mine_txt="2")
    bench.git("commit", "-q", "--amend", "-am", "two")
    bench.git("checkout", "-q", "main")
    bench.git("pack-refs", "--all")
    bench.write(mine_txt="the user's")
    bench.begin()
    bench.git("reset", "-q", "other")
    bench.write(a_txt="2")
    assert bench.commit()["details"]["changed"] == ["M a.txt"]


@pytest.mark.parametrize("stage", ["changed", "all"])
@pytest.mark.parametrize("name", ["rot", "unset", "unspecified"])
def test_a_filter_is_refused_whatever_its_name(bench: Bench, name: str, stage: str) -> None:
    vars(bench.guest.config.git)["stage"] = stage
    bench.seed(_gitattributes=f"*.key filter={name}\n")
    bench.begin()
    bench.write(s_key="top secret\n")
    refused = bench.commit()
    assert refused["status"] == "failed"
    assert name in refused["text"]
    assert "s.key" in refused["text"]


@pytest.mark.parametrize(
    "place",
    [
        *("config", "index", "HEAD", "refs/heads/main", "refs", "packed-refs", "MERGE_HEAD"),
        *("info", "info/attributes", "info/exclude", "info/sparse-checkout", "objects/info/alternates"),
    ],
)
def test_no_commit_is_made_without_a_part_of_the_repository_that_was_left_out(
    bench: Bench, place: str
) -> None:
    bench.seed(a_txt="1")
    bench.begin()
    assert bench.guest.origin is not None
    bench.guest.origin.left_out.add(b".git/" + place.encode())
    bench.write(a_txt="2")
    refused = bench.commit()
    assert "left out of the copy" in refused["text"]
    assert place in refused["text"]


@pytest.mark.parametrize(
    ("place", "taken"),
    [
        (".gitattributes", []),
        (".gitignore", ["a.txt", "d/a.txt"]),
        ("d/.gitattributes", ["a.txt", "new.txt"]),
        ("d/.gitignore", ["a.txt", "d/a.txt", "new.txt"]),
        ("d", ["a.txt", "new.txt"]),
        (".git/hooks", ["a.txt", "d/a.txt", "new.txt", "d/new.txt"]),
        (".git", ["a.txt", "d/a.txt", "new.txt", "d/new.txt"]),
    ],
)
def test_no_path_is_committed_whose_rules_were_left_out(bench: Bench, place: str, taken: list[str]) -> None:
    for path in ("a.txt", "d/a.txt", "new.txt", "d/new.txt"):
        for found in bench.work.iterdir() if bench.work.exists() else ():
            shutil.rmtree(found) if found.is_dir() else found.unlink()
        bench.seed(a_txt="1", d__a_txt="1")
        bench.begin()
        assert bench.guest.origin is not None
        bench.guest.origin.left_out.add(place.encode())
        (bench.work / path).write_bytes(b"2")
        answer = bench.commit()
        assert (answer["status"] == "ok") is (path in taken), (path, answer["text"])
        assert answer["status"] == "ok" or "left out of the copy" in answer["text"]


@pytest.mark.parametrize("names", [("Dir/new",), ("A",), ("New", "new"), ("E/a", "e/b")])
def test_what_differs_by_case_alone_is_refused_where_git_takes_one_for_the_other(
    bench: Bench, names: tuple[str, ...]
) -> None:
    bench.seed(a="1", dir__y="1")
    bench.git("config", "core.ignoreCase", "true")
    bench.begin()
    for name in names:
        (bench.work / name).parent.mkdir(exist_ok=True)
        (bench.work / name).write_bytes(b"2")
    assert "by case alone" in bench.commit()["text"]
    bench.git("config", "core.ignoreCase", "false")
    assert bench.commit()["status"] == "ok"


def test_a_commit_that_is_in_a_pack_already_is_made_again(bench: Bench) -> None:
    bench.seed(a="1")
    bench.begin()
    bench.write(a="2")
    first = bench.commit()["details"]["commit"]
    bench.git("branch", "kept")
    bench.git("reset", "-q", "--soft", "HEAD~1")
    bench.git("reset", "-q")
    bench.git("repack", "-adq")
    bench.git("prune-packed")
    assert bench.commit()["details"]["commit"] == first
    bench.git("fsck", "--strict")


def test_another_repositorys_new_commit_is_told_whatever_its_parent_ignores(bench: Bench) -> None:
    nested = bench.work / "n"
    nested.mkdir()
    git(nested, "init", "-q")
    git(nested, "commit", "-qm", "n", "--allow-empty")
    bench.seed(a="1", _gitmodules='[submodule "n"]\n\tpath = n\n\turl = ./n\n\tignore = all\n')
    bench.begin()
    git(nested, "commit", "-qm", "n", "--allow-empty")
    assert bench.commit()["details"]["changed"] == ["M n"]


@pytest.mark.parametrize("packed", [False, True])
def test_where_objects_are_replaced_nothing_is_committed(bench: Bench, packed: bool) -> None:
    bench.seed(a="1", b="1")
    bench.write(b="2")
    bench.git("commit", "-qam", "two")
    bench.git("replace", "HEAD", "HEAD~1")
    if packed:
        bench.git("pack-refs", "--all")
    bench.begin()
    bench.write(a="2")
    assert "objects are replaced" in bench.commit()["text"]
    bench.git("replace", "-d", bench.git("rev-parse", "HEAD").strip())
    assert bench.commit()["details"]["changed"] == ["M a"]


@pytest.mark.parametrize("cone", [True, False])
def test_nothing_new_is_committed_outside_of_a_sparse_checkout(bench: Bench, cone: bool) -> None:
    bench.seed(a="1", within__f="1", out__f="1")
    bench.git("sparse-checkout", "set", "--cone" if cone else "--no-cone", "within")
    bench.begin()
    bench.write(within__new="1")
    assert bench.commit()["details"]["changed"] == ["A within/new"]
    bench.write(out__new="1")
    refused = bench.commit()
    assert "outside of the sparse checkout: out/new" in refused["text"]
    assert not (bench.work / ".git/index.lock").exists()


def test_no_condition_of_an_included_file_is_told(bench: Bench) -> None:
    bench.seed(a="1")
    bench.git("config", "includeIf.gitdir:/home/someone/customer/.path", "x")
    bench.begin()
    bench.write(a="2")
    answer = bench.commit()
    assert "includeif.path names settings" in answer["text"]
    assert "someone" not in repr(answer)


@pytest.mark.parametrize("name", ["_gitattributes", "d__.gitattributes"])
def test_attributes_that_go_are_not_committed_with_what_they_held_for(bench: Bench, name: str) -> None:
    bench.seed(d__c_txt="a\r\n", e__c_txt="1", **{name: "*.txt -text\n"})
    bench.git("config", "core.autocrlf", "true")
    bench.begin()
    place = bench.work / name.replace("__", "/").replace("_", ".")
    place.unlink()
    bench.write(d__n_txt="x\r\n")
    (bench.work / "d/+.txt").write_bytes(b"x\r\n")
    assert "attributes go" in bench.commit()["text"]
    (bench.work / "d/+.txt").unlink()
    (bench.work / "d/n.txt").unlink()
    assert bench.commit()["details"]["changed"] == ["D " + place.relative_to(bench.work).as_posix()]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


UNDER_WAY: dict[str, Callable[[Bench], object]] = {
    "a merge": lambda bench: bench.git("merge", "-q", "--no-commit", "--no-ff", "other"),
    "a cherry-pick": lambda bench: git(bench.work, "cherry-pick", "clash", check=False),
    "a revert": lambda bench: bench.git("revert", "--no-commit", "HEAD"),
    "a rebase": lambda bench: git(bench.work, "rebase", "clash", check=False),
}


@pytest.mark.parametrize("stage", ["changed", "all"])
@pytest.mark.parametrize("what", UNDER_WAY)
def test_what_the_user_has_under_way_is_not_concluded(bench: Bench, what: str, stage: str) -> None:
    vars(bench.guest.config.git)["stage"] = stage
    bench.seed(a="1\n", b="1\n")
    bench.git("branch", "other")
    for branch, name, text in (("other", "c", "3\n"), ("clash", "a", "3\n"), ("main", "a", "2\n")):
        bench.git("checkout", "-q", *(["-B", branch, "main"] if branch == "clash" else [branch]))
        bench.write(**{name: text})
        bench.git("add", "-A")
        bench.git("commit", "-qm", branch)
    UNDER_WAY[what](bench)
    before = bench.git("status", "--porcelain=v2"), names_in(bench.work / ".git")
    bench.begin()
    bench.write(b="2\n")
    refused = bench.commit()
    assert refused["status"] == "failed"
    assert f"{what} is unfinished here" in refused["text"]
    (bench.work / "b").write_bytes(b"1\n")
    assert (bench.git("status", "--porcelain=v2"), names_in(bench.work / ".git")) == before


def test_a_path_that_was_never_resolved_is_named(bench: Bench) -> None:
    bench.seed(a="1\n")
    bench.git("checkout", "-qb", "other")
    bench.write(a="2\n")
    bench.git("commit", "-qam", "2")
    bench.git("checkout", "-q", "main")
    bench.write(a="3\n")
    bench.git("commit", "-qam", "3")
    git(bench.work, "merge", "other", check=False)
    (bench.work / ".git/MERGE_HEAD").unlink()
    bench.begin()
    bench.write(a="4\n")
    assert "unmerged: a" in bench.commit()["text"]


def test_no_path_of_the_host_gets_into_what_is_proved(bench: Bench) -> None:
    bench.seed(a="1\n")
    nested = bench.work / "n"
    nested.mkdir()
    git(nested, "init", "-q")
    git(nested, "commit", "-qm", "n", "--allow-empty")
    (nested / ".git/objects/info").mkdir(exist_ok=True)
    (nested / ".git/objects/info/alternates").write_text("/home/someone/secret place/objects\n")
    (nested / ".git/refs/heads/main").write_text("1" * 40 + "\n")
    bench.begin()
    (nested / ".git/refs/heads/main").write_text("nonsense\n")
    bench.write(a="2\n")
    answer = bench.commit()
    meta = answer["details"].pop("meta", {})
    assert "/home" not in repr(answer)
    assert answer["status"] == "ok" or meta["complaint"]


def test_a_complaint_is_told_up_to_the_first_place_on_a_machine() -> None:
    ended = start.__globals__["Ended"](128 << 8, timed_out=False, exhausted=[], left=0)
    reason = repository.failure(
        ended, "error: unable to normalize alternate object path: /home/u/x y\nfatal: a/b: no\n"
    )
    assert reason.reason == "error: unable to normalize alternate object path ... fatal: a/b: no"
    assert "/home/u/x y" in reason.details["meta"]["complaint"]
    for words in ("bad 'file:///home/u'", "in ~/x", "at ../../home/u", "x=/home/u"):
        assert "home" not in repository.failure(ended, words).reason
        assert "~" not in repository.failure(ended, words).reason

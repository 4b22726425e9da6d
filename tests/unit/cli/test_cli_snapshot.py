"""Snapshots on the command line, on a real store without Docker."""

from pathlib import Path

import pytest

from sandbox_runner.errors import ExitCode
from sandbox_runner.runner.home import Home
from sandbox_runner.snapshot import DirectorySource, Snapshot, SnapshotStore

NASTY = b"new\nline\x1b[31m\xff"


@pytest.fixture
def store(home: Path) -> SnapshotStore:
    return Home(home).store()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "src").mkdir(parents=True)
    (root / "src" / "a.py").write_text("one\ntwo\n")
    (root / "gone.txt").write_text("bye\n")
    (root / "plain.txt").write_text("x")
    with open(bytes(root) + b"/" + NASTY, "wb") as file:  # noqa: PTH123 - a name that is not UTF-8
        file.write(b"nasty")
    return root


@pytest.fixture
def before(store: SnapshotStore, tree: Path) -> Snapshot:
    return store.capture(DirectorySource(tree), label="before")


@pytest.fixture
def after(store: SnapshotStore, tree: Path, before: Snapshot) -> Snapshot:
    (tree / "src" / "a.py").write_text("one\n\x1b[2Jthree\n")
    (tree / "gone.txt").unlink()
    (tree / "new.txt").write_text("hello\n")
    return store.capture(DirectorySource(tree), label="after")


@pytest.fixture
def changed_run(begin_run, before: Snapshot, after: Snapshot) -> str:
    draft = begin_run("20260104T000000Z-eeee", ())
    draft.directory.update(base_snapshot=before.digest)
    draft.seal(snapshot=after.digest)
    return "20260104T000000Z-eeee"


def test_an_empty_store_is_an_empty_list_and_a_word_on_stderr(cli) -> None:
    ran = cli("snapshot", "list")
    assert (ran.code, ran.out) == (ExitCode.OK, "")
    assert "no snapshot yet" in ran.err
    assert cli("snapshot", "list", "--json").json == []


def test_the_list_has_the_newest_first(cli, before: Snapshot, after: Snapshot) -> None:
    assert [item["digest"] for item in cli("snapshot", "list", "--json").json] == [
        after.digest,
        before.digest,
    ]
    assert cli("snapshot", "list").out.splitlines()[1].startswith(after.digest[:12])


def test_a_snapshot_is_shown_with_every_name_escaped(cli, before: Snapshot) -> None:
    out = cli("snapshot", "show", before.digest[:8]).out
    assert all(line.isprintable() for line in out.splitlines())
    assert r"new\u000aline\u001b[31m\xff" in out
    shown = cli("snapshot", "show", before.digest, "--json").json
    assert shown["files"] == 4
    assert {entry.get("path_hex") for entry in shown["entries"]} >= {NASTY.hex()}


def test_a_diff_is_safe_unified_text_or_names_or_counts_or_json(
    cli, before: Snapshot, after: Snapshot
) -> None:
    pair = (before.digest, after.digest)
    text = cli("snapshot", "diff", *pair)
    assert all(line.isprintable() for line in text.out.splitlines())
    assert "-two" in text.out
    assert "1 added, 1 removed, 1 changed" in text.err
    names = cli("snapshot", "diff", *pair, "--names").out.splitlines()
    assert sorted(names) == ["A  new.txt", "D  gone.txt", "M  src/a.py"]
    assert "+1 -1  src/a.py" in cli("snapshot", "diff", *pair, "--stat").out
    told = cli("snapshot", "diff", *pair, "--json").json
    assert [item["path"] for item in told["added"]] == ["new.txt"]
    assert [item["path"] for item in told["removed"]] == ["gone.txt"]
    assert told["changed"][0]["old"].keys() >= {"digest", "mode", "size"}


def test_a_run_alone_is_compared_with_its_base(cli, changed_run: str) -> None:
    assert len(cli("snapshot", "diff", "last", "--names").out.splitlines()) == 3
    assert len(cli("snapshot", "diff", changed_run, "--json").json["added"]) == 1


def test_the_table_of_runs_says_what_changed(cli, changed_run: str) -> None:
    assert "+1 -1 ~1, +" in cli("runs").out
    changes = cli("runs", "--json").json["changes"]
    assert (changes["added"], changes["removed"], changes["changed"]) == (1, 1, 1)


def test_restoring_gives_the_same_tree(cli, before: Snapshot, store: SnapshotStore, tmp_path: Path) -> None:
    ran = cli("snapshot", "restore", before.digest, tmp_path / "out")
    assert ran.code == ExitCode.OK
    assert "4 files" in ran.out
    assert store.capture(DirectorySource(tmp_path / "out")).digest == before.digest


def test_restoring_into_a_directory_with_something_in_it_is_refused(
    cli, before: Snapshot, tree: Path
) -> None:
    ran = cli("snapshot", "restore", before.digest, tree)
    assert (ran.code, ran.out) == (ExitCode.BAD_INPUT, "")
    assert cli("snapshot", "restore", before.digest, tree, "--overwrite").code == ExitCode.OK


def test_applying_a_run_changes_what_the_run_changed(cli, changed_run: str, before, tmp_path: Path) -> None:
    target = tmp_path / "mine"
    cli("snapshot", "restore", before.digest, target)
    (target / "own.txt").write_text("mine")
    dry = cli("snapshot", "apply", changed_run, target, "--dry-run")
    assert "would be written  new.txt" in dry.out
    assert (target / "gone.txt").exists()
    done = cli("snapshot", "apply", changed_run, target, "--json").json
    assert (sorted(done["written"]), done["removed"]) == (["new.txt", "src/a.py"], ["gone.txt"])
    assert (target / "own.txt").read_text() == "mine"
    assert cli("snapshot", "apply", changed_run, target).out == "nothing to do\n"


def test_a_conflict_applies_nothing(cli, changed_run: str, before, tmp_path: Path) -> None:
    target = tmp_path / "mine"
    cli("snapshot", "restore", before.digest, target)
    (target / "src" / "a.py").write_text("my own work\n")
    ran = cli("snapshot", "apply", "last", target)
    assert ran.code == ExitCode.BAD_INPUT
    assert "src/a.py" in ran.err
    assert (target / "gone.txt").exists()


def test_a_run_without_snapshots_has_nothing_to_apply(cli, begin_run, tmp_path: Path) -> None:
    begin_run("20260105T000000Z-ffff").abandon()
    ran = cli("snapshot", "apply", "last", tmp_path)
    assert ran.code == ExitCode.BAD_INPUT
    assert "nothing to compare" in ran.err


def test_a_tag_names_a_snapshot_until_it_is_removed(cli, before: Snapshot) -> None:
    assert cli("snapshot", "tag", before.digest[:8], "good").code == ExitCode.OK
    assert cli("snapshot", "show", "good", "--json").json["digest"] == before.digest
    assert cli("snapshot", "tag", "good", "--remove").code == ExitCode.OK
    assert cli("snapshot", "show", "good").code == ExitCode.BAD_INPUT
    assert cli("snapshot", "tag", before.digest).code == ExitCode.BAD_INPUT


@pytest.mark.parametrize("form", ["tar.zst", "oci"])
def test_an_export_comes_back_as_the_same_snapshot(cli, before: Snapshot, tmp_path: Path, form: str) -> None:
    target = tmp_path / ("image.tar" if form == "oci" else "tree.tar.zst")
    assert cli("snapshot", "export", before.digest, "-o", target, "--format", form).code == ExitCode.OK
    imported = cli("--home", tmp_path / "other", "snapshot", "import", target, "--json").json
    assert imported["digest"] == before.digest


def test_gc_keeps_what_is_new_tagged_or_named_by_a_run(
    cli, changed_run: str, before: Snapshot, after: Snapshot, tree: Path
) -> None:
    store = Home().store()
    (tree / "later.txt").write_text("later")
    later = store.capture(DirectorySource(tree)).digest
    told = cli("snapshot", "gc", "--keep-last", 0, "--dry-run", "--json").json
    assert told["removed"] == [later]
    assert sorted(told["kept"]) == sorted([before.digest, after.digest])
    cli("snapshot", "tag", before.digest, "keep")
    assert "removed 2 snapshots" in cli("snapshot", "gc", "--keep-last", 0, "--forget-runs").out
    assert [item["digest"] for item in cli("snapshot", "list", "--json").json] == [before.digest]


def test_gc_removes_nothing_while_a_run_record_is_damaged(cli, changed_run: str, runs: Path, before) -> None:
    (runs / changed_run / "run.json").write_text("{}")
    ran = cli("snapshot", "gc", "--keep-last", 0)
    assert ran.code == ExitCode.NOT_VERIFIED
    assert "--forget-runs" in ran.err
    assert len(cli("snapshot", "list", "--json").json) == 2


def test_fsck_passes_a_whole_store_and_names_what_is_lost(cli, before: Snapshot, home: Path) -> None:
    whole = cli("snapshot", "fsck")
    assert whole.code == ExitCode.OK
    assert whole.out.startswith("whole: ")
    pack = max(home.rglob("*.pack"), key=lambda path: path.stat().st_size)
    pack.chmod(0o600)
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 0xFF
    pack.write_bytes(data)
    broken = cli("snapshot", "fsck", "--json")
    assert broken.code == ExitCode.SANDBOX_FAILED
    assert broken.json["ok"] is False


@pytest.mark.parametrize("command", [["show"], ["restore"], ["export"], ["diff"]])
def test_a_snapshot_that_is_not_there_is_one_sentence(
    cli, before, tmp_path: Path, command: list[str]
) -> None:
    rest = {"show": [], "restore": [tmp_path / "o"], "export": ["-o", tmp_path / "o"], "diff": ["feedfeed"]}
    ran = cli("snapshot", *command, "deadbeef", *rest[command[0]])
    assert (ran.code, ran.out) == (ExitCode.BAD_INPUT, "")
    assert "deadbeef" in ran.err
    assert not (tmp_path / "o").exists()


def test_another_tenants_snapshot_is_not_found(cli, before: Snapshot) -> None:
    assert cli("snapshot", "show", before.digest, "--tenant", "other").code == ExitCode.BAD_INPUT


def test_git_directories_are_withheld_at_apply_and_told_at_restore_and_export(
    cli, begin_run, store: SnapshotStore, tree: Path, tmp_path: Path
) -> None:
    base = store.capture(DirectorySource(tree))
    for name in ("objects", "refs"):
        (tree / "docs" / name).mkdir(parents=True)
    (tree / "docs" / "HEAD").write_text("ref: refs/heads/main\n")
    (tree / ".envrc").write_text("echo hello\n")
    final = store.capture(DirectorySource(tree))
    draft = begin_run("20260105T000000Z-ffff", ())
    draft.directory.update(base_snapshot=base.digest)
    draft.seal(snapshot=final.digest)
    store.restore(base.digest, tmp_path / "user")
    planned = cli("snapshot", "apply", "20260105T000000Z-ffff", str(tmp_path / "user"), "--dry-run")
    assert "withheld 4 changes in git's own directories" in planned.err
    assert "look at .envrc first" in planned.err
    told = cli("snapshot", "apply", "20260105T000000Z-ffff", str(tmp_path / "user"), "--json").json
    assert told["git_directories"] == ["docs"]
    assert [item["path"] for item in told["named"]] == [".envrc"]
    restored = cli("snapshot", "restore", final.digest, str(tmp_path / "out"))
    assert "git takes docs for a repository" in restored.err
    exported = cli("snapshot", "export", final.digest, "-o", str(tmp_path / "a.tar.zst"), "--json")
    assert exported.json["git_directories"] == ["docs"]
    assert "git takes docs for a repository" in exported.err

"""Trees that become commands: git itself is the oracle of what is a repository and what it would run."""

import contextlib
import os
import subprocess

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sandbox_runner.snapshot import ApplyConflictError, DirectorySource, SnapshotStore

HEAD = "ref: refs/heads/main\n"


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "a command ran"


@pytest.fixture
def store(tmp_path):
    return SnapshotStore(tmp_path / "store")


def plant(root, marker, *, names=("HEAD", "objects", "refs", "config"), worktree=".."):
    """A repository's own directory whose configuration names a command, without what is not in ``names``."""
    root.mkdir(parents=True, exist_ok=True)
    command = f"touch '{marker}'; false"
    core = f"[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tworktree = {worktree}\n"
    config = f'{core}\tfsmonitor = "{command}"\n'
    for name in names:
        folded = name.lower()
        if folded in {"objects", "refs"}:
            (root / name).mkdir(exist_ok=True)
            (root / name / "keep").write_text("")
        else:
            (root / name).write_text({"head": HEAD, "config": config}.get(folded, ".\n"))


def ask_git(directory):
    """What a user does: look at the state of every directory, from the shell's prompt or by hand.

    Returns the repositories that git finds, each as often as from a directory.
    """
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
    found = []
    for folder, _folders, _names in os.walk(directory):
        for command in (["rev-parse", "--absolute-git-dir"], ["status"]):
            done = subprocess.run(
                ["git", *command], cwd=folder, env=environment, capture_output=True, check=False, timeout=30
            )
            if command[0] == "rev-parse" and done.returncode == 0:
                found.append(os.fsdecode(done.stdout).rstrip("\n"))
    return found


def snapshots(store, base, final):
    return store.capture(DirectorySource(base)).digest, store.capture(DirectorySource(final)).digest


def everything(report):
    return {*report.written, *report.removed, *report.already}


TOOLS = """
    .envrc .vscode/tasks.json sub/.VSCODE/settings.json .idea/workspace.xml .gitattributes .gitmodules
    .husky/pre-commit tools/hooks/post-checkout a.code-workspace .gdbinit sitecustomize.py x.pth .npmrc
    .cargo/config.toml .claude/settings.json .exrc .github/workflows/ci.yml .pre-commit-config.yaml
    .devcontainer/devcontainer.json
""".split()  # noqa: SIM905 - many short names
PLANTS = {
    "bare": ("docs", {}),
    "deep": ("a/b/c/docs", {}),
    "named .git": (".git", {}),
    "in upper case": ("docs/.GIT", {}),
    "by its short name": ("docs/git~1", {}),
    "by another short name": ("docs/GIT~2", {}),
    "with a mark that HFS+ ignores": ("docs/.g\u200cit", {}),
    "with a dot at its end": ("docs/.git.", {}),
    "with the stream of NTFS": ("docs/.git::$INDEX_ALLOCATION", {}),
    "a submodule": ("lib/part/.git", {}),
    "a common directory beside it": ("docs", {"names": ("HEAD", "commondir", "objects", "refs", "config")}),
}


@pytest.mark.parametrize("where", PLANTS)
def test_a_planted_repository_is_withheld_whole_and_git_runs_nothing(tmp_path, store, marker, where):
    base, final, user = tmp_path / "base", tmp_path / "final", tmp_path / "user"
    for folder in (base, final, user):
        folder.mkdir()
    (final / "harmless.txt").write_text("text")
    name, options = PLANTS[where]
    plant(final / name, marker, **options)
    ends = snapshots(store, base, final)
    planned = store.apply(*ends, user, dry_run=True)
    report = store.apply(*ends, user)
    assert planned.withheld == report.withheld
    assert [os.fsdecode(path) for path in report.git_directories] == [name]
    assert {os.fsdecode(path) for path in report.withheld} >= {f"{name}/HEAD", f"{name}/config"}
    assert (user / "harmless.txt").read_text() == "text"
    assert not (user / name).exists()
    assert ask_git(user) == []
    assert not marker.exists()


def test_the_oracle_sees_a_planted_repository_where_it_was_asked_for(tmp_path, store, marker):
    base, final, user = tmp_path / "base", tmp_path / "final", tmp_path / "user"
    for folder in (base, user):
        folder.mkdir()
    plant(final / "docs", marker)
    report = store.apply(*snapshots(store, base, final), user, git=True)
    assert report.withheld == report.git_directories == ()
    assert ask_git(user)
    assert marker.exists()  # so the tests beside this one can fail


@pytest.mark.parametrize("last", ["HEAD", "objects", "refs", "config"])
def test_the_one_name_that_was_missing_in_the_users_directory_is_withheld(tmp_path, store, marker, last):
    rest = [name for name in ("HEAD", "objects", "refs", "config") if name != last]
    base, final, user = tmp_path / "base", tmp_path / "final", tmp_path / "user"
    plant(base / "docs", marker, names=rest)
    plant(user / "docs", marker, names=rest)
    plant(final / "docs", marker)
    if last == "config":  # a bare repository of the user's own, whose configuration the run brings
        (base / "docs" / "config").unlink(missing_ok=True)
    report = store.apply(*snapshots(store, base, final), user)
    assert report.written == ()
    assert report.git_directories == (b"docs",)
    ask_git(user)
    assert not marker.exists()


def test_what_git_ignores_in_the_users_directory_counts_as_well(tmp_path, store, marker):
    base, final, user = tmp_path / "base", tmp_path / "final", tmp_path / "user"
    base.mkdir()
    plant(user / "docs", marker, names=("HEAD", "objects"))  # never captured
    plant(final / "docs", marker, names=("refs", "config"))
    report = store.apply(*snapshots(store, base, final), user)
    assert b"docs/config" in report.withheld
    ask_git(user)
    assert not marker.exists()


def test_two_runs_that_bring_a_part_each_make_no_repository(tmp_path, store, marker):
    base, first, second, user = (tmp_path / name for name in ("base", "first", "second", "user"))
    for folder in (base, user):
        folder.mkdir()
    plant(first / "docs", marker, names=("objects", "config"))
    plant(second / "docs", marker)
    store.apply(*snapshots(store, base, first), user)
    report = store.apply(*snapshots(store, first, second), user)
    assert report.written == ()
    ask_git(user)
    assert not marker.exists()


def test_a_linked_working_tree_that_points_into_the_tree_is_withheld(tmp_path, store, marker):
    base, final, user = tmp_path / "base", tmp_path / "final", tmp_path / "user"
    for folder in (base, user):
        folder.mkdir()
    plant(final / "store", marker, names=("objects", "refs", "config"), worktree=str(user))
    plant(final / "tree", marker, names=("HEAD", "commondir"))
    (final / "tree" / "commondir").write_text("../store\n")
    (final / "linked").mkdir()
    (final / "linked" / ".git").write_text("gitdir: ../tree\n")
    report = store.apply(*snapshots(store, base, final), user)
    assert set(report.git_directories) == {b"tree", b"linked/.git"}
    assert ask_git(user) == []
    assert not marker.exists()


@pytest.mark.parametrize("linked", ["", "linked"])
def test_the_configuration_of_a_common_directory_without_a_head_is_withheld(tmp_path, store, marker, linked):
    base, final, user = tmp_path / "base", tmp_path / "final", tmp_path / "user"
    (base / "store").mkdir(parents=True)
    plant(user / "store", marker, names=("objects", "refs"))  # the user's own, and never captured
    plant(user / "tree", marker, names=("HEAD", "commondir"))
    (user / "tree" / "commondir").write_text("../store\n")
    (user / linked).mkdir(exist_ok=True)
    (user / linked / ".git").write_text(f"gitdir: {user / 'tree'}\n")
    plant(final / "store", marker, names=("config",), worktree=str(user))
    report = store.apply(*snapshots(store, base, final), user)
    assert report.git_directories == (b"store",)
    assert ask_git(user)  # it is a repository all the time
    assert not marker.exists()


def test_a_file_that_becomes_a_repository_stays_a_file(tmp_path, store, marker):
    base, final, user = tmp_path / "base", tmp_path / "final", tmp_path / "user"
    for folder in (base, user):
        folder.mkdir()
        (folder / "docs").write_text("a file of the user's")
    plant(final / "docs", marker)
    report = store.apply(*snapshots(store, base, final), user)
    assert b"docs" in report.withheld
    assert (user / "docs").read_text() == "a file of the user's"


def test_the_directory_itself_may_be_what_becomes_a_repository(tmp_path, store, marker):
    base, final, user = tmp_path / "base", tmp_path / "final", tmp_path / "user"
    for folder in (base, user):
        folder.mkdir()
    plant(final, marker, worktree=".")
    report = store.apply(*snapshots(store, base, final), user)
    assert report.git_directories == (b"",)
    assert report.written == ()
    assert ask_git(user) == []


_FOLDERS = st.sampled_from(["", "docs", "docs/deep", "DOCS", "docs/.git", "docs/.Git", "x/git~1"])
_SIGNS = st.sets(
    st.sampled_from(["HEAD", "objects", "refs", "config", "commondir", "head", "plain"]), min_size=1
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.tuples(st.sampled_from(["user", "base", "final"]), _FOLDERS, _SIGNS), max_size=5))
@example(parts=[("user", "docs", {"HEAD", "objects"}), ("final", "docs", {"refs", "config"})])
@example(parts=[("base", "docs", {"HEAD", "objects", "refs"}), ("final", "docs", {"config"})])
@example(parts=[("user", "docs/.git", {"HEAD", "objects", "refs"}), ("final", "docs", {"objects"})])
@example(parts=[("final", "docs", {"HEAD", "commondir", "objects", "refs", "config"})])
def test_no_mixture_of_trees_makes_git_run_anything(tmp_path_factory, parts):
    root = tmp_path_factory.mktemp("mixture")
    marker = root / "ran"
    trees = {name: root / name for name in ("user", "base", "final")}
    for folder in trees.values():
        folder.mkdir()
    for where, folder, names in parts:
        for tree in {"user": ("user",), "base": ("user", "base", "final"), "final": ("final",)}[where]:
            missing = [name for name in sorted(names) if not (trees[tree] / folder / name).exists()]
            plant(trees[tree] / folder, marker, names=missing)
    before = ask_git(trees["user"])
    marker.unlink(missing_ok=True)
    store = SnapshotStore(root / "store")
    with contextlib.suppress(ApplyConflictError):  # then nothing was written
        store.apply(*snapshots(store, trees["base"], trees["final"]), trees["user"])
    assert set(ask_git(trees["user"])) == set(before)  # a new directory in a repository is no new one
    assert before or not marker.exists()


@pytest.mark.parametrize(
    "path",
    TOOLS,
)
def test_what_tools_run_by_themselves_is_written_and_named(tmp_path, store, path):
    base, final, user = tmp_path / "base", tmp_path / "final", tmp_path / "user"
    for folder in (base, user):
        folder.mkdir()
    (final / path).parent.mkdir(parents=True, exist_ok=True)
    (final / path).write_text("x")
    (final / "plain.py").write_text("x")
    for dry_run in (True, False):
        report = store.apply(*snapshots(store, base, final), user, dry_run=dry_run)
        assert os.fsencode(path) in [named for named, _ in report.named]
        assert b"plain.py" not in [named for named, _ in report.named]
    assert (user / path).read_text() == "x"


def test_a_snapshot_names_what_git_takes_for_repositories(tmp_path, store, marker):
    tree = tmp_path / "tree"
    plant(tree / "docs", marker)
    plant(tree / "docs" / "inner", marker)  # git's already
    plant(tree / "a" / ".git", marker)
    plant(tree / "half", marker, names=("HEAD", "objects"))
    (tree / "b").mkdir()
    (tree / "b" / ".git").write_text("gitdir: elsewhere\n")
    digest = store.capture(DirectorySource(tree)).digest
    assert store.git_directories(digest) == (b"a/.git", b"b/.git", b"docs")

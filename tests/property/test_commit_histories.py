"""Random histories of repositories with random settings: a commit equals git's own of what the run changed.

Each history is made by real git with a user's settings: attributes, filters, line ends, ignore rules, sparse
checkouts, split indices, modes, links, submodules, merges under way. Some of it is left out of the copy, the
rest is what a run begins with. The run changes files in random ways and commits. The oracle is real git in a
copy, under the user's settings: ``git commit --only -- PATHS``. The tree is the same, and so are the index
and the state of the files; or the commit is refused in words that hold, and nothing has changed at all.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from sandbox_runner.guest import repository
from tests.unit.guest.in_process import guest_in, start
from tests.unit.guest.test_git_commit import ENVIRONMENT, Bench, git

SETTINGS = (
    *(("core.autocrlf", "true"), ("core.autocrlf", "input"), ("core.autocrlf", "false")),
    *(("core.eol", "crlf"), ("core.eol", "lf"), ("core.safecrlf", "true"), ("core.safecrlf", "false")),
    *(("core.filemode", "false"), ("core.symlinks", "false")),
    *(("core.ignorecase", "true"), ("core.ignorecase", "yes"), ("core.ignorecase", "1")),
    *(("index.version", "4"), ("core.untrackedCache", "true"), ("core.quotePath", "false")),
    *(("core.hooksPath", "/nonexistent"), ("commit.verbose", "true"), ("diff.ignoreSubmodules", "all")),
    *(("status.showUntrackedFiles", "no"), ("core.bigFileThreshold", "8"), ("core.checkStat", "minimal")),
)
RARE = (("core.excludesFile", "{work}/excludes"), ("core.attributesFile", "{work}/attributes"),
        ("include.path", "included"), ("includeIf.onbranch:main.path", "included"))  # fmt: skip
ATTRIBUTES = (
    *(
        "*.txt text",
        "*.txt text eol=crlf",
        "*.txt text eol=lf",
        "*.txt -text",
        "* text=auto",
        "*.txt text=auto",
    ),
    *(
        "*.txt ident",
        "*.dat binary",
        "s.key filter=rot",
        "*.u16 text working-tree-encoding=UTF-16LE",
        "*.key filter=rot",
    ),
    *("[attr]odd text eol=crlf", "d/** odd", "*.txt diff=x merge=y", "a.txt !text", "*.key -filter"),
)
IGNORED = ("*.o", "build/", "/a.o", "!keep.o", "d/*", "!d/a.txt", "e/**/x.txt", "\\#x")
NAMES = (
    *("a.txt", "b.txt", "c.dat", "s.key", "t.key", "a.o", "keep.o", "w.u16", "run.sh"),
    *("-x", "é.txt", "A.TXT", "sp ace", "new\nline"),
)
FOLDERS = ("", "", "", "d/", "d/e/", "e/", "build/", "a.txt/")
TEXTS = (
    *(b"one\n", b"two\ntwo\n", b"one\r\n", b"one\r\ntwo\n", b"$Id$\n", b"$Id: 123 $\n", b"\0\1\2\r\n", b""),
    *(
        "w\n".encode("utf-16-le"),
        "w\r\nv\n".encode("utf-16-le"),
        b"top secret\n",
        b"no end",
        b"\r",
        b"a\rb\n",
    ),
)
UNDER_WAY = ("merge", "conflict", "cherry-pick", "revert", "rebase", "squash", "stash")
CONCERNS = (
    *("the filter rot applies to ", "is unfinished here", "unmerged: ", "outside of the sparse checkout: "),
    *("this commit would not be git's own: ", "core.ignoreCase is on", "in file .gitmodules"),
    *("invalid path '.gitmodules'", "git takes no such path: .gitmodules"),
)
"""What is refused though git would commit it."""

State = dict[str, tuple[str, bool, bytes]]


def state_of(work: Path) -> State:
    """Everything in a working tree but what is in a ``.git``: kind, executable bit, contents."""
    found: State = {}
    for path in sorted(work.rglob("*")):
        name = str(path.relative_to(work))
        if ".git" in path.relative_to(work).parts:
            continue
        if path.is_symlink():
            found[name] = ("link", False, str(path.readlink()).encode())
        elif path.is_file():
            found[name] = ("file", bool(path.stat().st_mode & 0o100), path.read_bytes())
    return found


class History:
    """One history, from its number."""

    def __init__(self, number: int, bench: Bench) -> None:
        self.random = random.Random(number)
        self.bench = bench
        self.work = bench.work
        self.moved: set[str] = set()

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def try_git(self, *arguments: str) -> bool:
        """Git may refuse: a user would go on as well."""
        try:
            self.bench.git(*arguments)
        except AssertionError:
            return False
        return True

    def path(self) -> str:
        return self.random.choice(FOLDERS) + self.random.choice(NAMES)

    def present(self) -> list[str]:
        return [name for name in state_of(self.work) if not name.startswith(("n/", "sub/"))]

    def put(self, name: str) -> None:
        """Write, or replace by another kind, what is at a path."""
        place = self.work / name
        for parent in reversed(place.relative_to(self.work).parents):
            above = self.work / parent
            if above.is_symlink() or above.is_file():
                above.unlink()
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir() and not place.is_symlink():
            if (place / ".git").exists():
                return
            shutil.rmtree(place)
        kind = self.random.random()
        if kind < 0.08:
            place.unlink(missing_ok=True)
            place.symlink_to(self.random.choice(["a.txt", "nowhere", "d"]))
            return
        if place.is_symlink():
            place.unlink()
        place.write_bytes(self.random.choice(TEXTS))
        place.chmod(0o755 if self.chance(0.15) else 0o644)

    def change(self, count: int) -> None:
        """Write, remove and switch modes at random."""
        for _ in range(count):
            present = self.present()
            what = self.random.random()
            if present and what < 0.45:
                self.put(self.random.choice(present))
            elif present and what < 0.62:
                (self.work / self.random.choice(present)).unlink()
            elif present and what < 0.7:
                place = self.work / self.random.choice(present)
                if not place.is_symlink():
                    place.chmod(place.stat().st_mode ^ 0o111)
            else:
                self.put(self.path())

    # -- the user's part ------------------------------------------------------------------------------------

    def begin(self) -> None:
        form = ["--object-format=sha256"] if self.chance(0.08) else []
        self.bench.git("init", "-q", *form)
        for name in ("clean", "smudge"):
            self.bench.git("config", f"filter.rot.{name}", "tr a-z n-za-m")
        (self.work / ".gitattributes").write_text(self.some(ATTRIBUTES, 3))
        if self.chance(0.7):
            (self.work / ".gitignore").write_text(self.some(IGNORED, 2))
        (self.work / ".git/info").mkdir(exist_ok=True)
        if self.chance(0.3):
            (self.work / ".git/info/exclude").write_text(self.some(IGNORED, 2))
        if self.chance(0.3):
            (self.work / ".git/info/attributes").write_text(self.some(ATTRIBUTES, 2))
        for name, value in self.random.sample(SETTINGS, self.random.randrange(5)):
            self.bench.git("config", name, value)
        for _ in range(self.random.randrange(3, 9)):
            self.put(self.path())
        self.commit_all("first")
        if self.chance(0.15):
            self.nested("n")
        if self.chance(0.2):
            self.submodule()
        self.change(self.random.randrange(4))
        self.commit_all("second")

    def attributes(self, text: str) -> None:
        place = self.work / ".gitattributes"
        if place.is_dir():
            return
        place.unlink(missing_ok=True)
        place.write_text(text)

    def some(self, lines: tuple[str, ...], most: int) -> str:
        return "".join(f"{line}\n" for line in self.random.sample(lines, self.random.randrange(most + 1)))

    def commit_all(self, message: str) -> None:
        self.try_git("add", "-fA" if self.chance(0.3) else "-A")
        self.try_git("commit", "-qm", message, "--allow-empty")

    def nested(self, name: str) -> None:
        (self.work / name).mkdir(exist_ok=True)
        git(self.work / name, "init", "-q")
        (self.work / name / "f").write_text("1")
        git(self.work / name, "add", "-A")
        git(self.work / name, "commit", "-qm", "n")

    def submodule(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            git(Path(folder), "init", "-q")
            git(Path(folder), "commit", "-qm", "s", "--allow-empty")
            self.try_git("submodule", "--quiet", "add", folder, "sub")

    def dirty(self) -> None:
        """What the user did and did not commit."""
        present = self.present()
        for _ in range(self.random.randrange(4)):
            self.change(1)
            if self.chance(0.5):
                self.try_git("add", "-A")
        tracked = [name for name in present if (self.work / name).exists()]
        for share, *arguments in (
            (0.15, "rm", "-q", "--cached"),
            (0.1, "update-index", "--assume-unchanged"),
            (0.08, "update-index", "--skip-worktree"),
        ):
            if tracked and self.chance(share):
                self.try_git(*arguments, "--", self.random.choice(tracked))
        self.set_up()

    def set_up(self) -> None:
        """What the user's git is in the middle of, and how it keeps things."""
        if self.chance(0.15):
            self.put("later.txt")
            self.try_git("add", "-N", "later.txt")
        if self.chance(0.1):
            self.try_git("sparse-checkout", "set", *self.random.choice([["d"], ["--no-cone", "d/"], ["e"]]))
        if self.chance(0.15):
            self.under_way(self.random.choice(UNDER_WAY))
        if self.chance(0.08):
            name, value = self.random.choice(RARE)
            (self.work / "excludes").write_text("b.txt\n")
            (self.work / "attributes").write_text("*.txt eol=crlf\n")
            (self.work / ".git/included").write_text("[core]\n\tautocrlf = input\n")
            self.bench.git("config", name, value.format(work=self.work))
        if self.chance(0.15):
            self.try_git("update-index", "--split-index")
        if self.chance(0.1):
            self.try_git("checkout", "-q", "--detach")
        if self.chance(0.1):
            self.try_git("pack-refs", "--all")

    def under_way(self, what: str) -> None:
        self.try_git("stash", "-q")
        main = self.bench.git("rev-parse", "HEAD").strip()
        self.try_git("checkout", "-q", "-b", "other", "HEAD~1")
        (self.work / "other.txt").write_text("other\n")
        if what in {"conflict", "rebase", "cherry-pick"}:
            self.attributes("*.zzz text\n")
        self.commit_all("other")
        self.try_git("checkout", "-q", main)
        if what == "stash":  # one that clashes with what is committed meanwhile
            self.attributes("*.xxx text\n")
            self.try_git("stash", "-q")
        self.attributes("*.yyy text\n")
        self.commit_all("ours")
        command = {
            "merge": ("merge", "-q", "--no-commit", "--no-ff", "other"),
            "conflict": ("merge", "-q", "other"),
            "cherry-pick": ("cherry-pick", "other"),
            "revert": ("revert", "--no-commit", "HEAD"),
            "rebase": ("rebase", "other"),
            "squash": ("merge", "-q", "--squash", "other"),
            "stash": ("stash", "pop"),
        }[what]
        self.try_git(*command)

    def leave_out(self) -> None:
        for name in self.present():
            if self.chance(0.1) and name not in {".gitattributes", ".gitignore"}:
                (self.work / name).unlink()

    # -- the run's part -------------------------------------------------------------------------------------

    def run(self) -> None:
        self.change(self.random.randrange(1, 6))
        if self.chance(0.05):
            self.attributes(self.some(ATTRIBUTES, 3))
        for name in ("n", "sub"):
            if (self.work / name / ".git").exists() and self.chance(0.4):
                git(self.work / name, "commit", "-qm", "moved", "--allow-empty")
                self.moved.add(name)
        if not (self.work / "n").exists() and self.chance(0.05):
            self.nested("n")
            self.moved.add("n")


PATHS = ("--pathspec-from-file=-", "--pathspec-file-nul")


class Oracle:
    """Real git, in a copy, under the user's settings."""

    def __init__(self, work: Path, changed: set[str]) -> None:
        self.work = work
        self.head = git(work, "rev-parse", "HEAD").strip()
        known = {*self.names("ls-files", "-z"), *self.names("ls-tree", "-r", "-z", "--name-only", "HEAD")}
        others = {name.rstrip("/") for name in self.names("ls-files", "-z", "--others", "--exclude-standard")}
        inside = {name for name in changed if name.startswith(("n/", "sub/"))}
        self.paths = sorted((changed - inside) & (known | others))
        # Git gives up where a directory stands in the place of a file: it is told of what is in it alone.
        for name in list(filter(self.is_folder, self.paths)):
            if any(other.startswith(name + "/") for other in self.paths):
                self.paths.remove(name)
            else:
                (work / name).rename(work / ".git" / "aside")
        self.before = work.with_name("before")
        shutil.copytree(work, self.before, symlinks=True)
        self.new = [name for name in self.paths if name not in known]

    def is_folder(self, name: str) -> bool:
        place = self.work / name
        return place.is_dir() and not place.is_symlink() and not (place / ".git").exists()

    def names(self, *arguments: str) -> list[str]:
        return git(self.work, *arguments).split("\0")[:-1]

    def commit(self) -> str | None:
        """The tree that git makes; what it says instead as a text that begins with "error"."""
        if not self.paths:
            return None
        for arguments, paths in (
            (["add", "--sparse"], self.new),
            (["commit", "-q", "--only", "-m", "m"], self.paths),
        ):
            if arguments[0] == "commit":  # adding a file took what was only staged below it out of the index
                staged = {*self.names("ls-files", "-z"), *self.names("ls-tree", "-rz", "--name-only", "HEAD")}
                known = [name for name in paths if name in staged]
            else:
                known = paths
            if not known:
                continue
            done = self.fed(self.work, *arguments, *PATHS, paths=known)
            said = (done.stdout + done.stderr).decode("utf-8", "replace")
            if done.returncode:
                silent = not said.strip() or "nothing" in said or "no changes" in said
                return None if silent and arguments[0] == "commit" else "error: " + said
        return git(self.work, "rev-parse", "HEAD^{tree}").strip()

    def commit_in_one_pass(self) -> str | None:
        """The same where attribute files are gone: what holds of them goes by the order of steps."""
        if not any(name.endswith(".gitattributes") and not self.is_file(name) for name in self.paths):
            return None
        work, index = self.work.with_name("one-pass"), str(self.work.with_name("index"))
        shutil.copytree(self.before, work, symlinks=True)
        self.fed(work, "read-tree", self.head, index=index)
        self.fed(work, "add", "-A", "--sparse", *PATHS, paths=self.paths, index=index)
        return self.fed(work, "write-tree", index=index).stdout.decode().strip()

    @staticmethod
    def fed(
        work: Path, *arguments: str, paths: Sequence[str] = (), index: str = ""
    ) -> subprocess.CompletedProcess[bytes]:
        """Real git, with paths to read and perhaps an index of its own."""
        return subprocess.run(
            ["git", "--literal-pathspecs", *arguments],
            cwd=work,
            env={**ENVIRONMENT, **({"GIT_INDEX_FILE": index} if index else {})},
            input="\0".join(paths).encode(),
            capture_output=True,
            check=False,
            timeout=60,
        )

    def is_file(self, name: str) -> bool:
        return (self.work / name).is_file() and not (self.work / name).is_symlink()

    def filtered(self) -> list[str]:
        files = [
            name
            for name in self.paths
            if (self.work / name).is_file() and not (self.work / name).is_symlink()
        ]
        if not files:
            return []
        said = git(
            self.work,
            "check-attr",
            "filter",
            "--",
            *[name if name[0] != "-" else "./" + name for name in files],
        )
        return [line for line in said.splitlines() if line.endswith("filter: rot")]


def facts(work: Path) -> tuple[str, str, str]:
    """Where HEAD is, what the index holds, and how the files stand to both, as the user's git says it."""
    return (
        git(work, "rev-parse", "HEAD"),
        git(work, "ls-files", "-z", "-v", "--stage"),
        git(work, "status", "--porcelain=v2", "-z", "--untracked-files=all", "--ignore-submodules=none"),
    )


def play(number: int, folder: Path) -> str:
    """Play one history; says how it ended: a commit, nothing to commit, or a refusal's first words."""
    with guest_in(folder) as guest:
        bench = Bench(guest, folder / "workspace")
        history = History(number, bench)
        history.begin()
        history.dirty()
        history.leave_out()
        bench.begin()
        before = state_of(bench.work)
        history.run()
        after = state_of(bench.work)
        changed = {name for name in {*before, *after} if before.get(name) != after.get(name)} | history.moved
        shutil.copytree(bench.work, folder / "oracle", symlinks=True)
        oracle = Oracle(folder / "oracle", changed)
        filtered = oracle.filtered()
        untouched = facts(bench.work)
        answer = bench.commit()
        expected = oracle.commit()
        told = (number, answer, expected, oracle.paths)
        assert state_of(bench.work) == after, told
        if answer["status"] == "ok":
            tree = bench.git("rev-parse", "HEAD^{tree}").strip()
            if tree != expected:
                assert tree == oracle.commit_in_one_pass(), told
                return "ok in one pass"
            assert bench.git("rev-parse", "HEAD~1") == untouched[0], told
            assert not filtered, told
            # Looked at in a copy as well: git believes what an index says of files that it has seen itself.
            shutil.copytree(bench.work, folder / "ours", symlinks=True)
            assert facts(folder / "ours")[1:] == facts(oracle.work)[1:], told
            return "ok"
        assert facts(bench.work) == untouched, told
        if answer["text"].endswith("nothing to commit"):
            assert expected is None, told
            return "nothing"
        concern = next((words for words in CONCERNS if words in answer["text"]), None)
        if concern is None:
            assert expected is not None, told
            assert expected.startswith("error: "), told
            return "as git: " + answer["text"][:60]
        assert concern != CONCERNS[0] or filtered, told
        return concern


def play_all(numbers: range, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    monkeypatch.setattr(repository, "run", start)
    ends: Counter[str] = Counter()
    for number in numbers:
        with tempfile.TemporaryDirectory() as name:
            ends[play(number, Path(name))] += 1
    return ends


@pytest.mark.parametrize("numbers", [range(start, start + 25) for start in range(0, 100, 25)], ids=str)
def test_a_commit_equals_gits_own_or_is_refused_in_words(
    numbers: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = play_all(numbers, monkeypatch)
    assert ends["ok"] > len(numbers) // 3


@pytest.mark.long
@pytest.mark.parametrize("numbers", [range(at, at + 100) for at in range(1_000, 2_000, 100)], ids=str)
def test_a_thousand_commits_equal_gits_own_or_are_refused_in_words(
    numbers: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = play_all(numbers, monkeypatch)
    assert ends["ok"] > 40, ends
    assert sum(ends[words] for words in CONCERNS) > 5, ends

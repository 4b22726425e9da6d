"""Whatever the umask, and whoever else may write nearby: what we keep is ours alone, or it is not used."""

import ast
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sandbox_runner
from sandbox_runner.cli import main
from sandbox_runner.errors import ConfigurationError
from sandbox_runner.private import make_private
from sandbox_runner.record import signing_key, trust, trusted_keys
from sandbox_runner.runner.home import Home
from sandbox_runner.snapshot import DirectorySource

ROOT = Path(sandbox_runner.__file__).parent
WORKLOG = [
    {"op": "TRAIL_BEGIN", "agent": "ann", "trail_id": "t", "ts": 1},
    {"op": "FILE_WRITE", "path": "src/new.py", "content": "x = 1\n"},
    {"op": "BOTTLE_DROP", "target": "bob", "content": "hello"},
    {"op": "GIT_COMMIT", "repo": 0, "message": "one"},
    {"op": "TRAIL_END", "status": 0},
]
PROGRAM = [sys.executable, "-m", "sandbox_runner.cli"]
OTHER = 65_533  # nobody here


def command(home: Path, umask: int, *argv: str) -> int:
    """A command line in this process, under another umask."""
    before = os.umask(umask)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SANDBOX_RUNNER_HOME", str(home))
            return main(list(argv))
    finally:
        os.umask(before)


def open_to_others(*roots: Path) -> list[tuple[str, str]]:
    """Everything below the roots, and they themselves, that anybody but the owner has a right to."""
    found = []
    for root in roots:
        for path in (root, *root.rglob("*")):
            mode = path.lstat().st_mode
            if not stat.S_ISLNK(mode) and stat.S_IMODE(mode) & 0o077:
                found.append((str(path), f"{stat.S_IMODE(mode):04o}"))
    return found


@pytest.fixture
def worklog(tmp_path: Path) -> str:
    path = tmp_path / "work.json"
    path.write_text(json.dumps(WORKLOG))
    return path.name


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.docker
@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_a_whole_run_and_all_that_is_taken_out_of_it_is_private_under_any_umask(
    tmp_path: Path, worklog: str, image, umask: int
) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "a.txt").write_text("a\n")
    home = tmp_path / "not" / "there" / "yet" / "home"
    environ = {**os.environ, "SANDBOX_RUNNER_HOME": str(home)}
    argv = ["run", worklog, "-w", "w", "-o", "mine/runs", "--runtime", "auto"]
    done = subprocess.run([*PROGRAM, *argv], umask=umask, env=environ, check=False, timeout=240)
    assert done.returncode == 0
    assert command(home, umask, "run", worklog, "-w", "w", "--runtime", "runc") == 0
    with_store = Home(home).store()
    with_store.tag(with_store.list()[0].digest, "first")
    for words in (
        ("report", "last", "-o", "page.html"),
        ("trail", "compile", worklog, "-o", "t.flux"),
        ("verify", "last"),
        ("snapshot", "gc"),
        ("snapshot", "fsck", "--repair"),
        ("snapshot", "export", "first", "-o", "s.tar.zst"),
        ("snapshot", "export", "first", "-o", "image", "--format", "oci"),
        ("snapshot", "export", "first", "-o", "image.tar", "--format", "oci"),
        ("snapshot", "restore", "first", "out/deep/dir"),
    ):
        assert command(home, umask, *words) == 0, words
    kept = ("not", "mine", "page.html", "t.flux", "s.tar.zst", "image", "image.tar")
    assert open_to_others(*(tmp_path / name for name in kept)) == []
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700
    found = {path.name for path in tmp_path.rglob("*")}
    assert {"runtimes.json", "index.sqlite", "lock", "signing.pem", "calls.jsonl", "ledger.jsonl"} <= found


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277, 0o777])
def test_without_docker_everything_that_is_made_is_private_and_usable_under_any_umask(
    tmp_path: Path, worklog: str, umask: int
) -> None:
    home = tmp_path / "a" / "b" / "home"
    for argv in (
        ("keys", "show"),
        ("run", worklog, "--dry-run"),
        ("run", worklog, "--dry-run", "-o", "x/y"),
        ("keys", "new"),
        ("report", "last", "-o", "page.html"),
    ):
        assert command(home, umask, *argv) == 0, argv
    before = os.umask(umask)
    try:
        store = Home(home).store()
        store.tag(store.capture(DirectorySource(tmp_path / "x")).digest, "one")
    finally:
        os.umask(before)
    made = [path for root in ("a", "x") for path in (tmp_path / root, *(tmp_path / root).rglob("*"))]
    assert {stat.S_IMODE(path.stat().st_mode) for path in made if path.is_dir()} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in made if path.is_file()} == {0o600}
    assert stat.S_IMODE((tmp_path / "page.html").stat().st_mode) == 0o600


def test_a_page_that_was_made_public_stays_so_when_it_is_written_again(tmp_path: Path, worklog: str) -> None:
    home, page = tmp_path / "home", tmp_path / "page.html"
    assert command(home, 0, "run", worklog, "--dry-run") == 0
    assert command(home, 0, "report", "last", "-o", "page.html") == 0
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    page.chmod(0o644)
    assert command(home, 0, "report", "last", "-o", "page.html") == 0
    assert stat.S_IMODE(page.stat().st_mode) == 0o644


def test_a_directory_is_made_with_all_that_are_missing_and_one_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there").chmod(0o755)
    before = os.umask(0)
    try:
        make_private(tmp_path / "there" / "b" / "c")
        make_private(tmp_path / "there" / "b" / "c")
        deep = tmp_path.joinpath(*["d"] * 200)
        make_private(deep)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("there", "there/b", "there/b/c")]
    assert modes == [0o755, 0o700, 0o700]
    assert stat.S_IMODE(deep.stat().st_mode) == 0o700


def test_a_directory_is_not_made_through_a_file_or_a_link_to_nowhere(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "file/x", "link", "link/x"):
        with pytest.raises(OSError, match=r"."):
            make_private(tmp_path / name)
    assert not (tmp_path / "nowhere").exists()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "home"
    monkeypatch.setenv("SANDBOX_RUNNER_HOME", str(path))
    signing_key(Home().keys)
    return path


PLACES = (".", "keys", "keys/trusted", "keys/signing.pem", "keys/trusted/*.pub")
COMMANDS = (("keys", "show"), ("keys", "new"), ("run", "work.json", "--dry-run"))


def at(home: Path, place: str) -> Path:
    return next(home.glob(place)) if "*" in place else home / place


@pytest.mark.parametrize("argv", COMMANDS)
@pytest.mark.parametrize("place", [".", "keys"])
def test_no_key_is_used_or_made_where_others_can_write(
    worklog: str, home: Path, place: str, argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    before = (home / "keys" / "signing.pem").read_bytes()
    for mode in (0o777, 0o770, 0o722, 0o702):
        (home / place).chmod(mode)
        assert command(home, 0o022, *argv) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert f"{home / place} can be written by others (mode {mode:04o})" in err
        assert f"chmod go-w {home / place}" in err
    assert (home / "keys" / "signing.pem").read_bytes() == before
    assert not list(home.glob("tenants/*/runs/*"))
    (home / place).chmod(0o700)
    assert command(home, 0o022, *argv) == 0


@pytest.mark.parametrize("place", PLACES)
def test_what_others_can_write_is_refused_wherever_it_is(home: Path, place: str) -> None:
    at(home, place).chmod(0o777)
    with pytest.raises(ConfigurationError, match=r"can be (written|read) by others"):
        trusted_keys(Home().keys)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_another_user_is_refused_wherever_it_is(home: Path, place: str) -> None:
    os.chown(at(home, place), OTHER, OTHER)
    with pytest.raises(ConfigurationError, match=rf"belongs to another user \(uid {OTHER}\)"):
        trusted_keys(Home().keys)


def test_a_key_that_others_could_have_planted_is_not_trusted(home: Path, tmp_path: Path) -> None:
    """The attack itself: the folder was open for a while, and somebody swapped it."""
    stranger = signing_key(tmp_path / "elsewhere")
    home.chmod(0o777)
    (home / "keys").rename(home / "old")
    (tmp_path / "elsewhere").rename(home / "keys")
    with pytest.raises(ConfigurationError, match="can be written by others"):
        Home().keys  # noqa: B018 - the folder is looked at
    with pytest.raises(ConfigurationError, match="can be written by others"):
        Home().runs()
    assert stranger.id


def test_the_sticky_bit_keeps_others_from_what_is_ours(home: Path) -> None:
    home.chmod(0o1777)  # as /tmp
    assert signing_key(Home().keys).id in {key.id for key in trusted_keys(Home().keys)}


def test_a_home_behind_a_link_is_judged_by_where_it_leads(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "link"
    link.symlink_to(home)
    monkeypatch.setenv("SANDBOX_RUNNER_HOME", str(link))
    assert signing_key(Home().keys)
    home.chmod(0o777)
    with pytest.raises(ConfigurationError, match="can be written by others"):
        Home().keys  # noqa: B018 - the folder is looked at


def test_a_key_handed_in_is_kept_where_only_we_can_write(home: Path, tmp_path: Path) -> None:
    other = signing_key(tmp_path / "b").public
    (home / "keys" / "trusted").chmod(0o777)
    with pytest.raises(ConfigurationError, match="can be written by others"):
        trust(Home().keys, other)
    assert len(list((home / "keys" / "trusted").iterdir())) == 1


# -- every other way to make a file --------------------------------------------------------------------------

ELSEWHERE = {
    "private.py": "the one place",
    "sandbox/environments.py": "a build context below a temporary directory that is 0700 and removed",
    "sandbox/wheels.py": "wheels below a temporary directory that is 0700 and removed",
    "world/beneath.py": "files of a directory that a person handed over, as that person would make them",
    "snapshot/restoring.py": "files of a directory that a person handed over, as that person would make them",
    "sandbox/images.py": "a lock in the temporary directory, 0600 and without a link",
    "sandbox/container.py": "a file of the kernel's that is there is written to",
    "sandbox/isolation.py": "text of a program that runs in a container",
    "sandbox/cache.py": "a temporary file, 0600 by itself",
    "sandbox/temporary.py": "a temporary directory, 0700 by itself",
    "sandbox/synthetic.py": "files below one, which a container finds instead of its host's",
    "runner/again.py": "a temporary directory, 0700 by itself",
    "cli/files.py": "a device or a pipe that is there is written to",
    "cli/doctor.py": "a temporary file without a name",
    "world/native_process.py": "a temporary file without a name",
    "snapshot/importing.py": "a temporary file without a name",
    "snapshot/index.py": "SQLite, on a file that is made before",
}
MAKERS = frozenset(
    {
        *("mkdir", "makedirs", "write_text", "write_bytes", "mkstemp", "mkdtemp", "NamedTemporaryFile"),
        *("TemporaryDirectory", "TemporaryFile", "mknod", "mkfifo", "copyfile", "copy2", "copytree"),
    }
)


def makers(tree: ast.AST) -> Iterator[int]:
    """Lines that make a file or directory in another way than through an ``opener`` of ours."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        of_os = isinstance(owner, ast.Name) and owner.id == "os"
        if name in MAKERS - {"copy"} or (
            name == "copy" and isinstance(owner, ast.Name) and owner.id == "shutil"
        ):
            yield node.lineno
        elif name == "open" and of_os:
            flags = {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}
            names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)} - {"os"}
            if "O_CREAT" in flags or "_CREATE" in names:
                yield node.lineno
        elif name == "open" and not any(keyword.arg == "opener" for keyword in node.keywords):
            modes = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
            modes += [word.value.value for word in node.keywords if isinstance(word.value, ast.Constant)]
            if any(isinstance(mode, str) and len(mode) < 4 and set(mode) & set("wxa+") for mode in modes):
                yield node.lineno
        elif name == "connect" and isinstance(owner, ast.Name) and owner.id == "sqlite3":
            yield node.lineno


FILES = sorted(path for path in ROOT.rglob("*.py") if path.relative_to(ROOT).parts[0] != "guest")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_else_makes_files_or_directories(path: Path) -> None:
    found = list(makers(ast.parse(path.read_text())))
    assert not found or str(path.relative_to(ROOT)) in ELSEWHERE, f"lines {found}: use sandbox_runner.private"


@pytest.mark.parametrize("name", ELSEWHERE)
def test_every_exception_is_still_one(name: str) -> None:
    assert name == "sandbox/isolation.py" or list(makers(ast.parse((ROOT / name).read_text()))), name

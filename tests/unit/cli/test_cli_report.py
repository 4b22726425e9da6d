"""The page about a run, as the command line writes it."""

from pathlib import Path

import pytest

from sandbox_runner.errors import ExitCode
from sandbox_runner.record import signing_key
from sandbox_runner.runner.home import Home
from sandbox_runner.snapshot import DirectorySource


@pytest.fixture
def changed(write_record, home: Path, runs: Path, tmp_path: Path) -> str:
    """A run of ours whose workspace changed."""
    tree, store = tmp_path / "tree", Home(home).store()
    tree.mkdir()
    (tree / "a.txt").write_text("old\n")
    base = store.capture(DirectorySource(tree))
    path = write_record(runs, signer=signing_key(Home(home).keys), base_snapshot=base.digest)
    return path.name


def test_the_page_is_one_file_without_scripts_or_foreign_addresses(cli, changed: str, tmp_path: Path) -> None:
    page = tmp_path / "run.html"
    ran = cli("report", changed, "-o", page)
    assert ran.code == ExitCode.OK, ran.err
    assert ran.out.startswith(f"{page}: ")
    html = page.read_text()
    assert changed in html
    assert "<script" not in html
    assert "Content-Security-Policy" in html


def test_the_page_can_go_to_stdout(cli, changed: str) -> None:
    ran = cli("report", changed, "-o", "/dev/stdout")
    assert ran.code == ExitCode.OK, ran.err


def test_what_the_run_changed_is_on_the_page_with_its_lines(
    cli, begin_run, home: Path, tmp_path: Path
) -> None:
    tree, store = tmp_path / "tree", Home(home).store()
    tree.mkdir()
    (tree / "a.txt").write_text("old line\n")
    (tree / "gone").write_text("x")
    before = store.capture(DirectorySource(tree)).digest
    (tree / "a.txt").write_text("new <b>line</b>\n")
    (tree / "gone").unlink()
    (tree / "many").write_text("y\n" * 1000)
    after = store.capture(DirectorySource(tree)).digest
    draft = begin_run("20260104T000000Z-eeee", ())
    draft.directory.update(base_snapshot=before)
    draft.seal(snapshot=after)
    page = tmp_path / "run.html"
    assert cli("report", "last", "-o", page).code == ExitCode.OK
    html = page.read_text()
    assert "new &lt;b&gt;line" in html
    assert "<b>line" not in html
    assert "gone" in html
    assert "cut after 400 lines" in html


def test_a_page_needs_a_run_and_a_place(cli, changed: str) -> None:
    assert cli("report", changed).code == ExitCode.BAD_INPUT
    assert cli("report", "nothing", "-o", "x").code == ExitCode.BAD_INPUT
    assert cli("report", changed, "-o", "/proc/none/x").code == ExitCode.BAD_INPUT

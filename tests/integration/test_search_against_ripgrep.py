"""Searches answered from memory are ripgrep's answers, whatever the workspace holds and becomes.

The guest's methods run on this machine, over a directory; the ripgrep that they start, and are held against,
is the image's, in a container that sees the same directory.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from sandbox_runner.guest import search
from sandbox_runner.guest.config import Config
from sandbox_runner.guest.context import Guest
from sandbox_runner.guest.files import file_edit, file_write
from sandbox_runner.guest.outcome import StepError
from sandbox_runner.guest.search_index import SearchIndex, plain_words
from sandbox_runner.guest.sinks import Whole
from sandbox_runner.sandbox import Image

pytestmark = pytest.mark.docker

# Takes a command on a line, answers it on a line, and ends with its input: with the tests, however they end.
SERVER = """
import json, subprocess, sys
for line in sys.stdin:
    folder, command = json.loads(line)
    done = subprocess.run(command, cwd="/trees/" + folder, capture_output=True, timeout=60)
    print(json.dumps([done.returncode, done.stdout.hex(), done.stderr.decode(errors="replace")]), flush=True)
"""

NAMES = [
    *("a", "b.py", "c d", "-e", "é", ".hidden", ".git", "info", "exclude", "HEAD"),
    *(".gitignore", ".ignore", ".rgignore"),
]
PIECES = [
    *(b"def", b"wrap", b"a", b"\n", b"\r\n", b"\0", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b"\xff"),
    *("é".encode(), "é".encode()[:1], b".", b"b.py\n", b"*\n", b"!a\n", b"/b.py\n", b"#\n", b" ", b"LONG"),
]
LONG = b"x" * 70_000  # more than ripgrep reads at once
WORDS = [
    *("def", "wrap", "a", "é", ".", r"\.", "de|wrap", "fw", "a|", "|"),
    *("x", "  ", "\ufeff", "(?i)DEF", r"a\b"),
]

paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
contents = st.lists(st.sampled_from(PIECES), max_size=6).map(b"".join)
entries = st.tuples(paths, st.sampled_from(["file", "file", "file", "link", "pipe", "dir"]), contents)
patterns = st.sampled_from(WORDS) | st.text(max_size=3) | st.sampled_from(["wrap", "def"])
texts = contents.map(lambda data: data.decode(errors="replace"))
writing = st.tuples(st.just("write"), paths, texts)
editing = st.tuples(st.just("edit"), paths, texts)
searching = st.tuples(st.just("search"), patterns, st.just(""))
steps = st.lists(writing | editing | searching | searching, max_size=12)


class Oneself(nullcontext[None]):
    """An identity that is the one of these tests."""

    def wear(self) -> None:
        """Nothing to put on."""


class Here(SimpleNamespace):
    """What the methods need of a guest, over a directory of this machine."""

    parent, forget = Guest.parent, Guest.forget


Ripgrep = Callable[[Any, list[str]], tuple[Any, Whole, str]]
Guests = Callable[[list[tuple[str, str, bytes]]], AbstractContextManager[Any]]


@contextmanager
def guest_over(tree: list[tuple[str, str, bytes]], trees: Path) -> Iterator[Any]:
    """A guest with these files, in a directory below ``trees``."""
    with TemporaryDirectory(dir=trees) as folder:
        for path, kind, data in tree:
            place(Path(folder), path, kind, data)
        root = os.open(folder, os.O_RDONLY)
        config = Config({"uid": 1}, "config")
        guest = Here(
            root=root, config=config, identity=Oneself(), index=None, full=lambda: "disk", folder=folder
        )
        guest._folder, guest._folder_names = root, []
        yield guest
        guest.forget()
        os.close(root)


def place(folder: Path, path: str, kind: str, data: bytes) -> None:
    target = folder / path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if kind == "file":
            target.write_bytes(data.replace(b"LONG", LONG))
        elif kind == "link":
            target.symlink_to("a")
        elif kind == "pipe":
            target = folder / "pipe"  # as a file of rules, or behind a link to one, it would hold ripgrep up
            os.mkfifo(target)
        else:
            target.mkdir()
    except OSError:  # two entries want the same place
        return


def answer(guest: Any, pattern: str) -> object:
    try:
        outcome = search.search_code(guest, pattern)
    except StepError as error:
        return error.reason
    return outcome.text, outcome.details


def perform(guest: Any, kind: str, subject: str, text: str) -> None:
    try:
        if kind == "write":
            file_write(guest, subject, text)
        else:
            file_edit(guest, subject, text[:1] or "d", text)
    except StepError:
        return


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that the container of ``ripgrep`` sees as well."""
    return tmp_path_factory.mktemp("trees")


@pytest.fixture(scope="module")
def ripgrep(image: Image, trees: Path) -> Iterator[Ripgrep]:
    """The image's ripgrep, called as the guest calls it."""
    options = ["--rm", "--interactive", "--network=none", "--label=sandbox-runner.test=ripgrep"]
    command = ["docker", "run", *options, f"--volume={trees}:/trees", image.id, "python3", "-c", SERVER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin
        assert server.stdout

        def run(guest: Any, arguments: list[str]) -> tuple[Any, Whole, str]:
            order = (Path(guest.folder).name, ["rg", *search._ARGUMENTS, *arguments, "--", "."])
            print(json.dumps(order), file=server.stdin, flush=True)
            code, found, said = json.loads(server.stdout.readline())
            output = Whole(1 << 20)
            output.take(bytes.fromhex(found))
            ended = SimpleNamespace(code=code, signal=None, timed_out=False, exhausted=[])
            return ended, output, said.strip()

        yield run
        server.stdin.close()
        assert server.wait(60) == 0


@pytest.fixture
def a_guest(monkeypatch: pytest.MonkeyPatch, trees: Path, ripgrep: Ripgrep) -> Guests:
    """Guests that start the image's ripgrep."""
    monkeypatch.setattr(search, "_ripgrep", ripgrep)
    return lambda tree: guest_over(tree, trees)


@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],  # shrinking what starts programs takes minutes
)
@given(tree=st.lists(entries, max_size=6), actions=steps)
@example(tree=[("b.py", "file", b"\xef\xbb\xbfdef\xff wrap")], actions=[("search", "wrap", "")])
@example(tree=[("a", "file", b"LONGdef\0")], actions=[("search", "def", "")])
@example(tree=[("a", "file", b"\xff\xfed\0e\0f\0")], actions=[("search", "def", "")])
@example(tree=[(".ignore", "file", b"b.py\n")], actions=[("write", "a/b.py", "wrap"), ("search", "wrap", "")])
@example(tree=[("a", "file", b"wrap")], actions=[("write", ".gitignore", "a\n"), ("search", "wrap", "")])
@example(tree=[(".git/HEAD", "file", b"")], actions=[("write", ".gitignore", "a\n"), ("write", "a", "wrap")])
def test_every_answer_from_memory_is_the_one_that_ripgrep_gives(
    a_guest: Guests, tree: list[tuple[str, str, bytes]], actions: list[tuple[str, str, str]]
) -> None:
    with a_guest(tree) as guest:
        answer(guest, "def")
        for kind, subject, text in [*actions, ("search", "wrap", "")]:
            if kind != "search":
                perform(guest, kind, subject, text)
                continue
            mine, kept = answer(guest, subject), guest.index
            guest.index = None
            theirs = answer(guest, subject)
            guest.index = kept
            assert mine == theirs


def test_the_second_search_for_words_reads_the_files_and_the_third_starts_nothing(
    monkeypatch: pytest.MonkeyPatch, ripgrep: Ripgrep, a_guest: Guests
) -> None:
    asked: list[str] = []

    def counted(guest: Any, arguments: list[str]) -> tuple[Any, Whole, str]:
        asked.append(arguments[0])
        return ripgrep(guest, arguments)

    monkeypatch.setattr(search, "_ripgrep", counted)
    with a_guest([("a", "file", b"wrap")]) as guest:
        for _ in range(3):
            answer(guest, "wrap")
        assert asked == ["--files-with-matches", "--files"]
        file_write(guest, "b.py", "wrap")
        assert answer(guest, "wrap")[1]["files"] == ["a", "b.py"]  # type: ignore[index]
        assert len(asked) == 2


def test_a_workspace_that_others_change_is_searched_anew_each_time(a_guest: Guests) -> None:
    with a_guest([("a", "file", b"wrap")]) as guest:
        guest.config = Config({"uid": 1, "shared": True}, "config")
        for _ in range(3):
            answer(guest, "wrap")
        assert guest.index is None


@pytest.mark.parametrize(("count", "size"), [(2_001, 1), (3, 2 << 20)])
def test_what_an_index_keeps_is_bounded(tmp_path: Path, count: int, size: int) -> None:
    with guest_over([(f"f{number}", "file", b"x" * size) for number in range(count)], tmp_path) as guest:
        index = SearchIndex()
        index.fill(guest.root, [b"f%d" % number for number in range(count)])
        assert not index.fit
        index.wrote(guest.root, [b"new"], b"y", created=True)
        assert not index.fit
        assert index.find([b"y"]) == []


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (b"def wrap", [b"def wrap"]),
        (rb"wrap\(|\.x", [b"wrap(", b".x"]),
        (rb"wrap\d", None),
        (b"a.b", None),
        (b"a||b", None),
        (b"", None),
        (b"a\nb", None),
        (b"a\\", None),
        (b"a" * 4097, None),
    ],
)
def test_words_are_told_from_patterns(pattern: bytes, words: list[bytes] | None) -> None:
    assert plain_words(pattern) == words

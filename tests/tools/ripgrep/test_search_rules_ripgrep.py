"""The search index against this machine's ripgrep, over random trees with every kind of ignore file."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sandbox_runner.guest import search
from sandbox_runner.guest.sinks import Whole
from tests.integration.test_search_against_ripgrep import answer, guest_over, perform

FOLDERS = ["", "a/", "b/", ".github/", "a/sub/", ".git/", ".git/info/", "meta/info/", "a/.hidden/"]
RULE_FILES = [".gitignore", ".ignore", ".rgignore"]
RULES = [
    *("!.github/", "!.github", "!.*", ".*", "*", "!*", "a/", "/b", "sub/", "!sub", "*.py", "!f.py", "f*"),
    *("!.f.py", "**/f.py", "a/**", "# no", "[", "!.git", "\\!x", " ", "!a/.hidden"),
]
TEXTS = ["needle\n", "\ufeffneedle\n", "needle\ufeff", "x\0needle", "needle\0", "nee\r\ndle", "", "hay\n"]
PATTERNS = ["needle", "\ufeff", "\ufeffneedle", "hay|needle", "zzz", "needl[e]", r"needle\r?$", "é", "n"]

names = st.sampled_from([*RULE_FILES, "f.py", ".f.py", "g", "exclude", "-e", "c d"])
paths = st.builds(str.__add__, st.sampled_from(FOLDERS), names)
rules = st.lists(st.sampled_from(RULES), max_size=3).map("\n".join)
texts = st.sampled_from(TEXTS) | rules
files = st.tuples(paths, st.just("file"), texts.map(str.encode))
links = st.tuples(paths, st.just("to"), st.sampled_from([b"g", b"a/g", b"../g", b"../f.py", b"nowhere"]))
git = st.sampled_from(
    [
        (".git/HEAD", "file", b"ref: refs/heads/main\n"),
        ("a/.git/HEAD", "file", b""),
        (".git", "file", b"gitdir: meta\n"),
        ("meta/commondir", "file", b"."),
        (".git/info/exclude", "file", b"f.py\n"),
        (".git/info/exclude", "to", b"../../g"),
        (".git", "to", b"meta"),
        ("a/.ignore", "to", b"../g"),
        (".ignore", "file", b"!.github/\n"),
        (".gitignore", "file", b"a/\n!a/sub\n"),
    ]
)
trees = st.lists(files | files | links | git, max_size=8)
actions = st.lists(
    st.tuples(st.sampled_from(["write", "write", "edit"]), paths, texts)
    | st.tuples(st.just("search"), st.sampled_from(PATTERNS), st.just("")),
    max_size=12,
)


def ripgrep(guest: Any, arguments: list[str]) -> tuple[Any, Whole, str]:
    command = ["rg", *search._ARGUMENTS, *arguments, "--", "."]
    done = subprocess.run(command, cwd=guest.folder, capture_output=True, check=False, timeout=60)
    output = Whole(1 << 20)
    output.take(done.stdout)
    ended = SimpleNamespace(code=done.returncode, signal=None, timed_out=False, exhausted=[])
    return ended, output, done.stderr.decode(errors="replace").strip()


def laid_out(tree: list[tuple[str, str, bytes]], folder: Path) -> None:
    for path, kind, data in tree:
        target = folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if kind == "to":
                target.symlink_to(data.decode())
            else:
                target.write_bytes(data)
        except OSError:  # two entries want the same place, or a link leads nowhere
            continue


@settings(
    max_examples=500,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(tree=trees, steps=actions)
@example(  # a hidden folder that a rule lets in
    tree=[(".ignore", "file", b"!.github/\n"), (".github/f.py", "file", b"needle\n")],
    steps=[("search", "zzz", ""), ("write", ".github/g", "needle\n")],
)
@example(  # rules behind a link
    tree=[("a/.ignore", "to", b"../g"), ("g", "file", b"f.py\n"), ("a/f.py", "file", b"needle\n")],
    steps=[("search", "zzz", ""), ("write", "g", "nothing\n")],
)
@example(  # a repository that lies elsewhere
    tree=[
        (".git", "file", b"gitdir: meta\n"),
        ("meta/commondir", "file", b"."),
        ("f.py", "file", b"needle\n"),
    ],
    steps=[("search", "zzz", ""), ("write", "meta/info/exclude", "f.py\n")],
)
@example(tree=[("g", "file", "\ufeffneedle".encode())], steps=[("search", "\ufeff", "")])
def test_every_search_finds_what_a_fresh_ripgrep_finds(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tree: list[tuple[str, str, bytes]],
    steps: list[tuple[str, str, str]],
) -> None:
    monkeypatch.setattr(search, "_ripgrep", ripgrep)
    with guest_over([], tmp_path) as guest:
        laid_out(tree, Path(guest.folder))
        for _ in range(2):
            answer(guest, "zzz")  # the second fills the index
        for kind, subject, text in [*steps, ("search", "needle", "")]:
            if kind != "search":
                perform(guest, kind, subject, text)
                continue
            mine, kept = answer(guest, subject), guest.index
            guest.index = None
            theirs = answer(guest, subject)
            guest.index = kept
            assert mine == theirs, (subject, sorted(tree))

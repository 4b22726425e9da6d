"""A repository's own configuration, read as git reads it."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox_runner.guest.git_settings import Settings, parse

PIECES = st.sampled_from(
    [
        *(
            b"[core]",
            b"[core] ",
            b'[filter "x"]',
            b"[a.B]",
            b'[include "q\\"uo"]',
            b"[core",
            b"autocrlf",
            b"eol",
        ),
        *(
            b"=",
            b" = ",
            b"input",
            b'"in put"',
            b"true",
            b"\n",
            b"\n\t",
            b"\r\n",
            b"\\\n",
            b"\\n",
            b"# c",
            b"; c",
        ),
        *(b'"', b"\\q", b"  ", b"\t", b"key-1", b"1", b"]", b"\xef\xbb\xbf", b"\xff", b'a"b"c', b" #x"),
    ]
)


def said_by_git(file: Path) -> list[tuple[bytes, bytes | None]] | None:
    command = ["git", "config", "--file", str(file), "--no-includes", "--list", "-z"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        return None
    pairs = [item.partition(b"\n") for item in done.stdout.split(b"\0")[:-1]]
    return [(key, value if newline else None) for key, newline, value in pairs]


@settings(max_examples=150)
@given(text=st.lists(PIECES, max_size=14).map(b"".join))
def test_settings_are_what_git_says_they_are(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "config"
    file.write_bytes(text)
    expected = said_by_git(file)
    try:
        found = [
            (b".".join(part for part in (section, within, key) if part), value)
            for section, within, key, value in parse(text)
        ]
    except ValueError:
        found = None
    if expected is None and found is not None:
        return  # git is stricter about what it can show; nothing is lost by reading more
    assert found == expected


def settings_of(text: bytes) -> Settings:
    found = Settings()
    found.take(text, "config")
    return found


@pytest.mark.parametrize(
    "text",
    [
        b"[core]\n\tautocrlf = input\n",
        b"[CORE] AutoCRLF=input",
        b'[core]\nautocrlf = "input" ; why not\n',
        b"[core]\r\n\tautocrlf = in\\\nput\r\n",
    ],
)
def test_a_harmless_setting_is_carried_over_in_whatever_form_it_is_written(text: bytes) -> None:
    found = settings_of(text)
    assert (found.carried, found.withheld) == (b'[core]\n\tautocrlf = "input"\n', [])


def test_a_key_that_stands_alone_means_true() -> None:
    found = settings_of(
        b"[core]\n\tignorecase\n\tfilemode = no\n[extensions]\nworktreeConfig\nobjectFormat=sha256"
    )
    assert (found.ignores_case, found.per_worktree, found.wide) == (True, True, True)
    assert b"ignorecase\n" in found.carried


@pytest.mark.parametrize(
    "text",
    [
        b"[include]\n\tpath = ../evil\n",
        b'[includeIf "onbranch:main"]\n\tpath = evil\n',
        b"[core]\n\tattributesFile = ~/.attributes\n",
        b"[core]\n\tworktree = /elsewhere\n",
        b"[core]\n\tbare\n",
        b"[core]\n\teol = lf lf\n",
        b"[extensions]\n\tcompatObjectFormat = sha256\n",
        b"[attr]\n\ttree = HEAD\n",
        b"[core\n",
    ],
)
def test_what_changes_a_commit_and_cannot_be_carried_over_is_withheld_in_words(text: bytes) -> None:
    assert len(settings_of(text).withheld) == 1


@pytest.mark.parametrize(
    "text",
    [
        b"[core]\n\tfsmonitor = evil\n\thooksPath = hooks\n\tsshCommand = evil\n\tpager = evil\n",
        b'[filter "x"]\n\tclean = evil\n\tprocess = evil\n[core "autocrlf"]\n\tautocrlf = evil',
        b"[gpg]\n\tprogram = evil\n[commit]\n\tgpgsign = true\n[alias]\n\tadd = !evil\n",
    ],
)
def test_what_names_a_program_is_neither_carried_over_nor_in_the_way(text: bytes) -> None:
    found = settings_of(text)
    assert (found.carried, found.withheld) == (b"", [])


def test_no_value_brings_a_setting_of_its_own() -> None:
    found = settings_of(b'[core]\n\teol = "lf\\n[core]\\nfsmonitor=evil"\n\tautocrlf = "a\\"b"\n')
    assert found.carried == b""
    assert len(found.withheld) == 2

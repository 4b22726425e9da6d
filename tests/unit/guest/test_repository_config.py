"""Which of a repository's own settings git is shown: a few plain words, and nothing that names a program."""

import pytest

from sandbox_runner.guest.process import author
from sandbox_runner.guest.repository import _carried, _object_name


def test_harmless_plain_settings_are_carried_over():
    own = b"[core]\n\tfilemode = false\n\tautocrlf=input\n[extensions]\n\tobjectFormat = sha256\n"
    assert _carried(own).split() == (
        b"[core] filemode = false [core] autocrlf = input [extensions] objectformat = sha256".split()
    )


@pytest.mark.parametrize(
    "own",
    [
        b"[core]\n\tfsmonitor = evil\n\thooksPath = hooks\n\tsshCommand = evil\n\tworktree = /etc\n",
        b'[filter "x"]\n\tclean = evil\n\tprocess = evil\n',
        b"[include]\n\tpath = ../evil\n",
        b'[core "x"]\n\tfilemode = true\n',
        b"[core]\n\tautocrlf = true\\\nfsmonitor = evil\n\teol = !evil\n\tfilemode\n",
        b"[core] filemode = true\n\tfilemode = true\n",
        b"[gpg]\n\tprogram = evil\n[commit]\n\tgpgsign = true\n",
        bytes(range(256)) * 10,
    ],
)
def test_everything_else_stays_out(own):
    carried = _carried(own)
    assert b"evil" not in carried
    assert b"filter" not in carried
    assert b"worktree" not in carried


def test_only_a_full_object_name_is_one():
    assert _object_name(b"a" * 40 + b"\n") == "a" * 40
    for text in (None, b"", b"a" * 39, b"A" * 40, b"g" * 40, b"ref: refs/heads/x", b"\xff" * 40):
        assert _object_name(text) is None


@pytest.mark.parametrize(
    ("principal", "name"),
    [
        ("oracle", "oracle"),
        ("a <b@c>\n", "a b@c"),
        ("", "executor"),
        ("<>", "executor"),
        ('."', "executor"),
        ("\u202eevil", "evil"),
    ],
)
def test_an_author_is_a_name_git_accepts(principal, name):
    assert author(principal) == name

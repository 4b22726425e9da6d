"""Names that a repository may say, and those that git is told."""

import pytest

from sandbox_runner.guest.git_files import object_name
from sandbox_runner.guest.process import author


def test_only_a_full_object_name_is_one():
    assert object_name(b"a" * 40 + b"\n") == "a" * 40
    for text in (None, b"", b"a" * 39, b"A" * 40, b"g" * 40, b"ref: refs/heads/x", b"\xff" * 40):
        assert object_name(text) is None


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

import pytest

from textkit.wrap import wrap


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("", 10, []),
        ("one two three", 7, ["one two", "three"]),
        ("incomprehensibilities", 5, ["incomprehensibilities"]),
    ],
)
def test_wrap(text, width, lines):
    assert wrap(text, width) == lines

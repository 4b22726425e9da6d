"""Strangers' words on a person's screen."""

import pytest

from sandbox_runner.cli.text import clip, columns, duration, pairs, plural, printable, size


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("a\nb", r"a\nb"),
        ("\x1b[2J\x07", r"\x1b[2J\x07"),
        ("\r\t", r"\r\t"),
        ("\x9b31m", r"\x9b31m"),
        ("evil\u202etxt.exe", r"evil\u202etxt.exe"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("line\u2028separator", r"line\u2028separator"),
        ("\udcff", r"\xff"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_a_terminal_would_act_on_is_escaped(hostile: str, shown: str) -> None:
    assert printable(hostile) == shown
    assert printable(hostile).isprintable()


def test_ordinary_words_of_any_script_stay_as_they_are() -> None:
    assert printable("größer 大 ÷ back\\slash") == "größer 大 ÷ back\\slash"


def test_columns_align_and_escape_and_cut_nothing() -> None:
    lines = columns([("a", "1", "x" * 300), ("bcd\n", "22", "y")], header=("N", "SIZE", "T"), right={1})
    assert lines[0] == "N      SIZE  T"
    assert lines[1] == "a         1  " + "x" * 300
    assert lines[2] == r"bcd\n    22  y"


def test_no_rows_make_no_lines() -> None:
    assert columns([]) == []


def test_pairs_leave_out_what_is_unknown() -> None:
    assert pairs([("a", "1"), ("long", ""), ("bb", "2")]) == ["  a   1", "  bb  2"]


def test_a_cut_is_visible() -> None:
    assert clip("abcdef", 4) == "abc…"
    assert clip("abcd", 4) == "abcd"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB"), (1 << 60, "1048576.0 TiB")],
)
def test_sizes_have_binary_units(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0000123, "12 µs"), (0.0125, "12 ms"), (3.417, "3.42 s"), (125, "2 min 05 s"), (3720, "1 h 02 min")],
)
def test_durations_have_the_unit_a_person_would_choose(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_one_is_not_many() -> None:
    assert [plural(1, "step"), plural(12000, "step"), plural(2, "entry", "entries")] == [
        "1 step",
        "12,000 steps",
        "2 entries",
    ]

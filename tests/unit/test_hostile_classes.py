"""The classes of attack: every source has one, every test and probe exists, the page shows them."""

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.hostile.attempts import PROBES
from tests.hostile.carried import is_there
from tests.hostile.classes import Answer, AttackClass, Expected, Verdict, expected_verdict, judge, load
from tests.hostile.table import fill_page, on_page, table_in

ROOT = Path(__file__).parents[2]
CLASSES = load()
SOURCES = {
    *(f"case {number}" for number in range(1, 81)),
    *(f"A{number}" for number in range(1, 12)),
    *(f"N{number}" for number in range(1, 10)),
    *("C5", "C13", "F9", "F11"),
}


def test_every_case_and_every_finding_has_a_class() -> None:
    named = {source for attack in CLASSES for source in attack.sources}
    assert sorted(SOURCES - named) == []


@pytest.mark.parametrize("attack", CLASSES, ids=lambda attack: attack.id)
def test_a_class_is_tried_by_something_that_exists(attack: AttackClass) -> None:
    is_open = set(attack.expected.values()) == {Expected.OPEN}
    assert attack.title
    assert attack.sources
    assert is_open or attack.tests or attack.probe
    assert [node for node in attack.tests if not is_there(node)] == []
    if attack.probe is not None:
        module, _, function = attack.probe.partition(".")
        assert function in functions_of(module)


@cache
def functions_of(module: str) -> set[str]:
    tree = ast.parse((PROBES / f"{module}.py").read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_probe_belongs_to_a_class() -> None:
    used = {attack.probe for attack in CLASSES} | {"survivors.look"}
    there = {
        f"{path.stem}.{node.name}"
        for path in PROBES.glob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
        and [argument.arg for argument in node.args.args] in (["bait"], ["_bait"])
    }
    assert there - used == set()


def test_probes_are_of_the_python_that_an_image_may_have() -> None:
    for path in PROBES.glob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 8))


def test_the_page_shows_the_classes_as_they_are() -> None:
    """Made anew by: python -m tests.hostile --page docs/isolation.md."""
    assert table_in((ROOT / "docs/isolation.md").read_text()) == on_page(CLASSES)


def test_a_page_keeps_what_stands_around_its_tables() -> None:
    page = (ROOT / "docs/isolation.md").read_text()
    filled = fill_page(page, on_page(CLASSES), {"kernel": "6.1"})
    assert fill_page(filled, on_page(CLASSES), {"kernel": "6.1"}) == filled
    assert table_in(filled) == on_page(CLASSES)
    assert "Made with kernel 6.1." in filled
    assert page.partition("<!-- table")[0] == filled.partition("<!-- table")[0]


EXAMPLE = AttackClass(
    id="example",
    area="Kernel",
    title="An example",
    sources=("case 40",),
    expected={"runc": Expected.SHUT, "runsc": Expected.OWN_KERNEL},
    answers={"runc": frozenset({"wait = ENOENT"}), "runsc": frozenset({"done"})},
)


@pytest.mark.parametrize(
    ("column", "attempt", "text", "verdict"),
    [
        ("runc", "wait", "EPERM", Verdict.HELD),
        ("runc", "wait", "ENOENT", Verdict.HELD),
        ("runc", "go", "ENOENT", Verdict.NOT_HELD),
        ("runc", "go", "done", Verdict.NOT_HELD),
        ("runsc", "go", "done", Verdict.OWN_KERNEL),
        ("runsc", "go", "EINVAL", Verdict.NOT_HELD),
    ],
)
def test_an_answer_that_is_not_listed_does_not_hold(
    column: str, attempt: str, text: str, verdict: Verdict
) -> None:
    good = Answer("test", "other", "EPERM")
    result = judge(EXAMPLE, column, [good, Answer("test", attempt, text)])
    assert result.verdict is verdict
    assert (result.against == ()) == (verdict is not Verdict.NOT_HELD)


def test_no_answer_holds_nothing_and_a_failed_test_neither() -> None:
    assert judge(EXAMPLE, "runc", []).verdict is Verdict.NOT_HELD
    assert judge(EXAMPLE, "runc", [Answer("pytest", "t", "failed", holds=False)]).verdict is Verdict.NOT_HELD
    assert judge(EXAMPLE, "runc", [Answer("pytest", "t", "passed", holds=True)]).verdict is Verdict.HELD
    assert judge(EXAMPLE, "runc", [], tried=False).verdict is Verdict.NOT_TRIED


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('id = "a"\ntitle = "b"\nsources = []\nhost = "shut"\nprobes = "x"', "unknown keys: probes"),
        ('id = "a"\ntitle = "b"\nsources = []', "say what must come of it"),
        ('id = "a"\ntitle = "b"\nsources = []\nhost = "shut"\nrunc = "shut"', "say what must come of it"),
        ('id = "a"\ntitle = "b"\nsources = []\nrunc = "shut"\nways = ["by post"]', "the ways are"),
        ('id = "a"\ntitle = "b"\nsources = []\nrunc = "held"', "'held' is not a valid Expected"),
    ],
)
def test_a_row_that_says_something_else_is_refused(row: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "classes.toml"
    path.write_text(f'[[area]]\ntitle = "Kernel"\n[[area.class]]\n{row}\n')
    with pytest.raises(ValueError, match=said):
        load(path)


def test_an_id_stands_once(tmp_path: Path) -> None:
    row = '[[area.class]]\nid = "a"\ntitle = "b"\nsources = []\nhost = "shut"\n'
    path = tmp_path / "classes.toml"
    path.write_text(f'[[area]]\ntitle = "Kernel"\n{row}{row}')
    with pytest.raises(ValueError, match="an id stands twice: a"):
        load(path)


def test_what_is_expected_has_a_word_in_the_table() -> None:
    words = {expected_verdict(attack, column) for attack in CLASSES for column in attack.expected}
    assert Verdict.NOT_HELD not in words
    assert {Verdict.HELD, Verdict.OWN_KERNEL, Verdict.HOST_DECIDES} <= words

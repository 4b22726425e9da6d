"""People are told a step's number by one function, nowhere an index."""

import re
from pathlib import Path

import sandbox_runner
from sandbox_runner.trail import Finding, Severity, step_number

ROOT = Path(sandbox_runner.__file__).parent
AN_INDEX = re.compile(r"[Ss]teps? \{\{?(?!step_number\()[^}]*(?:index|\.step\b)[^}]*\}")


def test_the_first_step_is_step_one_and_what_belongs_to_none_is_zero() -> None:
    assert [step_number(index) for index in (-1, 0, 6)] == [0, 1, 7]
    assert str(Finding(Severity.ERROR, "code", "why", 2)) == "step 3: why"


def test_no_sentence_names_a_step_by_its_index() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in sorted((*ROOT.rglob("*.py"), *ROOT.rglob("*.j2")))
        for match in AN_INDEX.finditer(path.read_text())
        if "| step_number" not in match.group()
    ]
    assert found == []

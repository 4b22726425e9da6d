"""The table of classes: on the screen, as JSON, and on the page of the threat model."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sandbox_runner.sandbox import Engine
from tests.hostile.classes import HOST, RUNTIMES, AttackClass, Result, Verdict, expected_verdict

__all__ = ["Results", "circumstances", "document", "fill_page", "on_page", "screen", "table_in"]

Results = Mapping[tuple[str, str], Result]  # by class and column

_BEGIN = "<!-- table: made by `python -m tests.hostile --page docs/isolation.md`; do not edit -->"
_END = "<!-- end of the table -->"
_MOST_SHOWN = 6  # answers against a class


def screen(classes: Sequence[AttackClass], results: Results) -> Iterator[str]:
    """Lines for a person: one for each class, then what was not held and what got through."""
    wide = max((len(attack.id) for attack in classes), default=5)
    yield f"{'class':<{wide}}  {'runc':<19}  {'runsc':<19}  host"
    for area, rows in itertools.groupby(classes, key=lambda attack: attack.area):
        yield f"\n{area}"
        for attack in rows:
            cells = [
                str(results[attack.id, column].verdict) if column in attack.expected else ""
                for column in _COLUMNS
            ]
            yield f"{attack.id:<{wide}}  {cells[0]:<19}  {cells[1]:<19}  {cells[2]}".rstrip()
    yield ""
    for attack in classes:
        for column in attack.expected:
            against = results[attack.id, column].against
            for answer in against[:_MOST_SHOWN]:
                yield f"NOT HELD {attack.id}, {column}: {answer.way}: {answer.attempt} = {answer.text}"
            if len(against) > _MOST_SHOWN:
                yield f"NOT HELD {attack.id}, {column}: and {len(against) - _MOST_SHOWN} more"
    verdicts = [result.verdict for result in results.values()]
    yield ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in Verdict if verdict in verdicts)


_COLUMNS = (*RUNTIMES, HOST)


def document(classes: Sequence[AttackClass], results: Results, told: Mapping[str, str]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "circumstances": dict(told),
        "classes": [
            {
                "id": attack.id,
                "area": attack.area,
                "title": attack.title,
                "sources": list(attack.sources),
                "verdicts": {column: str(results[attack.id, column].verdict) for column in attack.expected},
                "against": [
                    {"column": column, "way": answer.way, "attempt": answer.attempt, "answer": answer.text}
                    for column in attack.expected
                    for answer in results[attack.id, column].against
                ],
            }
            for attack in classes
        ],
    }


def circumstances(engine: Engine) -> dict[str, str]:
    """What the results hang on besides our code: versions, the kernel, the day."""
    version, info = engine.version(), engine.info()
    parts = {str(part["Name"]): str(part["Version"]) for part in version.get("Components") or ()}
    path = ((info.get("Runtimes") or {}).get("runsc") or {}).get("path")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "kernel": str(info.get("KernelVersion", "?")),
        "machine": str(info.get("Architecture", "?")),
        "Docker Engine": str(version.get("Version", "?")),
        "runc": parts.get("runc", "?"),
        "runsc": _told_by(path) if path else "not registered",
        "control groups": f"version {info.get('CgroupVersion', '1')}",
        "security options": ", ".join(info.get("SecurityOptions") or ()) or "none",
    }


def _told_by(program: str) -> str:
    try:
        said = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except OSError:
        return "?"
    return said.splitlines()[0].removeprefix("runsc version ") if said else "?"


def on_page(classes: Sequence[AttackClass], results: Results | None = None) -> str:
    """The tables of the page, one for each area; without results, as they must be."""
    parts = []
    for area, group in itertools.groupby(classes, key=lambda attack: attack.area):
        rows = list(group)
        columns = [column for column in _COLUMNS if any(column in attack.expected for attack in rows)]
        names = [
            "what is tried",
            "from",
            *("on the host" if column == HOST else column for column in columns),
        ]
        lines = [f"### {area}", "", _row(names), _row(["---"] * len(names))]
        for attack in rows:
            verdicts = [_cell(attack, column, results) for column in columns]
            title = f"{attack.title}<br>`{attack.id}`"
            lines.append(_row([title, ", ".join(attack.sources), *verdicts]))
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _cell(attack: AttackClass, column: str, results: Results | None) -> str:
    if column not in attack.expected:
        return ""
    verdict = expected_verdict(attack, column) if results is None else results[attack.id, column].verdict
    return f"**{verdict}**" if verdict in {Verdict.NOT_HELD, Verdict.OPEN} else str(verdict)


def fill_page(page: str, tables: str, told: Mapping[str, str]) -> str:
    """The page with new tables between its marks.

    Raises:
        ValueError: the page has no marks.
    """
    before, after = _around(page)
    when = "; ".join(f"{name} {text}" for name, text in told.items())
    return f"{before}{_BEGIN}\n\nMade with {when}.\n\n{tables}\n\n{_END}{after}"


def table_in(page: str) -> str:
    """The tables that a page shows, without the line of its circumstances.

    Raises:
        ValueError: the page has no marks.
    """
    before, after = _around(page)
    inside = page[len(before) + len(_BEGIN) : len(page) - len(after) - len(_END)]
    return inside.strip().partition("\n")[2].strip()


def _around(page: str) -> tuple[str, str]:
    before, begun, rest = page.partition(_BEGIN)
    _, ended, after = rest.partition(_END)
    if not begun or not ended:
        raise ValueError(f"the page needs the marks {_BEGIN} and {_END}")
    return before, after

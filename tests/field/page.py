"""What was found: on the screen, as JSON, and on the page in the docs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.field.replays import Replay
from tests.field.suites import Suite

__all__ = ["Finding", "document", "fill_page", "screen"]

_BEGIN = "<!-- table: made by `python -m tests.field --page docs/field.md`; do not edit -->"
_END = "<!-- end of the table -->"


@dataclass(slots=True)
class Finding:
    """What came of one package or repository.

    Attributes:
        name: its name, and ``version`` where it has one.
        replays: one for each history.
        suite: its own tests, None where they were not asked for.
        problems: what kept it from being tried.
    """

    name: str
    version: str = ""
    replays: list[Replay] = field(default_factory=list)
    suite: Suite | None = None
    problems: list[str] = field(default_factory=list)

    def all_problems(self) -> list[str]:
        """Everything that nobody has explained."""
        told = [f"{replay.name}: {problem}" for replay in self.replays for problem in replay.problems]
        return [*self.problems, *told, *(self.suite.problems if self.suite else ())]


def screen(finding: Finding) -> Iterator[str]:
    """Lines for a person."""
    yield f"{finding.name} {finding.version}".rstrip()
    for replay in finding.replays:
        if replay.commits:
            steps = ", ".join(f"{count} {name}" for name, count in sorted(replay.steps.items()))
            verdict = "ok" if not replay.problems else "NOT EQUAL"
            yield (
                f"  {verdict:<9}  {replay.equal} of {replay.commits} commits have git's tree, "
                f"{replay.files} files compared ({steps}): {replay.name!a}"
            )
        else:
            yield f"  not expressible: {replay.name!a}"
        for left in replay.left_out:
            yield f"             left out: {left}"
    if finding.suite is not None:
        yield f"  plain pytest      {_counts(finding.suite.plain)}"
        for policy, counts in finding.suite.ours.items():
            yield f"  policy {policy:<10} {_counts(counts)}"
        for difference in finding.suite.explained:
            where = ", ".join(difference.policies)
            yield f"  explained  {difference.test} ends as {difference.ours} ({where}): {difference.reason}"
    for problem in finding.all_problems():
        yield f"  UNEXPLAINED  {problem}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "nothing"


def document(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [{**asdict(finding), "unexplained": finding.all_problems()} for finding in findings]


def fill_page(page: str, findings: Sequence[Finding], told: Mapping[str, str]) -> str:
    """The page with a new table between its marks.

    Raises:
        ValueError: the page has no marks.
    """
    before, begun, rest = page.partition(_BEGIN)
    _, ended, after = rest.partition(_END)
    if not begun or not ended:
        raise ValueError(f"the page needs the marks {_BEGIN} and {_END}")
    when = "; ".join(f"{name} {text}" for name, text in told.items())
    names = (
        "package",
        "commits with git's tree",
        "steps",
        "files",
        "plain pytest",
        "default",
        "field",
        "difference",
    )
    rows = [names, ("---",) * len(names), *map(_row, findings)]
    table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
    return f"{before}{_BEGIN}\n\nMade with {when}.\n\n{table}\n\n{_END}{after}"


def _row(finding: Finding) -> tuple[str, ...]:
    replays, suite = finding.replays, finding.suite or Suite()
    equal = sum(replay.equal for replay in replays)
    commits = sum(replay.commits for replay in replays)
    steps = sum(sum(replay.steps.values()) for replay in replays)
    why = [f"`{each.test}` ({', '.join(each.policies)}): {each.reason}" for each in suite.explained]
    why += [f"**unexplained**: {problem}" for problem in finding.all_problems()]
    return (
        f"{finding.name} {finding.version}",
        f"{equal} of {commits}",
        str(steps),
        str(sum(replay.files for replay in replays)),
        _counts(suite.plain),
        *(_counts(suite.ours.get(policy, {})) for policy in ("default", "field")),
        "<br>".join(why) or "none",
    )

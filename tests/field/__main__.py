"""Try the product on real projects, with git and plain pytest as oracles.

    python -m tests.field [--package NAME ...] [--page docs/field.md]
    python -m tests.field --repo DIR [--commits N] [--tests PATH [--requirements FILE]]

The first tries the table's releases: made-up commits of their files are replayed and compared by tree id and
digest, and their own tests by outcome. The second does so with a repository's last commits, each replayed on
its parent; what no step can write is named and left out on both sides. The repository is only read.

Exit 0: no difference is unexplained; 1: some are; 2: usage; 4: no Docker.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sandbox_runner.errors import SandboxError
from sandbox_runner.runner.home import Home
from sandbox_runner.sandbox import Engine
from tests.field.packages import PACKAGES
from tests.field.page import Finding, document, fill_page, screen
from tests.field.trying import try_package, try_repository
from tests.hostile.table import circumstances


def main(arguments: Sequence[str] | None = None) -> int:
    """Try what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.field", description=__doc__.partition("\n")[0])
    parser.add_argument("--package", nargs="+", choices=PACKAGES, metavar="NAME", help="of the table; all")
    parser.add_argument("--repo", type=Path, metavar="DIR", help="a repository instead of the table")
    parser.add_argument("--commits", type=int, default=10, metavar="N", help="how many of its last ones; 10")
    parser.add_argument("--tests", metavar="PATH", help="run these tests of its HEAD both ways")
    parser.add_argument("--requirements", type=Path, metavar="FILE", help="what those tests need")
    parser.add_argument("--runtime", choices=("runc", "runsc"), default="runc")
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    parser.add_argument("--page", type=Path, help="write the table into this page, between its marks")
    chosen = parser.parse_args(arguments)
    if chosen.page and (chosen.repo or chosen.package):
        parser.error("a page shows the whole table; leave out --package and --repo")
    if chosen.repo and (chosen.package or not chosen.repo.is_dir()):
        parser.error("--repo wants a directory, and no --package beside it")
    if (chosen.requirements and not chosen.tests) or (chosen.tests and not chosen.repo):
        parser.error("--requirements goes with --tests, and --tests with --repo")
    started = time.monotonic()
    try:
        engine = Engine.connect()
    except SandboxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 4
    findings = list(_try(chosen))
    if chosen.json:
        print(json.dumps(document(findings), indent=2))
    if chosen.page:
        page = chosen.page.read_text(encoding="utf-8")
        chosen.page.write_text(fill_page(page, findings, circumstances(engine)), encoding="utf-8")
    bad = sum(len(finding.all_problems()) for finding in findings)
    print(f"{bad} unexplained, in {time.monotonic() - started:.0f} s", file=sys.stderr)
    return 1 if bad else 0


def _try(chosen: argparse.Namespace) -> list[Finding]:
    home, findings = Home(), []
    if chosen.repo:
        found = try_repository(
            chosen.repo.resolve(),
            chosen.commits,
            home,
            requirements=chosen.requirements,
            tests=chosen.tests,
            runtime=chosen.runtime,
        )
        findings.append(_shown(found, chosen))
    else:
        names = chosen.package or PACKAGES
        findings += [
            _shown(try_package(PACKAGES[name], home, runtime=chosen.runtime), chosen) for name in names
        ]
    return findings


def _shown(found: Finding, chosen: argparse.Namespace) -> Finding:
    """The same, told on the screen as soon as it is known."""
    if not chosen.json:
        print("\n".join(screen(found)), flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main())

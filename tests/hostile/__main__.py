"""Attack the sandboxes of this machine in every class there is, and print what held.

    python -m tests.hostile [--runtime runc runsc] [--only ID ...] [--json] [--page docs/isolation.md]

Exit 0: everything came as ``classes.toml`` says it must; 1: something did not hold; 2: usage; 4: no Docker.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sandbox_runner.errors import SandboxError
from sandbox_runner.sandbox import Engine
from tests.hostile.attempts import lay_bait, try_classes
from tests.hostile.carried import answers_for, run_tests
from tests.hostile.classes import HOST, RUNTIMES, Answer, AttackClass, Result, Verdict, judge, load
from tests.hostile.table import circumstances, document, fill_page, on_page, screen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the classes that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--runtime", nargs="+", choices=RUNTIMES, help="those that Docker knows, where nothing is said"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="ID", help="classes by id or source, as mounts, A1, N3, 'case 40'"
    )
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    parser.add_argument("--page", type=Path, help="write the tables into this page, between its marks")
    chosen = parser.parse_args(arguments)
    classes = load()
    if chosen.only:
        known = {name for attack in classes for name in (attack.id, *attack.sources)}
        if unknown := set(chosen.only) - known:
            parser.error(f"no class is called or comes from: {', '.join(sorted(unknown))}")
        classes = tuple(attack for attack in classes if {attack.id, *attack.sources} & set(chosen.only))
    try:
        engine = Engine.connect()
        registered = [name for name in RUNTIMES if name in (engine.info().get("Runtimes") or {})]
        runtimes = chosen.runtime or registered
        if missing := set(runtimes) - set(registered):
            parser.error(
                f"Docker does not know {', '.join(sorted(missing))}; register it in Docker's daemon.json"
            )
        if chosen.page and (chosen.only or set(runtimes) < set(RUNTIMES)):
            parser.error(
                "a page shows every class under runc and runsc; leave out --only and --runtime, register both"
            )
        started = time.monotonic()
        results = run(classes, runtimes, engine)
    except SandboxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 4
    told = circumstances(engine)
    if chosen.json:
        print(json.dumps(document(classes, results, told), indent=2, ensure_ascii=False))
    else:
        print("\n".join(screen(classes, results)))
        print(
            f"in {time.monotonic() - started:.0f} s; "
            + "; ".join(f"{name} {text}" for name, text in told.items())
        )
    if chosen.page:
        page = chosen.page.read_text(encoding="utf-8")
        chosen.page.write_text(fill_page(page, on_page(classes, results), told), encoding="utf-8")
    return 1 if any(result.verdict is Verdict.NOT_HELD for result in results.values()) else 0


def run(
    classes: Sequence[AttackClass], runtimes: Sequence[str], engine: Engine
) -> dict[tuple[str, str], Result]:
    """Probes here, the tests that carry classes in a program of their own beside them."""
    with tempfile.TemporaryDirectory(prefix="hostile-", ignore_cleanup_errors=True) as scratch:
        place = Path(scratch)
        place.chmod(0o755)  # the flag in it must be readable for whoever gets to it
        with ThreadPoolExecutor(1) as beside, lay_bait(place) as bait:
            carried = beside.submit(run_tests, [node for attack in classes for node in attack.tests], place)
            found: dict[str, dict[str, list[Answer]]] = {HOST: {}}
            for runtime in runtimes:
                found[runtime] = try_classes(
                    classes, runtime=runtime, scratch=place, bait=bait, engine=engine, tell=say
                )
            say("the tests that carry classes")
            outcomes = carried.result()
    return {
        (attack.id, column): judge(
            attack,
            column,
            [*found.get(column, {}).get(attack.id, ()), *answers_for(attack, column, outcomes)],
            tried=column in found,
        )
        for attack in classes
        for column in attack.expected
    }


def say(line: str) -> None:
    """Tell a person what goes on."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

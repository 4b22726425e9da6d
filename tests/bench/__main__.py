"""Measure everything side by side and print one table of ratios.

    python -m tests.bench [--rows NAME ...] [--runtime R ...] [--rounds N] [--json FILE] [--chart FILE.svg]

Read the ratios: this machine's milliseconds mean nothing on yours.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

from sandbox_runner.sandbox import Engine, ensure_image
from tests.bench.chart import draw
from tests.bench.measuring import Figure
from tests.bench.rows import ROWS
from tests.bench.setting import Bench


def main() -> None:
    """Run the rows that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--runtime", nargs="+", default=["runc"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--chart", type=Path)
    chosen = parser.parse_args()
    engine = Engine.connect()
    ensure_image(engine, on_progress=print)
    found: dict[str, list[Figure]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        for runtime in chosen.runtime:
            print(f"\n{runtime}", flush=True)
            bench = Bench(engine, runtime, chosen.rounds, Path(scratch))
            found[runtime] = []
            for name in chosen.rows:
                for figure in ROWS[name](bench):
                    found[runtime].append(figure)
                    print(line(figure), flush=True)
    if chosen.json:
        rows = {runtime: [asdict(figure) for figure in figures] for runtime, figures in found.items()}
        chosen.json.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    if chosen.chart:
        chosen.chart.write_text(draw(found))


def line(figure: Figure) -> str:
    """One row of the table."""
    goal = "" if figure.goal is None else f"{'≤' if figure.at_most else '≥'} {figure.goal:g}"
    mark = {True: "ok", False: "MISSED", None: ""}[figure.met]
    value = f"{figure.value:8.2f} {figure.unit:<3}"
    return f"  {figure.name:<66} {value} {goal:>7} {mark:<6}  {figure.note}"


if __name__ == "__main__":
    main()

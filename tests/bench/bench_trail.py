"""How fast trails are compiled, encoded, decoded and verified, beside ``json.loads`` of the same worklog.

    python tests/bench/bench_trail.py [ENTRIES ...]

Prints steps per second (best of three) and the peak of memory; with several sizes, how both grow.
"""

import json
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

from sandbox_runner.trail import (
    TrailDecoder,
    TrailEncoder,
    TrailVerifier,
    compile_worklog,
    convert,
    iter_worklog,
    load,
    read_worklog,
)


def worklog(entries: int) -> list[dict[str, Any]]:
    """A session over 200 files: writes, reads, edits, tests and comments."""
    body: list[dict[str, Any]] = []
    for number in range(entries - 2):
        path = f"src/module_{number % 200}.py"
        body.append(
            (
                {"op": "FILE_WRITE", "path": path, "content": f"value = {number % 5000}\n" * 3},
                {"op": "FILE_READ", "path": path},
                {"op": "FILE_EDIT", "path": path, "old": f"{number % 5000}", "new": f"{number % 4999}"},
                {"op": "TEST_RUN", "test_path": "tests", "count": number % 50},
                {"op": "COMMENT", "comment": f"step {number % 3000}"},
            )[number % 5]
        )
    begin = {"op": "TRAIL_BEGIN", "agent": "bench", "trail_id": "bench", "ts": 1_750_000_000}
    return [begin, *body, {"op": "TRAIL_END", "status": 0}]


def measure(name: str, steps: int, task: Callable[[], object], baseline: float | None = None) -> float:
    """Print and return steps per second."""
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        task()
        best = min(best, time.perf_counter() - started)
    tracemalloc.start()
    task()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    rate = steps / best
    ratio = f"{rate / baseline:6.2f} x json.loads" if baseline else ""
    print(f"  {name:<38} {rate:>12,.0f} steps/s  peak {peak / steps:>7.1f} bytes/step  {ratio}")
    return rate


def bench(entries: int) -> None:
    """Every way through the package for a worklog of one size."""
    said = worklog(entries)
    text = json.dumps(said).encode()
    print(f"{entries} entries, {len(text)} bytes of JSON")
    base = measure("json.loads", entries, lambda: json.loads(text))
    measure("read_worklog", entries, lambda: read_worklog(text), base)
    measure("compile_worklog(iter_worklog)", entries, lambda: compile_worklog(iter_worklog(text)), base)
    for form in ("1", "2"):
        if form == "1" and entries > 65_535:
            continue
        data = compile_worklog(said, format=form)  # type: ignore[arg-type]
        trail = load(data)
        print(f"  version {form}: {len(data)} bytes")
        measure("decode + strict verification (load)", entries, lambda d=data: load(d), base)
        measure("the same + every argument", entries, lambda d=data: sum(1 for _ in load(d).steps), base)
        measure("verify_bytecode", entries, lambda d=data: TrailVerifier().verify_bytecode(d), base)
        measure("encode (from resolved steps)", entries, lambda t=trail, f=form: convert(t, f), base)
        decoder = TrailDecoder()
        program = decoder.decode(data)
        encoder = TrailEncoder(decoder.string_table)
        measure("TrailDecoder.decode", entries, lambda d=data: TrailDecoder().decode(d), base)
        measure("TrailEncoder.encode", entries, lambda e=encoder, p=program: e.encode(p), base)


if __name__ == "__main__":
    for size in [int(argument) for argument in sys.argv[1:]] or [10_000, 60_000, 100_000]:
        bench(size)

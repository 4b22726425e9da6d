"""The rows of the table: each function measures one thing and gives its figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.bench.calls import round_trip, slow_calls, test_run
from tests.bench.measuring import Figure
from tests.bench.readers import readers
from tests.bench.replays import growth, long_run, mixed, session
from tests.bench.setting import Bench
from tests.bench.starts import disposable, memory, start

__all__ = ["ROWS"]

ROWS: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "mixed": mixed,
    "session": session,
    "test-run": test_run,
    "round-trip": round_trip,
    "slow-calls": slow_calls,
    "start": start,
    "disposable": disposable,
    "memory": memory,
    "growth": growth,
    "long-run": long_run,
    "readers": readers,
}

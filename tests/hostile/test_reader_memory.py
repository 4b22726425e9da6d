"""Every reader of foreign bytes under its worst inputs: no more memory than is written beside it.

The readers and their inputs are the benchmark's (``tests/bench/readers.py``); each input is read in a process
of its own. The slow ones are read by the benchmark alone.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))  # the benchmark is no package of the tests'

from tests.bench.readers import MARGIN, READERS, measure

QUICK = [
    (name, case) for name, reader in READERS.items() for case, found in reader.cases.items() if found.quick
]


@pytest.mark.long
@pytest.mark.parametrize(("name", "case"), QUICK, ids=[f"{name}: {case}" for name, case in QUICK])
def test_no_input_takes_more_memory_than_is_written_beside_its_reader(name: str, case: str) -> None:
    peak = measure(name, case)
    reader = READERS[name]
    assert peak.grown <= reader.memory * MARGIN, f"{peak.grown >> 20} of {reader.memory >> 20} MiB"
    assert reader.cases[case].refused in peak.error


def test_every_reader_has_an_input_that_a_test_can_wait_for_or_the_benchmark_reads() -> None:
    assert all(reader.cases for reader in READERS.values())
    assert all(0 < reader.memory < 2 << 30 for reader in READERS.values())

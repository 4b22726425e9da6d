"""Every reader of foreign bytes under its worst inputs, each in a process of its own.

``tests/hostile/test_reader_memory.py`` takes the quick cases, the benchmark's row ``readers`` all of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench import reader_answers, reader_archives, reader_records, reader_texts
from tests.bench.measuring import Figure
from tests.bench.reading import Peak, Reader

__all__ = ["MARGIN", "READERS", "measure", "readers"]

MARGIN = 1.5
"""By how much a peak may be above the number that is written beside its reader."""
_TIMEOUT_S = 300

READERS: dict[str, Reader] = {
    **reader_archives.READERS,
    **reader_answers.READERS,
    **reader_records.READERS,
    **reader_texts.READERS,
}


def measure(reader: str, case: str) -> Peak:
    """Make an input and let a new process read it."""
    with tempfile.TemporaryDirectory(prefix="reader-") as folder:
        READERS[reader].cases[case].make(Path(folder))
        command = [sys.executable, "-m", READERS[reader].module, reader, folder]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=True,
            timeout=_TIMEOUT_S,
            cwd=Path(__file__).parents[2],
        )
    return Peak(**json.loads(done.stdout))


def readers(_bench: object) -> Iterator[Figure]:
    """Peaks of the worst inputs of every reader, as shares of the number written beside it."""
    for name, reader in READERS.items():
        peaks = {case: measure(name, case) for case in reader.cases}
        worst = max(peaks, key=lambda case: peaks[case].grown)
        grown = peaks[worst].grown
        yield Figure(
            f"reader: {name}, peak by the number written beside it",
            grown / reader.memory,
            goal=MARGIN,
            note=f"{grown >> 20} of {reader.memory >> 20} MiB, {worst}, worst of {len(peaks)}",
        )

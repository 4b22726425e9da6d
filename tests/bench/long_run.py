"""One run through the front door in a process of its own, so that the peak of its memory is its own.

    python -m tests.bench.long_run TRAIL WORKSPACE STATE RUNTIME

Prints the peak of the process' resident memory in MB (millions of bytes).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sandbox_runner.policy import Policy
from sandbox_runner.runner import Home
from sandbox_runner.runner.runner import Runner

POLICY = Policy.load("default")
WIDE = POLICY.model_copy(
    update={
        "budget": POLICY.budget.model_copy(
            update={"steps": 10**6, "write_bytes": 2**40, "output_bytes": 2**40, "wall_clock_s": 7200}
        )
    }
)


def main() -> None:
    """Run the trail; any end but success is an error."""
    trail, workspace, state, runtime = sys.argv[1:]
    record = Runner(policy=WIDE, home=Home(state), runtime=runtime).run(trail, workspace=Path(workspace))
    if record.result is None or record.result.exit_code:
        raise SystemExit(f"the run ended as {record.info.state}, see {record.path}")
    # Not ru_maxrss, which begins with the peak of the process that started this one.
    (peak,) = re.findall(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    print(int(peak) * 1024 / 1e6)


if __name__ == "__main__":
    main()

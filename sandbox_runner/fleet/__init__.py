"""Many runs side by side on one machine."""

from sandbox_runner.fleet.many import likely_spec, run_many
from sandbox_runner.fleet.warm import warm_start

__all__ = ["likely_spec", "run_many", "warm_start"]

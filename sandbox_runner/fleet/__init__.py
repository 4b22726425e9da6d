"""Many runs side by side on one machine."""

from sandbox_runner.fleet.many import run_many
from sandbox_runner.fleet.warm import warm_start

__all__ = ["run_many", "warm_start"]

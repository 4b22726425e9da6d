"""One trail in, one run record out.

``runner.Runner`` is imported from its own module: looking at past runs must not pay for the Docker client.
"""

from sandbox_runner.runner.home import DEFAULT_TENANT, Home
from sandbox_runner.runner.inputs import TrailInput, read_input
from sandbox_runner.runner.progress import OnProgress, Phase, Progress, silent

__all__ = [
    "DEFAULT_TENANT",
    "Home",
    "OnProgress",
    "Phase",
    "Progress",
    "TrailInput",
    "read_input",
    "silent",
]

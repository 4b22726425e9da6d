"""One trail in, one run record out."""

from sandbox_runner.runner.again import replay_record, snapshot_check
from sandbox_runner.runner.home import DEFAULT_TENANT, Home
from sandbox_runner.runner.inputs import TrailInput, read_input
from sandbox_runner.runner.progress import OnProgress, Phase, Progress
from sandbox_runner.runner.runner import Runner
from sandbox_runner.runner.starting import StartSandbox

__all__ = [
    "DEFAULT_TENANT",
    "Home",
    "OnProgress",
    "Phase",
    "Progress",
    "Runner",
    "StartSandbox",
    "TrailInput",
    "read_input",
    "replay_record",
    "snapshot_check",
]

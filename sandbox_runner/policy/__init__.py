"""Policies: what a trail may do, judged before it runs and before every call. Pure but for reading a file."""

from sandbox_runner.policy.admission import Admission, Violation, admit, what_if
from sandbox_runner.policy.explanation import Explanation, explain
from sandbox_runner.policy.guard import GuardedWorld, refused_outcome
from sandbox_runner.policy.guest_config import guest_config
from sandbox_runner.policy.loading import SHIPPED, shipped_path
from sandbox_runner.policy.manifest import Manifest
from sandbox_runner.policy.policy import Policy
from sandbox_runner.policy.privileges import Privileges, withhold
from sandbox_runner.policy.rules import Decision
from sandbox_runner.policy.schema import Resources

__all__ = [
    "SHIPPED",
    "Admission",
    "Decision",
    "Explanation",
    "GuardedWorld",
    "Manifest",
    "Policy",
    "Privileges",
    "Resources",
    "Violation",
    "admit",
    "explain",
    "guest_config",
    "refused_outcome",
    "shipped_path",
    "what_if",
    "withhold",
]

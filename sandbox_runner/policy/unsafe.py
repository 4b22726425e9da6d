"""The one warning that a knowingly open policy gives each time it is used."""

from __future__ import annotations

import structlog

from sandbox_runner.policy.policy import Policy

__all__ = ["warn_if_unsafe"]

_log = structlog.get_logger("sandbox_runner.policy")


def warn_if_unsafe(policy: Policy, use: str) -> None:
    """Log a warning if the policy calls itself unsafe; ``use`` says what it is used for."""
    if policy.unsafe:
        _log.warning("policy.unsafe", policy=policy.name, policy_sha256=policy.sha256, use=use)

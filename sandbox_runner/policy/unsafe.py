"""The one warning that a knowingly open policy gives each time it is used."""

from __future__ import annotations

import sys
from typing import Any

import structlog

from sandbox_runner.policy.policy import Policy

__all__ = ["warn_if_unsafe"]

_PROCESSORS = (
    structlog.processors.add_log_level,
    structlog.processors.KeyValueRenderer(key_order=["level", "event"]),
)


def warn_if_unsafe(policy: Policy, use: str) -> None:
    """Log a warning if the policy calls itself unsafe; ``use`` says what it is used for."""
    if policy.unsafe:
        _log().warning("policy.unsafe", policy=policy.name, policy_sha256=policy.sha256, use=use)


def _log() -> Any:
    """The program's own structlog where it has set one up; else stderr, for stdout belongs to answers."""
    if structlog.is_configured():
        return structlog.get_logger("sandbox_runner.policy")
    return structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=_PROCESSORS,
        wrapper_class=structlog.make_filtering_bound_logger(0),
    )

"""Replaying a trail against a world: the executor, its events, its result and the meta-trail."""

from sandbox_runner.replay.event import TrailEvent, verify_chain
from sandbox_runner.replay.executor import TrailExecutor
from sandbox_runner.replay.meta_trail import MetaStyle, build_meta_trail
from sandbox_runner.replay.result import RunState, TrailResult

__all__ = [
    "MetaStyle",
    "RunState",
    "TrailEvent",
    "TrailExecutor",
    "TrailResult",
    "build_meta_trail",
    "verify_chain",
]

"""The policy of this suite: the default with room for whole projects, and a new process per test run."""

from __future__ import annotations

from sandbox_runner import Policy

__all__ = ["TEST_S", "wide"]

TEST_S = 600
"""Seconds that one run of a project's tests may take."""


def wide() -> Policy:
    """More memory, files and time than the default allows, every path, and ``isolation: fresh``."""
    default = Policy.load("default")
    sizes = {"memory": 1 << 30, "workspace": 512 << 20, "tmp": 128 << 20, "open_files": 4096}
    return default.model_copy(
        update={
            "name": "field",
            "paths": default.paths.model_copy(update={"deny": ()}),
            "resources": default.resources.model_copy(update=sizes),
            "tests": default.tests.model_copy(update={"timeout_s": TEST_S, "isolation": "fresh"}),
            "budget": default.budget.model_copy(update={"wall_clock_s": 2 * TEST_S, "steps": 100_000}),
        }
    )

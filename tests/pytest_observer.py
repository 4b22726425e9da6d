"""A plugin for plain pytest: writes down what pytest itself counts each report as. Needs nothing but pytest.

``pytest_report_teststatus`` names the category under which pytest's last line counts a report. It is not
asked here: what pytest's own terminal is told is listened to. One line of JSON for each report and each
end of an attempt, an object; at last the exit code.
"""

from __future__ import annotations

import json
import os

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_FILE = os.environ.get("OBSERVED", "")


class _Observer:
    over = False  # the list at the end asks for its words by the same hook

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_report_teststatus(self, report: Any) -> Iterator[None]:
        told: Any = yield
        if self.over:
            return
        category = told.get_result()[0]
        worker = getattr(report, "node", None)
        _write(
            {
                "test": report.nodeid,
                "worker": "" if worker is None else worker.gateway.id,
                "when": report.when,
                "outcome": report.outcome,
                "xfail": hasattr(report, "wasxfail"),
                "subtest": "subtest" in type(report).__name__.lower(),
                "category": category,
            }
        )

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        _write({"finish": nodeid})

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed or report.skipped:
            _write({"module": report.nodeid, "category": "error" if report.failed else "skipped"})

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self.over = True
        _write(int(exitstatus))


def _write(record: object) -> None:
    with open(_FILE, "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def pytest_configure(config: Any) -> None:
    """Only where the whole session runs, not in its workers or in sessions that its tests start."""
    if os.environ.pop("OBSERVED", None):
        config.pluginmanager.register(_Observer())

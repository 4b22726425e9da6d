"""A plugin for plain pytest: writes down what pytest itself counts each report as. Runs in the image, alone.

``pytest_report_teststatus`` names the category under which pytest's last line counts a report. One line of
JSON for each report that has one: node id and category; at last the exit code.
"""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FILE = os.environ["FIELD_OBSERVED"]


class _Observer:
    def __init__(self, config: Any) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: Any) -> None:
        category = self._config.hook.pytest_report_teststatus(report=report, config=self._config)[0]
        if category:
            _write([report.nodeid, category])

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed or report.skipped:
            _write([report.nodeid, "error" if report.failed else "skipped"])

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        _write(int(exitstatus))


def _write(record: object) -> None:
    with open(_FILE, "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def pytest_configure(config: Any) -> None:
    """Only where the whole session runs, not in those that its tests start."""
    if os.environ.pop("FIELD_OBSERVED", None):
        config.pluginmanager.register(_Observer(config))
